# Little address space: said before the first product, and nothing waits for ever.
. "$SOURCE/tests/cli/common.bash"
small net.yaml 's/^budget.*/budget: {worse_by: 20%}/'
within() { # KIB ARGUMENTS...
  local limit=$1
  shift
  echo "\$ mptune $* (ulimit -v $limit)"
  (ulimit -v "$limit" && exec timeout -s KILL 60 mptune "$@") 2>&1 >/dev/null
  echo "exit $?"
}
# A sanitizer needs terabytes of it: what it would say is said for it. Its own report, that it has not
# got them, is no finding.
little() {
  unset ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
  ulimit -v 100000 && mptune formats
}
if (little) >/dev/null 2>&1; then
  within 100000 tune -q net.yaml -o run
  within 100000 train -q net.yaml
  within 1000000 tune -q net.yaml -o run
  within 100000 report run
else
  cat "$SOURCE/tests/cli/limits.stdout"
fi
