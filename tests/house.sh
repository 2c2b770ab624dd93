#!/bin/bash
# The order of the house: a folder includes only from itself and from those under it, what stands
# above libmptune uses of it only the public headers and the utilities of base, no file of tuner/
# includes a header of which it uses nothing (includes.awk), and no two source files have one name.
#
#   tests/house.sh [ROOT]        checks a source tree
#   tests/house.sh --self-test   checks that it sees every kind of breach
set -u
export LC_ALL=C
tests=$(cd "$(dirname "$0")" && pwd)

# folder: the folders that it may include from, besides itself, or single headers of them
allowed() {
  local library='base mptune' command='base mptune'
  case $1 in
  src/mptune) echo ;;
  src/base) echo mptune ;;
  src/format) echo "$library" ;;
  src/policy) echo "$library format" ;;
  kernels) echo "$library format policy" ;;
  kernels/cpu | kernels/cuda) echo "$library format policy kernels" ;;
  src/runtime) echo "$library format policy kernels" ;;
  src/process) echo "$command" ;;
  src/contract) echo "$command process" ;;
  src/profile) echo "$command" ;;
  src/bench) echo "$command profile" ;;
  src/workload) echo "$command profile/shipped.h" ;;
  src/data) echo "$command workload" ;;
  src/train) echo "$command profile/pass_kind.h workload data" ;;
  src/store) echo "$command workload data train" ;;
  tuner/evaluators) echo "$command process contract workload data train store" ;;
  tuner/model) echo "$command" ;;
  tuner) echo "$command profile workload data train store tuner/evaluators tuner/model" ;;
  src/report) echo "$command workload data train store tuner" ;;
  src/export) echo "$command" ;;
  src/cli) echo "$command export export bench profile workload data train store tuner report" ;;
  docs/*) echo mptune ;;
  *) return 1 ;;
  esac
}

# Calls of Jansson that drop a row without a word: for a text that is not UTF-8, a number that is not
# finite, for lack of memory; or characters. base/json.h has their like that do not.
refused_json='(^|[^a-z_])json_(pack|string|real|array_append_new|object_set_new|(deep_)?copy|load[a-z]*|dump[a-z]*)[(]'

# Taking JSON apart by keys. What a run has is read by the tables of src/store (record.h) alone; the
# others read what is no record of a run: a checkpoint's header, and what programs say.
refused_keys='(^|[^a-z_])(json_v?unpack(_ex)?|json_object_(get|iter[a-z_]*|foreach[a-z_]*|size)|json_array_(get|foreach|size)|json_(string|integer|real|number|boolean)_(value|length)|json_is_[a-z]+|mpt_json_parse)[(]'
readers_of_json='src/base/json|src/store/(record|schema_1)|src/contract/[a-z_]+|src/train/checkpoint_load'

# Texts and tables behind the records of src/store.
private_to_store='store/(database|record)\.h'

# C's readers of numbers, which take blanks, hexadecimal, inf, and stop where they like: what people
# write is read by base/number.h. The files that may use them read what programs wrote.
refused_numbers='(^|[^a-z_])(strto(d|f|ld|l|ll|ul|ull|imax|umax)(_l)?|v?sscanf|fscanf|ato(i|l|ll|f))[(]'
numbers_of_programs='src/base/(number|text)|src/data/token_layout|src/store/(run_lock|schema_1)'

# What is written in one place, by what gives it away: that, as a pattern; the place; what to use.
written_once() {
  cat <<'END'
CLOCK_MONOTONIC;src/base/clock.c;intervals are measured by base/clock.h
0x0*100000001b3|1099511628211|16777619;src/base/hash.c;bytes are hashed by base/hash.h
(= MPT_FP8_E4M3 (\|\||&&) .*= MPT_FP8_E5M2);tests/.*;what is fp8 says mpt_format_is_fp8
END
}

# Headers of libraries that libmptune must not need: they are for the command, or under the GPL.
refused_in_library='^(gsl/|sqlite3\.h|zlib\.h|glpk\.h|mpi\.h)'

breaches() { # of the tree in the working directory, a line for each
  local file folder line header from may
  while IFS= read -r file; do
    file=${file#./} folder=$(dirname "${file#./}")
    case $folder in tests | tests/*) continue ;; esac
    if ! may=$(allowed "$folder"); then
      echo "$file: '$folder' is no folder of the house (tests/house.sh lists them)"
      continue
    fi
    while IFS=: read -r line header; do
      header=${header#*[<\"]} header=${header%[>\"]*}
      case $header in
      */*) from=${header%/*} ;;
      *) from= ;;
      esac
      case "$folder" in
      src/base | src/format | src/policy | src/runtime | kernels*)
        [[ $header =~ $refused_in_library ]] &&
          echo "$file:$line: libmptune does without <$header>"
        ;;
      esac
      case $from in
      base | format | policy | runtime | kernels | kernels/* | process | contract | profile | bench | \
        workload | data | train | store | tuner | tuner/* | report | cli | mptune) ;;
      *) continue ;; # the system's
      esac
      [ "src/$from" = "$folder" ] || [ "$from" = "$folder" ] && continue
      case " $may " in
      *" $from "* | *" $header "*) ;;
      *) echo "$file:$line: $folder may not include \"$header\" (it may: $folder${may:+ }$may)" ;;
      esac
    done < <(grep -noE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]+[>"]' "$file")
  done < <(find . -path ./build -prune -o -path ./runs -prune -o -path './.?*' -prune -o \
    -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h.in' \) -print | sort)

  grep -rnE --include='*.c' --include='*.h' "$refused_json" src tuner kernels 2>/dev/null |
    grep -vE "^(src/base/json\.[ch]):" |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: JSON is made by base\/json.h/'

  grep -rnE --include='*.c' --include='*.h' "$refused_keys" src tuner kernels 2>/dev/null |
    grep -vE "^($readers_of_json)\.[ch]:" |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: JSON is taken apart by the tables of src\/store/'

  grep -rnE --include='*.c' --include='*.h' "include +\"$private_to_store\"" src tuner kernels 2>/dev/null |
    grep -v "^src/store/" |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: this header is private to src\/store/'

  grep -rnE --include='*.c' --include='*.h' "$refused_numbers" src tuner 2>/dev/null |
    grep -vE "^($numbers_of_programs)\.c:" |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: numbers are read by base\/number.h/'

  written_once | while IFS=';' read -r pattern place instead; do
    grep -rniE --include='*.c' --include='*.h' --include='*.cu' --include='*.cuh' -- "$pattern" \
      src tuner kernels tests 2>/dev/null | grep -v "^$place:" |
      sed -E "s|^([^:]*:[0-9]+):.*|\1: $instead|"
  done

  [ ! -d tuner ] || find tuner -name '*.[ch]' | sort | xargs awk -f "$tests/includes.awk"

  # cmocka's takes NaN for any number.
  grep -rnE --include='*.c' --include='*.h' 'assert_float_(not_)?equal *\(' tests 2>/dev/null |
    sed -E 's/^([^:]*:[0-9]+):.*/\1: numbers are compared by assert_near (tests\/near.h)/'

  # A kernel has the same name on every backend.
  find . -path ./build -prune -o -path ./runs -prune -o -path './.?*' -prune -o -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cmake' \) -print |
    grep -v '^\./kernels/cuda/' | sed 's|.*/||' | sort | uniq -d |
    while IFS= read -r name; do
      echo "$name: several files have this name: $(find . -path ./build -prune -o -name "$name" -print | sort | tr '\n' ' ')"
    done
}

expect() { # text that must be among the breaches
  expected=$((expected + 1))
  grep -qF -- "$1" "$scratch/breaches" || {
    echo "not seen: $1"
    failed=1
  }
}

self_test() {
  failed=0 expected=0
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  mkdir -p "$scratch/tree" && cd "$scratch/tree" || exit 1
  mkdir -p tuner/evaluators src/{base,format,policy,runtime,mptune,bench,workload,train,cli,store}
  mkdir -p kernels/{cpu,cuda} tuner tests attic
  echo '#include "policy/inner.h"' >src/format/up.c
  echo '#include "mptune/policy.h"' >src/format/down.c
  echo '#include "runtime/plan.h"' >src/train/inside.c
  echo '  #  include <kernels/kernels.h>' >src/train/spaced.c
  echo '#include "profile/pass_kind.h"' >src/train/one_header.c
  echo '#include "profile/profile.h"' >src/train/whole_profile.c
  echo '#include "workload/workload.h"' >src/bench/sideways.c
  echo '#include "bench/measure.h"' >src/workload/measuring.c
  echo '#include "policy/inner.h"' >src/cli/inside_policy.c
  echo '#include "tuner/search.h"' >src/store/upward.c
  echo '#include "tuner/search.h"' >tuner/evaluators/asks.c
  echo '#include "tuner/evaluators/evaluator.h"' >tuner/asks_evaluators.c
  echo '#include <gsl/gsl_rng.h>' >src/base/licence.c
  echo '#include "base/text.h"' >src/mptune/public.h
  echo '#include "base/text.h"' >kernels/cpu/gemm.c
  echo '#include "base/text.h"' >kernels/cuda/gemm.c
  echo '#include "runtime/plan.h"' >tests/anything.c
  echo '  json_array_append_new(rows, row);' >src/cli/lost_row.c
  echo '  seed = strtoul(text, NULL, 0);' >src/cli/hexadecimal.c
  echo '  name = json_string_value(json_object_get(note, "name"));' >tuner/by_key.c
  echo '  json_array_foreach(rows, i, row) {' >src/store/store.c
  echo '  json_object_get(json, m->name);' >src/store/record.c
  echo '#include "store/database.h"' >src/cli/texts.c
  echo '  assert_float_equal(a, b, 0);' >tests/nan.c
  echo '  clock_gettime(CLOCK_MONOTONIC, &t);' >tests/clock_again.c
  echo 'hash *= 1099511628211u;' >kernels/cuda/hash.c
  echo 'return f == MPT_FP8_E4M3 || f == MPT_FP8_E5M2;' >src/format/again.c
  printf 'typedef struct used {\n  int member;\n} used;\n' >src/base/used.h
  printf '#include "base/used.h"\n#define UMBRELLA_H\nint function_of(used u);\n' >src/base/umbrella.h
  printf '#include "base/umbrella.h"\n#include "base/used.h"\n/* function_of */ used u;\n' >tuner/umbrella.c
  printf '#include "base/umbrella.h"\nint i = function_of(1);\n' >tuner/own_use.c
  printf 'extern "C" {\nenum kind { ONE, TWO_OF };\n}\nenum later { THREE };\n' >src/base/kinds.h
  printf '#include "base/kinds.h"\nint i = TWO_OF;\n' >tuner/constant.c
  printf '#include "base/kinds.h"\nint i = s.ONES;\n' >tuner/no_constant.c
  touch tuner/twice.c src/cli/twice.c attic/lost.c
  breaches >"$scratch/breaches"
  expect 'src/format/up.c:1: src/format may not include "policy/inner.h"'
  expect 'src/train/inside.c:1: src/train may not include "runtime/plan.h"'
  expect 'src/train/spaced.c:1: src/train may not include "kernels/kernels.h"'
  expect 'src/train/whole_profile.c:1: src/train may not include "profile/profile.h"'
  expect 'src/bench/sideways.c:1: src/bench may not include "workload/workload.h"'
  expect 'src/workload/measuring.c:1: src/workload may not include "bench/measure.h"'
  expect 'src/cli/inside_policy.c:1: src/cli may not include "policy/inner.h"'
  expect 'src/store/upward.c:1: src/store may not include "tuner/search.h"'
  expect 'tuner/evaluators/asks.c:1: tuner/evaluators may not include "tuner/search.h"'
  expect 'src/base/licence.c:1: libmptune does without <gsl/gsl_rng.h>'
  expect 'src/mptune/public.h:1: src/mptune may not include "base/text.h"'
  expect 'twice.c: several files have this name: ./src/cli/twice.c ./tuner/twice.c'
  expect 'src/cli/lost_row.c:1: JSON is made by base/json.h'
  expect 'src/cli/hexadecimal.c:1: numbers are read by base/number.h'
  expect 'tuner/by_key.c:1: JSON is taken apart by the tables of src/store'
  expect 'src/store/store.c:1: JSON is taken apart by the tables of src/store'
  expect 'src/cli/texts.c:1: this header is private to src/store'
  expect 'tests/nan.c:1: numbers are compared by assert_near (tests/near.h)'
  expect 'tests/clock_again.c:1: intervals are measured by base/clock.h'
  expect 'kernels/cuda/hash.c:1: bytes are hashed by base/hash.h'
  expect 'src/format/again.c:1: what is fp8 says mpt_format_is_fp8'
  expect 'tuner/umbrella.c:1: nothing of "base/umbrella.h" is used'
  expect 'tuner/no_constant.c:1: nothing of "base/kinds.h" is used'
  expect "attic/lost.c: 'attic' is no folder of the house"
  if [ "$(wc -l <"$scratch/breaches")" -ne "$expected" ]; then
    echo 'and what is no breach was reported:' && cat "$scratch/breaches" && failed=1
  fi
  exit $failed
}

[ "${1:-}" = --self-test ] && self_test
cd "${1:-$(dirname "$0")/..}" || exit 1
found=$(breaches)
[ -z "$found" ] && exit 0
printf '%s\n' "$found"
exit 1
