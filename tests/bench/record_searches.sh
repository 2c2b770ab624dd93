#!/bin/bash
# What searches ask for and decide, as text, so that a change of the tuner that should change nothing
# can be shown to: record with the binary from before and with the one from after, then compare.
#
#   tests/bench/record_searches.sh MPTUNE DIRECTORY [NAME...]
#   diff -r BEFORE AFTER
#
# NAME: a search, `short` (all but the whole trainings of large workloads; the default), `whole`
# (those) or `list` (says the names). DIRECTORY/NAME/ has
#
#   requests       the trainings in their order: policy, seed, purpose, what came of them
#   decisions      policies and their prices, the order of verification, the verdicts
#   printed        the exit code and what was printed
#   policy.yaml
#   report.json    mptune report --json: the trajectory, scores, reasons, rows
#   frontier.json  mptune frontier --json
#   statistics     sums over what was observed
#
# Numbers are in full; what clocks wrote, paths and versions are left out. Searches that are
# interrupted (INT) or killed (KILL) after so many trainings, and continued, must come to what they
# come to undisturbed. Needs the sqlite3 command. `short` takes 2 minutes on two cores, `whole` 6.
set -eu
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
[ $# -ge 2 ] || usage
command -v sqlite3 >/dev/null || { echo 'error: sqlite3 is not installed' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mptune=$(realpath "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- short
wanted=" $* "
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$here/../data/bits8.yaml" .
recorded=0

is_wanted() { # NAME TIER
  if [[ $wanted == *' list '* ]]; then echo "$1 ($2)" && return 1; fi
  [[ $wanted == *" $1 "* || $wanted == *" $2 "* ]]
}

# Of texts and of JSON, a value a line.
without_clocks() {
  grep -vE '"(time|tuning_seconds|payback_seconds|training_seconds|seconds_at_(least|most)|host_seconds|total_seconds|started|command|workload_(path|quoted)|os|cpu|compiler|policy_path|report_path)":|^ *time: ' |
    sed -E 's/"(tuning|payback)_seconds": ?[^,}]*,? ?//g; s/a training takes about .*/a training takes a while/
      s/Tuning took [^\\]*\.\\n//; s/[^.]*pa(ys|id) (back )?after [^.]*\.//; '"s|$work/||g; s|[^ \"]*/profiles/|PROFILES/|g"
}

requests() { # STORE
  sqlite3 -readonly "$1" "SELECT policy, seed, purpose, steps, steps_done, diverged, stopped,
      printf('%.17g', metric), printf('%.17g', metric_plain), printf('%.17g', held_out_loss),
      printf('%.17g', output_difference), memory_bytes, failure, length(losses),
      substr(hex(losses), -64), counters, judged, hex(correct), key, condition
    FROM evaluations ORDER BY id"
}

decisions() { # STORE
  sqlite3 -readonly "$1" "SELECT 'policy', hash, label, printf('%.17g', predicted_seconds),
      printf('%.17g', predicted_increase), assignment FROM policies ORDER BY id;
    SELECT 'attempt', position, policy, printf('%.17g', weight), first_seed FROM attempts
      ORDER BY condition, position;
    SELECT 'time', policy, device, measured, printf('%.17g', seconds), parts FROM times
      ORDER BY policy, device;
    SELECT 'condition', hash, training, data, steps, numerics FROM conditions ORDER BY hash"
}

statistics() { # STORE
  sqlite3 -readonly "$1" "SELECT key, count(*), sum(step), sum(count), sum(zeros), sum(infinities),
      sum(amax_bits), sum(amin_bits), printf('%.17g', sum(sum)), printf('%.17g', sum(sum_of_squares)),
      hex(max(histogram)) FROM statistics GROUP BY key ORDER BY key"
}

run() { # NAME ARGUMENTS...: into OUT/NAME, what was asked for, decided and printed
  local name=$1 rc=0 to
  shift
  to=$out/$name
  rm -rf "$to" && mkdir "$to"
  "$mptune" "$@" -o run -q --json >stdout 2>stderr || rc=$?
  case $rc in
  0 | 3) ;;
  *) echo "error: $name ended with $rc: $(cat stderr)" >&2 && exit 1 ;;
  esac
  { echo "exit $rc" && cat stdout stderr; } | without_clocks >"$to/printed"
  if [ -f run/run.sqlite ]; then
    requests run/run.sqlite >"$to/requests"
    decisions run/run.sqlite >"$to/decisions"
    statistics run/run.sqlite >"$to/statistics"
    "$mptune" report run --json 2>&1 | without_clocks >"$to/report.json"
    "$mptune" frontier run --json 2>&1 | without_clocks >"$to/frontier.json"
  fi
  [ ! -f run/policy.yaml ] || without_clocks <run/policy.yaml >"$to/policy.yaml"
  rm -rf run
  recorded=$((recorded + 1))
}

search() { # TIER NAME ARGUMENTS...: a search in a run of its own
  local tier=$1 name=$2
  shift 2
  ! is_wanted "$name" "$tier" || run "$name" tune "$@"
}

known_answer() { # NETWORK BUDGET SEED: a case of known_answers.h; the budget in percent
  local name=$1-$2-$3
  is_wanted "$name" short || return 0
  {
    printf 'schema: mptune/workload@1\nname: %s\n' "$1"
    printf '%b' "$(awk -v name="{\"$1\"," '$1 == name {on = 1; next}
      on && /^     "/ {last = /"},$/; sub(/^ *"/, ""); sub(/"}?,?$/, ""); gsub(/\\"/, "\""); printf "%s", $0}
      last {exit}' "$here/known_answers.h")"
    printf '\nmetric: loss\nbudget: {worse_by: %s%%}\nexclude: [tf32]\ntarget: synthetic-bits\n' "$2"
  } >"$1.yaml"
  run "$name" tune "$1.yaml" --seed "$3"
}

small_network() { # NAME FILE BUDGET [SED]: a workload of tests/data; the budget in percent
  is_wanted "$1" short || return 0
  sed "s/^budget:.*/budget: {worse_by: $3%}/; ${4:-}" "$here/../data/$2.yaml" >"$1.yaml"
  run "$1" tune "$1.yaml"
}

trained() { sqlite3 -readonly run/run.sqlite 'SELECT count(*) FROM evaluations' 2>/dev/null || echo 0; }

disturbed() { # SEARCH SIGNAL TRAININGS ARGUMENTS...: ended after so many trainings, then continued
  local like=$1 signal=$2 least=$3 name=$1-$2-$3 pid rc=0
  shift 3
  is_wanted "$name" short || return 0
  "$mptune" tune "$@" -o run -q >/dev/null 2>&1 &
  pid=$!
  while kill -0 $pid 2>/dev/null && [ "$(trained)" -lt "$least" ]; do sleep 0.01; done
  kill -"$signal" $pid 2>/dev/null || true
  { wait $pid || rc=$?; } 2>/dev/null
  case $signal-$rc in
  INT-130 | KILL-137) ;;
  *) echo "error: $name was to be ended, and exited with $rc" >&2 && exit 1 ;;
  esac
  run "$name" tune "$@"
  [ ! -d "$out/$like" ] || diff -r "$out/$like" "$out/$name" || {
    echo "error: $name came to something else than $like" >&2
    exit 1
  }
}

search short planted planted
search short tiny-classifier tiny-classifier
search short breast-cancer breast-cancer
search short breast-cancer-baselines breast-cancer --baselines --seed 7
search short breast-cancer-evaluations breast-cancer --evaluations 3
search short breast-cancer-pairs breast-cancer --pairs 24 --alpha 0.01 --seed 5
search short breast-cancer-dry breast-cancer --dry-run
search short text-gpt-30 text-gpt --steps 30
search short fashion-mlp-30 fashion-mlp --steps 30
search short fashion-cnn-15 fashion-cnn --steps 15
for budget in 1 2 5; do
  known_answer cells $budget 10000
  known_answer cells $budget 20000
  known_answer uneven $budget 10000
done
for budget in 3 5 10; do known_answer clothes $budget 10000; done
known_answer uneven 2 20000
small_network headlin-1 headlin-pinned-fp8 1 '/^pins:/,$d'
small_network headlin-pinned-16 headlin-pinned-fp8 16
small_network heavy-0.5 heavy 0.5
small_network heavy-2 heavy 2
small_network smooth-0.7 smooth 0.7
small_network smooth-2 smooth 2
small_network twins-10 twins 10
for after in 1 4 8 13; do disturbed planted INT $after planted; done
for after in 2 5 10; do disturbed planted KILL $after planted; done
disturbed breast-cancer INT 6 breast-cancer
disturbed breast-cancer KILL 15 breast-cancer
disturbed text-gpt-30 KILL 7 text-gpt --steps 30
if is_wanted eval short; then run eval eval breast-cancer -p all-bf16 -p all-fp8 -p all-fp16 --seeds 4; fi
if is_wanted observe short; then run observe observe breast-cancer; fi
search whole text-gpt text-gpt
search whole fashion-mlp fashion-mlp
search whole fashion-cnn fashion-cnn
[[ $wanted == *' list '* ]] || echo "$recorded searches recorded in $out"
[ $recorded -gt 0 ] || [[ $wanted == *' list '* ]] || { echo 'error: no search has that name (try list)' >&2; exit 2; }
