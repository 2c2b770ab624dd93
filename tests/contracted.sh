#!/bin/sh
# usage: contracted.sh SOURCE BUILD
# No kernel is contracted but those of kernels/cuda/contracted.cmake, whatever its file is called: a
# name there without a file is an error, and in a build with CUDA every other file has --fmad=false.
set -eu
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed() {
  echo "$*"
  exit 1
}
cmake -P "$source/kernels/cuda/contracted.cmake" || failed "the list is wrong"

# The same list in a folder where one of its files has another name.
cp "$source/kernels/cuda/contracted.cmake" "$source"/kernels/cuda/*.cu "$work"
mv "$work/softmax.cu" "$work/soft_max.cu"
if cmake -P "$work/contracted.cmake" 2>"$work/error"; then failed "a renamed file is not missed"; fi
tr -s '\n ' ' ' <"$work/error" | grep -q 'there is no softmax.cu' || failed "the file is not named"

commands="$build/compile_commands.json"
grep -q 'kernels/cuda/[a-z_]*[.]cu"' "$commands" || exit 0 # built without CUDA
listed=$(sed -n '/^set(/,/)/p' "$source/kernels/cuda/contracted.cmake" | sed 's/#.*//; s/^set(MPTUNE_CONTRACTED//; s/)//')
for file in "$source"/kernels/cuda/*.cu; do
  case " $(echo $listed) " in *" $(basename "$file" .cu) "*) continue ;; esac
  grep -q "command.*--fmad=false.* $file " "$commands" || failed "$file is contracted, and is not in the list"
done
