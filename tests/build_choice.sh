#!/bin/sh
# usage: build_choice.sh SOURCE
# ./mptune in a checkout of nothing but its scripts, with stand-ins for cmake, nvcc, nvidia-smi, the
# driver's list of GPUs and the package tools: for what it builds, when it builds anew, and what it
# says about it.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
home="$work/checkout"
mkdir -p "$home/src" "$home/tuner" "$home/kernels" "$home/profiles/workloads" "$work/tools" "$work/bin" "$work/run"
cp "$source/mptune" "$home"
cp "$source/src/packages.sh" "$home/src"
# A toolkit that this machine has is not seen, nor what it has beside the usual tools.
sed "s|/usr/local/cuda|$work/none|g; s|/opt/cuda|$work/none|g" "$source/src/build.sh" >"$home/src/build.sh"
touch "$home/CMakeLists.txt" "$home/CMakePresets.json"
find "$home" -exec touch -d '1 hour ago' {} +
ln -s /usr/bin/* "$work/tools"
rm -f "$work/tools/nvcc" "$work/tools/nvidia-smi"

stand_in() {
  printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
stand_in dpkg-query '[ -z "${MISSING:-}" ] && echo installed || exit 1'
stand_in apt-get 'exit 100'
stand_in id 'echo 1000'
stand_in cat "case \"\$*\" in /proc/driver/nvidia/*) printf '%b' \"\${MODELS:-}\" ;; *) exec /usr/bin/cat \"\$@\" ;; esac"
# Of what the real one does: the cache, the build file, and the program.
stand_in cmake "echo \"\$*\" >>$work/calls
case \"\$1\" in
--preset)
  mkdir -p build/release && touch build/release/build.ninja
  echo \"CMAKE_HOME_DIRECTORY:INTERNAL=\$(pwd -P)\" >build/release/CMakeCache.txt
  for o in \"\$@\"; do case \"\$o\" in -D*) echo \"\${o#-D}\" | sed 's/=/:STRING=/' ;; esac; done >>build/release/CMakeCache.txt ;;
--build) printf '#!/bin/sh\necho ran \"\$@\"\n' >build/release/mptune; chmod +x build/release/mptune ;;
esac"
nvcc_is_here() {
  stand_in nvcc '[ "$1" = --list-gpu-code ] && printf "sm_80\nsm_89\nsm_90\nsm_100\n"'
  stand_in __nvcc_device_query 'exit 1'
}
gpus_are() { # CAPABILITY...; none: as where there is no driver
  stand_in nvidia-smi "echo asked >>$work/asked; printf '%s\n' $*; [ $# -gt 0 ]"
}

# run ENVIRONMENT... -- ARGUMENT...: leaves $output, $status and what cmake was called with.
run() {
  settings=
  while [ "$1" != -- ]; do
    settings="$settings $1"
    shift
  done
  shift
  : >"$work/calls"
  : >"$work/asked"
  status=0
  # shellcheck disable=SC2086
  output=$(cd "$work/run" && env -i PATH="$work/bin:$work/tools" HOME="$work" $settings "$home/mptune" "$@" </dev/null 2>&1) ||
    status=$?
}
failed() {
  printf '%s\nstatus %s, output:\n%s\ncmake:\n' "$1" "$status" "$output"
  cat "$work/calls"
  exit 1
}
# builds_for WHAT SAYING: the last run configured for that, said so, and ran the command.
builds_for() {
  case "$1" in
  off) options="-DMPTUNE_CUDA=OFF" ;;
  *) options="-DMPTUNE_CUDA=ON -DMPTUNE_CUDA_ARCHITECTURES=$1" ;;
  esac
  [ $status = 0 ] && grep -q -e "--preset release .* $options\$" "$work/calls" || failed "not built for $1: $2"
  case "$output" in *"building build/release"*"$2"*"ran formats") ;; *) failed "it does not say: $2" ;; esac
}
builds_nothing() { [ "$status $output" = "0 ran formats" ] && [ ! -s "$work/calls" ] || failed "$1"; }

run -- formats
builds_for off "without CUDA: there is no nvcc"
run -- formats
builds_nothing "what is built is built again"
run MPTUNE_CUDA=ON -- formats
case "$status $output" in "1 "*"MPTUNE_CUDA=ON needs nvcc"*) ;; *) failed "ON without nvcc" ;; esac
run MPTUNE_CUDA=maybe -- formats
case "$status $output" in "1 "*"MPTUNE_CUDA is 'maybe'"*) ;; *) failed "an unknown word is taken" ;; esac

nvcc_is_here
rm -rf "$home/build"
run -- formats
builds_for off "nvcc is here, a GPU of compute capability 8.0 or later is not (MPTUNE_CUDA=ON builds for all)"

# A build of a login node, in a home that machines with GPUs share.
gpus_are 9.0 9.0
run -- formats
builds_for 90a "anew with CUDA, for the GPUs here: 90a (MPTUNE_CUDA=ON is for all GPUs, OFF without)"
run -- formats
builds_nothing "it is built again for the same GPUs"
gpus_are
run -- formats
builds_nothing "it is built again where there is no GPU"
rm "$work/bin/nvcc"
gpus_are 9.0
run -- formats
builds_nothing "it is built again where nvcc is missing"
nvcc_is_here
gpus_are 10.0
run -- formats
builds_for "90a;100" "anew with CUDA, for the GPUs here: 90a;100"
gpus_are 9.0
run -- formats
builds_nothing "what serves two kinds is built again for one"
touch -d '1 minute' "$home/src/packages.sh"
run -- formats
[ "$(cat "$work/calls")" = "--build --preset release --target mptune-command" ] || failed "a change is not just built"
touch -d '1 hour ago' "$home/src/packages.sh"
run -- formats

run MPTUNE_CUDA=ON -- formats
builds_for all "anew for all GPUs, as MPTUNE_CUDA says"
gpus_are 8.9
run -- formats
builds_nothing "what is for all GPUs is built again"
run MPTUNE_CUDA=OFF -- formats
builds_for off "anew without CUDA, as MPTUNE_CUDA says"
run MPTUNE_CUDA=OFF -- formats
builds_nothing "it is built again without CUDA"
run -- formats
builds_for 89 "for the GPUs here: 89"
gpus_are 15.0
run -- formats
builds_for all "for the GPUs here: all"
rm -rf "$home/build"
gpus_are 7.5
run -- formats
builds_for off "a GPU of compute capability 8.0 or later is not"

# The driver's list is enough to know that nothing changed.
gpus_are 9.0
run 'MODELS=Model:\tH200\n' -- formats
builds_for 90a "for the GPUs here: 90a"
run 'MODELS=Model:\tH200\n' -- formats
run 'MODELS=Model:\tH200\n' -- formats
builds_nothing "the same GPUs are built for again"
[ ! -s "$work/asked" ] || failed "nvidia-smi is asked again"
gpus_are 8.0
run 'MODELS=Model:\tA100\n' -- formats
builds_for "80;90a" "for the GPUs here: 80;90a"

# By hand, with a preset: known for what it is, and built.
(cd "$home" && PATH="$work/bin:$PATH" cmake --preset release -DMPTUNE_CUDA=ON -DMPTUNE_CUDA_ARCHITECTURES=all)
run -- formats
[ "$(cat "$work/calls")" = "--build --preset release --target mptune-command" ] || failed "a preset is not kept"

mv "$home" "$work/elsewhere"
home="$work/elsewhere"
run -- formats
builds_for 80 "for the GPUs here: 80"

# Without flock a folder is the lock; it is gone behind the build.
rm "$work/tools/flock"
touch -d '1 minute' "$home/src/packages.sh"
mkdir "$home/build/.lock.d"
(sleep 1.5 && rmdir "$home/build/.lock.d") &
run -- formats
wait
case "$status $output" in "0 "*"waiting for another build"*"ran formats") ;; *) failed "it does not wait without flock" ;; esac
[ ! -e "$home/build/.lock.d" ] || failed "the lock is left behind"

# One question for what is needed to build, and the data of workloads, by file and by name.
echo 'data: {package: named-data}' >"$home/profiles/workloads/named.yaml"
echo 'data: {package: file-data}' >"$work/run/own.yaml"
run MISSING=1 -- eval own.yaml named
case "$status $output" in
"1 "*"apt-get install --no-install-recommends gcc "*"apt-get download file-data named-data "*) ;;
*) failed "not all that is needed is asked for" ;;
esac
[ "$(printf '%s\n' "$output" | grep -c 'this gets them')" = 1 ] || failed "it asks more than once"
