#!/bin/sh
# usage: test_example.sh BUILD SOURCE WORK
# Installs into WORK/prefix and builds docs/examples against it: with CMake (WORK/cmake/mlp, and
# mlp_static beside it), and by hand with pkg-config (WORK/mlp).
set -eu
build=$1 source=$2 work=$3
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
cmake -S "$source/docs/examples" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_C_FLAGS="${CFLAGS:-}" >"$work/cmake.log"
cmake --build "$work/cmake" >>"$work/cmake.log"
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name mptune.pc)")
export PKG_CONFIG_PATH
# word splitting is what these lists of flags are for
# shellcheck disable=SC2046,SC2086
cc -O2 ${CFLAGS:-} "$source/docs/examples/mlp.c" "$source/docs/examples/tensor_file.c" \
  $(pkg-config --cflags --libs mptune) -lm -Wl,-rpath,"$(pkg-config --variable=libdir mptune)" \
  -o "$work/mlp"
