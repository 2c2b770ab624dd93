# shellcheck shell=sh
# How the scripts at the top build: with or without CUDA, for which GPUs, one at a time. Sourced in
# the folder of the sources, behind src/packages.sh; sets no option.
#
# What a build is for is its MPTUNE_CUDA_ARCHITECTURES, or `off` without CUDA. CMakeCache.txt is the
# only record of it, so that a build by hand is known for what it is.

find_nvcc() { # where CMakeLists.txt looks
  command -v nvcc && return 0
  for folder in "${CUDA_HOME:-/usr/local/cuda}/bin" /usr/local/cuda/bin /opt/cuda/bin; do
    [ -x "$folder/nvcc" ] && echo "$folder/nvcc" && return 0
  done
  return 0
}

# ---- the GPUs of this machine ----

# "90a;100": what they are built for; `all` for one that this nvcc does not know; nothing where there
# is none, or none that mptune has kernels for.
gpu_architectures() {
  nvcc=$(find_nvcc)
  capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null) || capabilities=
  if [ -z "$capabilities" ] && [ -n "$nvcc" ]; then # what nvcc -arch=native asks
    capabilities=$("${nvcc%/*}/__nvcc_device_query" 2>/dev/null) || capabilities=
  fi
  known=$([ -n "$nvcc" ] && "$nvcc" --list-gpu-code 2>/dev/null | tr '\n' ' ' | sed 's/^/ /') || known=
  list=
  for capability in $(printf '%s\n' "$capabilities" | tr -d '. ' | tr ',' '\n' | grep -x '[0-9]*' | sort -nu); do
    [ "$capability" -ge 80 ] || continue
    case "$known" in '' | *" sm_$capability "*) ;; *) list=all && break ;; esac
    [ "$capability" != 90 ] || capability=90a # what its kernels are written for
    list="$list${list:+;}$capability"
  done
  printf '%s' "$list"
}

# A text that changes when the GPUs do, and nothing where there are none. The driver's own list is
# read in no time, where nvidia-smi can take seconds.
gpus_here() {
  models=$(cat /proc/driver/nvidia/gpus/*/information 2>/dev/null | sed -n 's/^Model:[[:space:]]*//p' | sort -u | tr '\n' ';')
  if [ -n "$models" ]; then printf '%s' "$models"; else gpu_architectures; fi
}

# ---- what a build is for ----

# Of build/$1; nothing when it is not configured, or was for a checkout elsewhere.
configured_for() {
  cache="build/$1/CMakeCache.txt"
  [ -e "build/$1/build.ninja" ] && [ -e "$cache" ] || return 0
  grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" "$cache" || return 0
  if grep -qE '^(MPTUNE_CUDA:[A-Z]*=OFF|MPTUNE_NVCC:[A-Z]*=.*-NOTFOUND)$' "$cache"; then
    echo off
  else
    sed -n 's/^MPTUNE_CUDA_ARCHITECTURES:[A-Z]*=//p' "$cache"
  fi
}

# Whether a build for $1 runs on the GPUs $2.
serves() {
  [ -n "$2" ] && [ "$1" != all ] || return 0
  for architecture in $(echo "$2" | tr ';' ' '); do
    case ";$1;" in *";$architecture;"*) ;; *) return 1 ;; esac
  done
}

# Settles what build/$1 is to be for: leaves it in $target_for, and why, with the way to another, in
# $because. A build that serves more than is here is kept: the home may be shared with a machine
# that has the rest.
choose_target() {
  had=$(configured_for "$1")
  nvcc=$(find_nvcc)
  case "${MPTUNE_CUDA:-}" in
  OFF) target_for=off because="without CUDA, as MPTUNE_CUDA says" ;;
  ON)
    [ -n "$nvcc" ] || die "MPTUNE_CUDA=ON needs nvcc of CUDA 13, and there is none (on PATH, in CUDA_HOME or /usr/local/cuda)"
    target_for=all because="for all GPUs, as MPTUNE_CUDA says"
    ;;
  '')
    gpus=$(gpu_architectures)
    if [ -z "$nvcc" ]; then
      target_for=off because="without CUDA: there is no nvcc (install CUDA 13 for GPUs)"
    elif [ -n "$had" ] && [ "$had" != off ] && serves "$had" "$gpus"; then
      target_for=$had because=
    elif [ -z "$gpus" ]; then
      target_for=off because="without CUDA: nvcc is here, a GPU of compute capability 8.0 or later is not (MPTUNE_CUDA=ON builds for all)"
    else
      target_for=$gpus
      if [ -n "$had" ] && [ "$had" != off ] && [ "$gpus" != all ]; then
        target_for=$(printf '%s\n' "$had;$gpus" | tr ';' '\n' | sort -nu | tr '\n' ';' | sed 's/;$//')
      fi
      because="with CUDA, for the GPUs here: $target_for (MPTUNE_CUDA=ON is for all GPUs, OFF without)"
    fi
    ;;
  *) die "MPTUNE_CUDA is '$MPTUNE_CUDA' (ON: for all GPUs; OFF: without; unset: for those here)" ;;
  esac
}

# Whether build/$1 is for what it should be. That it serves the GPUs that are here is noted, so that
# nvidia-smi is asked once.
is_right_for_here() {
  had=$(configured_for "$1")
  case "${MPTUNE_CUDA:-}" in
  OFF) [ "$had" = off ] && return 0 || return 1 ;;
  ON) [ "$had" = all ] && return 0 || return 1 ;;
  '') [ -n "$had" ] || return 1 ;;
  *) choose_target "$1" ;; # which says what is wrong
  esac
  here=$(gpus_here)
  [ "$had" != all ] && [ -n "$here" ] || return 0
  note="$had on $here, nvcc: $(find_nvcc)"
  grep -qxF "$note" "build/$1/.gpus" 2>/dev/null && return 0
  if ! serves "$had" "$(gpu_architectures)"; then
    choose_target "$1" # it may be the best that can be had without nvcc
    [ "$target_for" = "$had" ] || return 1
  fi
  printf '%s\n' "$note" >>"build/$1/.gpus" || return 0
}

# Tests are built as they were; at first with CUDA wherever there is nvcc, since that all of it
# compiles is tested, too. Presets with sanitizers have none.
choose_test_target() {
  had=$(configured_for "$1")
  nvcc=$(find_nvcc)
  because="without CUDA"
  case "$1,${MPTUNE_CUDA:-}" in
  dev,) target_for=${had:-$([ -n "$nvcc" ] && gpu_architectures)} || target_for= ;;
  dev,*) choose_target "$1" ;;
  *) target_for=off ;;
  esac
  if [ -z "$target_for" ]; then
    if [ -n "$nvcc" ]; then target_for=90a; else target_for=off; fi
  fi
  [ "$target_for" = off ] || because="with CUDA, for $target_for (MPTUNE_CUDA=ON is for all GPUs, OFF without)"
}

# ---- building ----

# Configures build/$1 (options behind its target) where it is not, or not for $target_for, and builds
# target $2; what it prints is shown if it fails.
build() {
  preset=$1 target=$2
  shift 2
  log="build/$preset.log"
  mkdir -p build
  had=$(configured_for "$preset")
  case "$target_for" in
  off) about="a minute or so" && set -- "$@" -DMPTUNE_CUDA=OFF ;;
  *) about="some minutes" && set -- "$@" -DMPTUNE_CUDA=ON "-DMPTUNE_CUDA_ARCHITECTURES=$target_for" ;;
  esac
  [ "$had" = "$target_for" ] || say "building build/$preset${had:+ anew} $because; $about, once"
  [ -n "$had" ] || rm -rf "build/$preset" # of a checkout that has moved, or half configured
  {
    { [ "$had" = "$target_for" ] || cmake --preset "$preset" "$@"; } &&
      cmake --build --preset "$preset" --target "$target"
  } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    die "the build failed; all of it is in $log"
  }
}

# Holds build/.lock until the shell that called it ends. Where there is no flock, a folder is the
# lock, which a shell that is killed leaves behind.
lock() {
  mkdir -p build
  if command -v flock >/dev/null; then
    exec 9>build/.lock
    flock 9
    return
  fi
  until mkdir build/.lock.d 2>/dev/null; do
    [ -d build/.lock.d ] || die "cannot write to $(pwd)/build"
    [ -n "${waits:-}" ] || say "waiting for another build; if there is none, rmdir $(pwd)/build/.lock.d"
    waits=1
    sleep 1
  done
  trap 'rmdir build/.lock.d' EXIT
  trap 'exit 130' INT TERM HUP
}
