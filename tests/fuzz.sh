#!/bin/bash
# Fuzzes each target for so many seconds, as many at once as there are processors. What a target
# learns is kept in BUILD/corpus, and the next run goes on from there.
#
#   tests/fuzz.sh BUILD SECONDS [NAME...]
set -u
source_dir=$(cd "$(dirname "$0")" && pwd)/fuzz
build=$(cd "$1" && pwd) seconds=$2
shift 2
[ $# -gt 0 ] || set -- $(cd "$source_dir" && ls fuzz_*.c | sed 's|^fuzz_||; s|\.c$||')
mkdir -p "$build/logs" "$build/found"

# Files of the targets in memory where that can be had.
TMPDIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) || exit 1
trap 'rm -rf "$TMPDIR"' EXIT
export TMPDIR

fuzz() { # NAME
  local log=$build/logs/$1.log dictionary=$source_dir/$1.dict
  mkdir -p "$build/corpus/$1"
  "$build/tests/fuzz_$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2560 \
    -malloc_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$build/found/$1-" \
    ${dictionary:+$([ -e "$dictionary" ] && echo "-dict=$dictionary")} \
    "$build/corpus/$1" "$source_dir/corpus/$1" >"$log" 2>&1
  local code=$? runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ $code -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
    echo "fuzz $1: $runs inputs"
    return 0
  fi
  echo "fuzz $1: FAILED (exit code $code)"
  grep -a -m1 -A25 -E 'ERROR: |runtime error: |does not hold: |^the target cannot' "$log" || tail -n 25 "$log"
  local found
  found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  echo "log: $log"
  [ -z "$found" ] || echo "again: $build/tests/fuzz_$1 $found"
  return 1
}
export -f fuzz
export build seconds source_dir
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'fuzz "{}"'
