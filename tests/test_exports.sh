#!/bin/sh
# usage: test_exports.sh libmptune.so HEADER...
# The shared library exports exactly the functions that the public headers declare.
set -eu
library=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat "$@" | tr '\n' ' ' | grep -o 'MPT_API [^;(]*(' |
  sed -n 's|.*[ *]\(mpt_[a-z0-9_]*\) *($|\1|p' | sort -u >"$work/declared"
nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ { print $3 }' | grep -v '^__\(asan\|odr\|ubsan\)' |
  sort -u >"$work/exported"
[ "$(wc -l <"$work/declared")" -gt 50 ]
if ! diff "$work/declared" "$work/exported" >"$work/difference"; then
  echo "declared (<) and exported (>) differ:"
  cat "$work/difference"
  exit 1
fi
