#!/bin/bash
# compute-sanitizer over the contract tests of the cuda backend, on a machine with a GPU:
#   tests/sanitize.sh [-j JOBS] [-l LIMIT] [-o LOGS] [-t TOOL,...] [TEST...]
# TEST   programs (default: build/dev/tests/test_contract_*, but test_gemm_kernels for ..._gemm, since
#        racecheck does not survive cuBLASLt's fp8 kernels and initcheck does not see all they write:
#        so it leaves out the kernel that reads what they wrote in ..._arguments, too)
# TOOL   memcheck, racecheck, initcheck (default: all three)
# JOBS   at a time (default: 3; more gain nothing, since processes share a GPU in turns)
# LIMIT  seconds for each (default: none)
# Prints a line for each test and tool; what a tool found is in LOGS (build/sanitize). Exits with 1
# unless every test passed and nothing was found.
set -u
shopt -s extglob
jobs=3 limit=0 logs=build/sanitize tools=racecheck,initcheck,memcheck
while getopts j:l:o:t:h option; do
  case $option in
  j) jobs=$OPTARG ;;
  l) limit=$OPTARG ;;
  o) logs=$OPTARG ;;
  t) tools=$OPTARG ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- build/dev/tests/test_contract_!(gemm*) build/dev/tests/test_gemm_kernels
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
[ -x "$sanitizer" ] || {
  echo "error: no compute-sanitizer in PATH or CUDA_HOME; it is part of the CUDA toolkit" >&2
  exit 2
}
mkdir -p "$logs"

# A test that finds no GPU has nothing to run and says so; that is not clean.
check() { # TOOL PROGRAM
  local name log start code=0 found filter=()
  name=$(basename "$2") log=$logs/$(basename "$2").$1.log start=$EPOCHREALTIME
  [ "$1 $name" = "initcheck test_contract_arguments" ] && filter=(--kernel-name-exclude kns=finish)
  MPTUNE_TEST_BACKEND=cuda timeout "$limit" "$sanitizer" --tool "$1" "${filter[@]}" \
    --error-exitcode 99 "$2" >"$log" 2>&1 || code=$?
  found=$(grep -a 'SUMMARY' "$log" | tail -1 | sed 's/^=* *//')
  [ "$code" = 124 ] && found="not finished in $limit s"
  grep -aq 'skipped on the cuda backend' "$log" && code=2 found="no GPU"
  printf '%-28s %-10s %6.1f s  %s%s\n' "$name" "$1" \
    "$(awk "BEGIN { print $EPOCHREALTIME - $start }")" "${found:-no summary, exit $code}" \
    "$(grep -a 'FAILED  \]' "$log" | head -1)" | tee "$log.line"
  return "$code"
}

export -f check
export sanitizer limit logs
for program; do
  for tool in $(echo "$tools" | tr , ' '); do
    [ -f "$program" ] && [ -x "$program" ] && printf '%s\0%s\0' "$tool" "$program"
  done
done | xargs -0 -n2 -P "$jobs" bash -c 'check "$@"' check || exit 1
