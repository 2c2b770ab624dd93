#!/bin/bash
# Tests of the command line. Each tests/cli/NAME.sh is run in an empty directory with `mptune` on its
# PATH; beside it stand the expected exit code (NAME.exit, 0 when absent), standard output
# (NAME.stdout) and standard error (NAME.stderr), empty when absent. In expected output `@@` stands
# for any text within a line, and a line `@@@` for any number of lines.
#
#   tests/cli/run.sh MPTUNE_BINARY TOOL_BINARY [--refresh] [NAME...]
set -u
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
binary=$(realpath "$1") tool=$(realpath "$2")
shift 2
refresh=no
if [ "${1:-}" = --refresh ]; then
  refresh=yes
  shift
fi

# Whether the lines of file $1 match the expected ones of file $2.
matches() {
  local -a got want
  mapfile -t got <"$1"
  # As patterns: what is special in them is taken literally, but @@.
  mapfile -t want < <(sed '/^@@@$/b; s/[][\\*?]/\\&/g; s/@@/*/g' "$2")
  match_from 0 0
}

match_from() { # indices into got and want
  local g=$1 w=$2
  while [ "$w" -lt "${#want[@]}" ]; do
    if [ "${want[$w]}" = '@@@' ]; then
      while [ "$g" -le "${#got[@]}" ]; do
        match_from "$g" $((w + 1)) && return 0
        g=$((g + 1))
      done
      return 1
    fi
    [ "$g" -lt "${#got[@]}" ] || return 1
    # shellcheck disable=SC2053 # the pattern is meant as one
    [[ ${got[$g]} == ${want[$w]} ]] || return 1
    g=$((g + 1)) w=$((w + 1))
  done
  [ "$g" -eq "${#got[@]}" ]
}

failed=0 passed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
ln -s "$binary" "$scratch/bin/mptune"
ln -s "$tool" "$scratch/bin/tool"
export PATH="$scratch/bin:$PATH" MPTUNE_PROFILES="$source_dir/profiles/devices" NO_COLOR=1
# A machine with a GPU gives the same answers: none is seen.
export CUDA_VISIBLE_DEVICES=
export SOURCE="$source_dir" WORKLOADS="$source_dir/profiles/workloads" LC_ALL=C
# What a sanitizer has to say is not lost with the exit code of a pipeline, or in /dev/null.
for options in ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS; do
  export "$options=${!options:+${!options}:}log_path=$scratch/sanitizer"
done
[ $# -gt 0 ] || set -- $(cd "$here" && ls ./*.sh | sed 's|^\./||; s|\.sh$||' | grep -v '^run$')

for name in "$@"; do
  work=$scratch/$name
  mkdir -p "$work"
  (cd "$work" && bash "$here/$name.sh") >"$scratch/stdout" 2>"$scratch/stderr" </dev/null
  code=$?
  want_code=$(cat "$here/$name.exit" 2>/dev/null || echo 0)
  if [ $refresh = yes ]; then
    rm -f "$here/$name".exit "$here/$name".stdout "$here/$name".stderr
    [ $code -eq 0 ] || echo $code >"$here/$name.exit"
    for stream in stdout stderr; do
      [ ! -s "$scratch/$stream" ] || sed "s|$source_dir|@@|g" "$scratch/$stream" >"$here/$name.$stream"
    done
    continue
  fi
  why=
  [ "$code" -eq "$want_code" ] || why="exit code $code, expected $want_code"
  for stream in stdout stderr; do
    want_file=$here/$name.$stream
    [ -e "$want_file" ] || want_file=/dev/null
    matches "$scratch/$stream" "$want_file" || why="$why${why:+; }$stream differs"
  done
  if reports=$(cat "$scratch"/sanitizer.* 2>/dev/null); then
    why="$why${why:+; }a sanitizer reports"
    printf '%s\n' "$reports"
    rm -f "$scratch"/sanitizer.*
  fi
  if [ -z "$why" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED $name: $why"
    for stream in stdout stderr; do
      diff -u --label "expected $stream" --label "$stream" \
        "$([ -e "$here/$name.$stream" ] && echo "$here/$name.$stream" || echo /dev/null)" "$scratch/$stream" | head -40
    done
  fi
  rm -rf "$work"
done
echo "command line: $passed passed, $failed failed"
[ $failed -eq 0 ]
