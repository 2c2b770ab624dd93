#!/bin/sh
# usage: test_exports.sh libmptune.so libmptune.a HEADER...
# The shared library exports exactly the functions that the public headers declare; what the archive
# defines for others has the prefix, so that it meets no name of a program's; and no message speaks
# of options of the command, which a host has not.
set -eu
library=$1 archive=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat "$@" | tr '\n' ' ' | grep -o 'MPT_API [^;(]*(' |
  sed -n 's|.*[ *]\(mpt_[a-z0-9_]*\) *($|\1|p' | sort -u >"$work/declared"
nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ { print $3 }' | grep -v '^__\(asan\|odr\|ubsan\)' |
  sort -u >"$work/exported"
[ "$(wc -l <"$work/declared")" -gt 50 ]

# The reference has all but the unstable operations.
for header in "$@"; do
  case $header in */ops.h) ;; *) cat "$header" ;; esac
done | tr '\n' ' ' | grep -o 'MPT_API [^;(]*(' | sed -n 's|.*[ *]\(mpt_[a-z0-9_]*\) *($|\1|p' | while read -r name; do
  grep -q -F "\`$name\`" "$(dirname "$0")/../docs/c-api.md" || echo "docs/c-api.md does not name $name"
done >"$work/missing"
if [ -s "$work/missing" ]; then
  cat "$work/missing"
  exit 1
fi
if ! diff "$work/declared" "$work/exported" >"$work/difference"; then
  echo "declared (<) and exported (>) differ:"
  cat "$work/difference"
  exit 1
fi

# What a compiler adds of its own has names that no program may use.
nm --defined-only "$archive" 2>/dev/null | awk 'NF == 3 && $2 ~ /[A-Z]/ { print $3 }' | grep -v '^_[_A-Z]' |
  sort -u >"$work/archived"
[ "$(wc -l <"$work/archived")" -gt 100 ]
if grep -v '^mpt_' "$work/archived"; then
  echo "the archive defines these without the prefix mpt_"
  exit 1
fi

if LC_ALL=C grep -a -o -E '[[:print:]]*[ (]--[a-z][a-z-]+[[:print:]]*' "$archive"; then
  echo "messages of the library speak of options of the command"
  exit 1
fi

# JSON is the command's.
if readelf -d "$library" | grep NEEDED | grep jansson; then
  echo "the library needs Jansson"
  exit 1
fi
