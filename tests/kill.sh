#!/bin/bash
# kill -9 at a random moment of a search, then the same command again: the winner is the undisturbed
# run's. Compared: policy.yaml but for its times, and the winner in the report's JSON.
#
#   tests/kill.sh MPTUNE_BINARY TOOL_BINARY MOMENTS [WORKLOAD [SEED]]
set -u
source_dir=$(cd "$(dirname "$0")/.." && pwd)
mptune=$(realpath "$1") tool=$(realpath "$2") moments=$3
workload=$(realpath "${4:-$source_dir/profiles/workloads/breast-cancer.yaml}")
seed=${5:-$$}
RANDOM=$seed
echo "kill: $(basename "$workload"), seed $seed of the moments"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1

tune() { "$mptune" tune -q "$workload" -o "$1" >/dev/null 2>"$1.log"; }
answer() { # what must be the same
  grep -v '^  time: ' "$1/policy.yaml"
  "$mptune" report "$1" --json | "$tool" json winner |
    sed 's/"\(tuning\|payback\)_seconds": [^,]*, //g'
}
now() { date +%s%N; }

begun=$(now)
tune undisturbed || { cat undisturbed.log; exit 1; }
length=$(($(now) - begun))
answer undisturbed >expected
[ "$("$mptune" report undisturbed --json | "$tool" json winner gain)" = true ] || { echo "the undisturbed run has no winner"; exit 1; }

# A run that ended before its moment came does not count; another moment takes its place.
failed=0 hit=0 tried=0
while [ $hit -lt "$moments" ] && [ $tried -lt $((5 * moments)) ]; do
  tried=$((tried + 1))
  share=$((RANDOM % 1000))
  "$mptune" tune -q "$workload" -o run >/dev/null 2>run.log &
  pid=$!
  sleep "$(printf '%d.%09d' $((length * share / 1000 / 1000000000)) $((length * share / 1000 % 1000000000)))"
  if kill -KILL $pid 2>/dev/null; then hit=$((hit + 1)); fi
  wait $pid 2>/dev/null
  if ! tune run; then
    echo "FAILED at $share/1000: it does not continue: $(cat run.log)"
    failed=$((failed + 1))
  elif ! answer run >got || ! cmp -s got expected; then
    echo "FAILED at $share/1000: another answer"
    diff expected got
    failed=$((failed + 1))
  fi
  rm -rf run
done 2>/dev/null
echo "killed at $hit moments over $((length / 1000000)) ms: $failed failed"
[ $failed -eq 0 ] && [ $hit -eq "$moments" ]
