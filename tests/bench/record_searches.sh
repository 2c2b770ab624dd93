#!/bin/bash
# What searches decide, as text, so that a change of the tuner that should change nothing can be
# shown to: record with the binary from before and with the one from after, then compare.
#
#   tests/bench/record_searches.sh MPTUNE DIRECTORY [NAME...]     records; all searches, or these
#   diff -r BEFORE AFTER
#
# DIRECTORY/NAME.txt has the trainings in their order (policy, seed, purpose, metric), what was
# decided (trajectory, verdicts in prospect, the winner), what was printed, and policy.yaml, without
# what clocks wrote. One search is interrupted and continued, and must come to what it comes to
# undisturbed. Needs the sqlite3 command. About 1 minute on two cores.
set -eu
[ $# -ge 2 ] || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
command -v sqlite3 >/dev/null || { echo 'error: sqlite3 is not installed' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mptune=$(realpath "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
wanted=" $* "
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

is_wanted() { [ "$wanted" = '  ' ] || [[ $wanted == *" $1 "* ]]; }

without_clocks() {
  grep -vE '"(tuning_seconds|payback_seconds|training_seconds|seconds_at_(least|most))":|^ *time: ' |
    sed -E 's/"(tuning|payback)_seconds": ?[^,}]*,? ?//g; s/a training takes about .*/a training takes a while/'
}

records() { # RUN: what its store holds
  sqlite3 -readonly "$1/run.sqlite" \
    "SELECT 'evaluation', policy, seed, purpose, steps, steps_done, diverged, stopped,
       printf('%.17g', metric), printf('%.17g', held_out_loss), length(losses),
       substr(hex(losses), -64), counters FROM evaluations ORDER BY id;
     SELECT 'policy', hash, label, printf('%.17g', predicted_seconds),
       printf('%.17g', predicted_increase), assignment FROM policies ORDER BY id;
     SELECT 'attempt', position, policy, printf('%.17g', weight), first_seed FROM attempts
       ORDER BY condition, position;
     SELECT 'time', policy, device, measured, printf('%.17g', seconds), parts FROM times
       ORDER BY policy, device;
     SELECT 'statistics', key, count(*), sum(step), sum(count), sum(sum), sum(amax_bits)
       FROM statistics GROUP BY key ORDER BY key;
     SELECT 'note', name, json FROM notes WHERE name <> 'definition' ORDER BY name;" |
    without_clocks
}

run() { # NAME ARGUMENTS...: into OUT/NAME.txt, what was printed and decided
  local name=$1 rc=0
  shift
  "$mptune" "$@" -o "$name.run" -q --json >"$name.stdout" 2>"$name.stderr" || rc=$?
  case $rc in
  0 | 3) ;;
  *) echo "error: $name ended with $rc: $(cat "$name.stderr")" >&2 && exit 1 ;;
  esac
  {
    echo "exit $rc"
    cat "$name.stdout" "$name.stderr" | sed "s|$work/||g; s|$name.run|RUN|g" | without_clocks
    [ ! -f "$name.run/run.sqlite" ] || records "$name.run"
    [ ! -f "$name.run/policy.yaml" ] || without_clocks <"$name.run/policy.yaml"
  } >"$out/$name.txt"
}

search() { # NAME ARGUMENTS...: a search in a run of its own
  local name=$1
  shift
  is_wanted "$name" || return 0
  run "$name" tune "$@"
}

known_answer() { # NETWORK SHARE: a case of known_answers.h
  is_wanted "$1-$2" || return 0
  {
    printf 'schema: mptune/workload@1\nname: %s\n' "$1"
    printf '%b' "$(awk -v name="{\"$1\"," '$1 == name {on = 1; next}
      on && /^     "/ {last = /"},$/; sub(/^ *"/, ""); sub(/"}?,?$/, ""); gsub(/\\"/, "\""); printf "%s", $0}
      last {exit}' "$here/known_answers.h")"
    printf '\nmetric: loss\nbudget: {worse_by: %s%%}\nexclude: [tf32]\ntarget: synthetic-bits\n' "$2"
  } >"$1-$2.yaml"
  search "$1-$2" "$1-$2.yaml" --seed 10000
}

trained() { sqlite3 -readonly "$1/run.sqlite" 'SELECT count(*) FROM evaluations' 2>/dev/null || echo 0; }

interrupted() { # NAME TRAININGS ARGUMENTS...: interrupted after so many trainings, then continued
  local name=$1 least=$2 pid rc=0
  shift 2
  is_wanted "$name" || return 0
  "$mptune" tune "$@" -o "$name.run" -q >/dev/null 2>&1 &
  pid=$!
  while kill -0 $pid 2>/dev/null && [ "$(trained "$name.run")" -lt "$least" ]; do sleep 0.05; done
  kill -INT $pid 2>/dev/null || true
  wait $pid || rc=$?
  [ $rc -eq 130 ] || { echo "error: $name was to be interrupted, and exited with $rc" >&2; exit 1; }
  run "$name" tune "$@"
}

search planted planted
search tiny-classifier tiny-classifier
search breast-cancer breast-cancer
search breast-cancer-baselines breast-cancer --baselines --seed 7
search breast-cancer-evaluations breast-cancer --evaluations 3
search breast-cancer-dry breast-cancer --dry-run
search text-gpt text-gpt --steps 60
known_answer cells 2
known_answer clothes 5
known_answer clothes 10
known_answer uneven 1
known_answer uneven 5
interrupted planted-interrupted 5 planted
interrupted planted-interrupted-late 13 planted
for name in planted-interrupted planted-interrupted-late; do
  if ! is_wanted $name || ! is_wanted planted; then continue; fi
  diff "$out/planted.txt" "$out/$name.txt" || { echo "error: $name came to something else" >&2; exit 1; }
done
! is_wanted eval || run eval eval breast-cancer -p all-bf16 -p all-fp8 -p all-fp16 --seeds 4
! is_wanted observe || run observe observe breast-cancer
