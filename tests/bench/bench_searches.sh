#!/bin/sh
# How often real searches pass a policy that misses its budget by a hair: COUNT searches of
# tests/data/headlin-pinned-fp8.yaml, each under a seed of its own, so that no two share a training.
# The policy is fixed by pins; its reference's metric varies by 16% of its mean between seeds, which
# a budget relative to a mean of few runs would take as known. alpha is 0.05, half of it for the
# first policy: 2.5% of such verdicts may pass.
#
#   tests/bench/bench_searches.sh MPTUNE [COUNT]        COUNT: 400
set -eu
mptune=$(realpath "$1") count=${2:-400}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here/data"
seed=1
while [ "$seed" -le "$count" ]; do
  # Search and verification seeds of two runs are at least 2000 apart.
  "$mptune" tune headlin-pinned-fp8.yaml --seed $((seed * 10000)) -o "$work/run" -q --json 2>/dev/null \
    >"$work/out" || true
  # Of the row of all-fp8: verdict, mean of its fresh pairs, pairs.
  awk '/"label": "all-fp8"/ {on = 1} on && /"verdict"/ {v = $2} on && /"worse_by_relative"/ {w = $2}
    on && /"pairs"/ {n = $2} on && /^    }/ {on = 0}
    END {gsub(/[",]/, "", v); gsub(/,/, "", w); gsub(/,/, "", n); print v, w, n}' "$work/out" >>"$work/all"
  rm -rf "$work/run"
  seed=$((seed + 1))
done
awk '{seen[$1]++; sum += $2 * $3; pairs += $3}
  END {for (v in seen) printf "%-13s %d of %d\n", v, seen[v], NR
    printf "worse by %.2f%%, the mean over %d fresh pairs; the budget is 16%%\n", 100 * sum / pairs, pairs}' "$work/all"
