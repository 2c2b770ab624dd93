#!/bin/sh
# The scripts' handling of packages, with stand-ins for dpkg-query, apt-get, dpkg-deb, sudo and id:
# what is missing is named, and installed only when that is allowed.
set -eu
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/home"
calls="$work/calls"

stand_in() {
  printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
stand_in dpkg-query 'case "$4" in here-*) echo installed ;; gone-*) echo config-files ;; *) exit 1 ;; esac'
stand_in apt-get "echo apt-get \"\$@\" >>$calls
case \"\$*\" in *download*)
  while [ \"\$1\" != download ]; do shift; done; shift
  for p in \"\$@\"; do echo deb >\"\${p}_1_all.deb\"; done ;;
esac"
stand_in dpkg-deb "mkdir -p \"\$3/usr\" && echo data >\"\$3/usr/data.txt\""
stand_in sudo "echo sudo >>$calls; exec \"\$@\""
stand_in id 'case "$1" in -u) echo ${FAKE_UID:-1000} ;; *) echo somebody ;; esac'

# run ENVIRONMENT... -- CODE: leaves $output, $status and $calls.
run() {
  settings=
  while [ "$1" != -- ]; do
    settings="$settings $1"
    shift
  done
  : >"$calls"
  status=0
  # shellcheck disable=SC2086
  output=$(env -i PATH="$work/bin:/usr/bin:/bin" HOME="$work/home" env $settings \
    sh -euc ". '$source/src/packages.sh'; $2" </dev/null 2>&1) || status=$?
}

failed() {
  printf '%s: %s\nstatus %s, calls:\n' "$1" "$output" "$status"
  cat "$calls"
  exit 1
}

needs() { printf 'need_packages %s; need_data %s; get_needed' "$1" "${2:-}"; }

run -- "$(needs 'here-a here-b')"
[ $status = 0 ] && [ ! -s "$calls" ] && [ -z "$output" ] || failed "nothing is missing, nothing is done"

run -- "$(needs 'here-a new-b gone-c')"
[ $status = 1 ] && [ ! -s "$calls" ] || failed "without leave nothing is installed"
case "$output" in
*"sudo apt-get install --no-install-recommends new-b gone-c"*MPTUNE_INSTALL=1*) ;;
*) failed "the line to run is printed" ;;
esac

for leave in MPTUNE_INSTALL=1 CI=true; do
  run $leave -- "$(needs 'here-a new-b gone-c')"
  [ $status = 0 ] || failed "with $leave it is installed"
  grep -q 'apt-get -q update' "$calls" || failed "lists are updated first"
  grep -q 'apt-get -q install -y --no-install-recommends new-b gone-c' "$calls" ||
    failed "what is missing is installed"
  grep -q sudo "$calls" || failed "through sudo"
done

run FAKE_UID=0 -- "$(needs new-b)"
[ $status = 0 ] && grep -q 'install.* new-b' "$calls" || failed "as root it is installed"
! grep -q sudo "$calls" || failed "root needs no sudo"

cat >"$work/one.yaml" <<'END'
# package: not-this
data:
  kind: bytes
  package: some-data  # with a remark
END
echo 'data: {kind: csv, package: other-data, file: f}' >"$work/two.yaml"
files="$work/one.yaml $work/two.yaml $work/one.yaml"
packages="$work/home/.cache/mptune/packages"

run -- "$(needs new-b "$files")"
[ $status = 1 ] && [ ! -s "$calls" ] || failed "without leave no data is fetched"
[ "$(printf '%s\n' "$output" | grep -c 'this gets them')" = 1 ] || failed "everything is asked for at once"
case "$output" in *"install --no-install-recommends new-b"*"apt-get download some-data other-data "*"$packages"*) ;;
*) failed "what is asked for is named" ;; esac

run MPTUNE_INSTALL=1 -- "$(needs new-b "$files")"
[ $status = 0 ] || failed "packages and data are fetched"
[ "$(sed '/^sudo$/d; s/.*APT::Sandbox.* download/download/' "$calls")" = "$(printf '%s\n' 'apt-get -q update' \
  'apt-get -q install -y --no-install-recommends new-b' 'download some-data other-data')" ] ||
  failed "one call each"
for package in some-data other-data; do
  [ "$(cat "$packages/$package/usr/data.txt")" = data ] || failed "data of $package is in the cache"
done
[ "$(ls -A "$packages" | wc -l)" = 2 ] || failed "nothing else is left there"

run -- "$(needs here-a "$files")"
[ $status = 0 ] && [ ! -s "$calls" ] || failed "what is in the cache is not fetched again"

# Without HOME the cache is in the home that the system knows, or there is an error.
stand_in getent "[ -z \"\${NO_HOME:-}\" ] && echo somebody:x:1000:1000::$work/home:/bin/sh"
for home in HOME= -uHOME; do
  run $home -- "$(needs here-a "$files")"
  [ $status = 0 ] && [ ! -s "$calls" ] || failed "with $home the cache is found"
  run $home NO_HOME=1 MPTUNE_INSTALL=1 -- "$(needs here-a "$files")"
  case "$status $output" in "1 "*"no home"*"set MPTUNE_CACHE"*) ;; *) failed "with $home and no home" ;; esac
done

stand_in apt-get 'exit 100'
run MPTUNE_INSTALL=1 MPTUNE_CACHE="$work/other" -- "$(needs here-a "$work/two.yaml")"
[ $status = 1 ] && [ -z "$(ls -A "$work/other/packages")" ] || failed "a failed fetch leaves nothing"
run MPTUNE_INSTALL=1 -- "$(needs new-b)"
[ $status = 1 ] || failed "a failed installation is an error"

# What the tests themselves call is declared: make by CMake's usual generator, and the sandbox that
# Chromium does not run without, but for root.
for package in make chromium-sandbox; do
  run -- 'echo " $TEST_PACKAGES $BROWSER_PACKAGES "'
  case "$output" in *" $package "*) ;; *) failed "$package is not declared" ;; esac
done
