#!/bin/sh
# usage: installed.sh BUILD SOURCE DATA
# Installs the command, moves the prefix, hides the source tree and the folder DATA that the build was
# configured for, and tunes a workload by its name.
set -eu
build=$1 source=$2 data=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cmake --install "$build" --component command --prefix "$work/first" >install.log
mkdir away
mv first away/moved
command="$work/away/moved/bin/mptune"

failed() {
  printf '%s:\n%s\n' "$1" "$output"
  exit 1
}

# Nothing is hidden from a program better than what it can't name: both paths in the binary become
# others of the same length, where there is nothing.
LC_ALL=C grep -q -F "$source/profiles" "$command" || { echo "the program does not name $source"; exit 1; }
hide() { printf '/%s' "$(printf %s "$1" | tail -c +2 | sed 's/./_/g')"; }
LC_ALL=C sed -i "s|$source/|$(hide "$source")/|g; s|$data/mptune|$(hide "$data")/mptune|g" "$command"
! LC_ALL=C grep -q -F "$source/profiles" "$command" || { echo "the source tree is not hidden"; exit 1; }

run() {
  status=0
  output=$(env -u MPTUNE_PROFILES CUDA_VISIBLE_DEVICES= HOME="$work" "$@" 2>&1) || status=$?
}
run "$command" tune -q planted -o runs/planted
[ $status = 0 ] && [ -s runs/planted/policy.yaml ] || failed "it does not tune"

# Through a link, too, and its devices by name.
ln -s "$command" link
run ./link tune -n planted --target nvidia-h200
[ $status = 0 ] || failed "it finds no device through a link"

# What is searched is said, in its order, and found in that order.
share="$work/away/moved/share/mptune"
run env MPTUNE_PROFILES="$work/one::$work/two" "$command" tune -n planted --target none
wanted="searched: $work/one, $work/two, $share/devices, $(hide "$source")/profiles/devices, $(hide "$data")/mptune/devices"
case "$status $output" in
"2 error: no device profile 'none' (known: nvidia-h200, synthetic-bits)"*"$wanted"*) ;;
*) failed "not the folders searched: $wanted" ;;
esac
mkdir two
sed 's/^formats: .*/formats: [fp33]/' "$share/devices/synthetic-bits.yaml" >two/synthetic-bits.yaml
run env MPTUNE_PROFILES="$work/one::$work/two" "$command" tune -n planted
case "$status $output" in
"2 error: $work/two/synthetic-bits.yaml:"*) ;;
*) failed "the folders of MPTUNE_PROFILES do not come first" ;;
esac
run "$command" tune -n none
case "$status $output" in
"2 error: no workload 'none' (known: breast-cancer, "*"searched: $share/workloads, "*) ;;
*) failed "the workloads and where they are searched for are not named" ;;
esac
[ -s "$share/contract.schema.json" ] || failed "the schema of events is not installed"
rm -r "$share"
run "$command" tune -n planted
case "$status $output" in
"2 error: no workload 'planted' (known: none)"*) ;;
*) failed "it finds what was taken away" ;;
esac
