#!/bin/bash
# kill -9 at random moments of one search, and after each the same command again: the winner is the
# undisturbed run's, and so is every byte of policy.yaml but its time. Compared too: the winner in
# the report's JSON, but for what the tuning took.
#
#   tests/kill.sh MPTUNE_BINARY TOOL_BINARY KILLS [WORKLOAD [SEED [ARGUMENTS...]]]
#
# A process lives for a random part of an eighth of the undisturbed run's time, so that a search is
# killed many times before its end, in its first and its last moments too; one that ended before all
# its kills is compared, and another takes the rest.
set -u
source_dir=$(cd "$(dirname "$0")/.." && pwd)
mptune=$(realpath "$1") tool=$(realpath "$2") kills=$3
workload=$(realpath "${4:-$source_dir/profiles/workloads/breast-cancer.yaml}")
seed=${5:-$$}
shift $(($# < 5 ? $# : 5))
RANDOM=$seed
echo "kill: $(basename "$workload") $*, seed $seed of the moments"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
arguments=("$@")

tune() { "$mptune" tune -q "$workload" "${arguments[@]}" -o "$1" >/dev/null 2>"$1.log"; }
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

failed=0 killed=0 searches=0 most=0
finish() { # KILLS: the same command to its end, and the comparison
  searches=$((searches + 1))
  [ "$1" -le "$most" ] || most=$1
  if ! tune run; then
    echo "FAILED after $1 kills: it does not continue: $(cat run.log)"
    failed=$((failed + 1))
  elif ! answer run >got || ! cmp -s got expected; then
    echo "FAILED after $1 kills: another answer"
    diff expected got
    failed=$((failed + 1))
  fi
  rm -rf run
}

of_this=0
while [ $killed -lt "$kills" ] && [ $searches -lt $((5 * kills)) ]; do
  life=$((length / 8 * (RANDOM % 1000) / 1000))
  "$mptune" tune -q "$workload" "${arguments[@]}" -o run >/dev/null 2>run.log &
  pid=$!
  sleep "$(printf '%d.%09d' $((life / 1000000000)) $((life % 1000000000)))"
  kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null
  if [ $? -eq 137 ]; then
    killed=$((killed + 1)) of_this=$((of_this + 1))
    continue
  fi
  finish $of_this # it had come to its end: once more, which changes nothing
  of_this=0
done 2>/dev/null
[ $of_this -eq 0 ] || finish $of_this
echo "killed $killed times in $searches searches, $most times in one, undisturbed $((length / 1000000)) ms: $failed failed"
[ $failed -eq 0 ] && [ $killed -eq "$kills" ]
