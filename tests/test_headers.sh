#!/bin/sh
# usage: test_headers.sh CC CXX-or-empty INCLUDE... -- HEADER...
# Each public header stands alone, in C11 and in C++11, without a warning; and mptune/mptune.h leaves
# out the unstable operations.
set -eu
cc=$1 cxx=$2
shift 2
include=
while [ "$1" != -- ]; do include="$include -I$1" && shift; done
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
warnings='-fsyntax-only -Wall -Wextra -Wshadow -pedantic -Werror'
count=0
for header in "$@"; do
  name=mptune/$(basename "$header")
  printf '#include "%s"\n#include "%s"\nint use(void);\nint use(void) { return 0; }\n' "$name" "$name" >one.c
  cp one.c one.cpp
  $cc -std=c11 $warnings $include one.c
  [ -z "$cxx" ] || $cxx -std=c++11 $warnings $include one.cpp
  count=$((count + 1))
done
[ $count -gt 8 ]

printf '#include "mptune/mptune.h"\nint use(void);\nint use(void) { return sizeof(mpt_gemm_args) > 0; }\n' >whole.c
if $cc -std=c11 -fsyntax-only $include whole.c 2>/dev/null; then
  echo "mptune/mptune.h declares the unstable operations"
  exit 1
fi
[ -n "$cxx" ] || echo "no C++ compiler: headers were not tried in C++"
