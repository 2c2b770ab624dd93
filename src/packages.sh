# shellcheck shell=sh disable=SC2034
# What the scripts at the top need of the system: packages that are installed, and packages whose
# data is taken out of them. They are gathered first, and asked for once. Sourced; sets no option.
# Everything goes to standard error: standard output is the command's.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config libyaml-dev libjansson-dev libopenblas-dev
  libgsl-dev libsqlite3-dev zlib1g-dev libjs-chart.js"
TEST_PACKAGES="make libcmocka-dev libglpk-dev mandoc"
BROWSER_PACKAGES="chromium chromium-sandbox"
LINT_PACKAGES="clang clang-tidy clang-format cppcheck"
CLANG_PACKAGES="clang libclang-rt-dev"

say() { printf 'mptune: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

missing_packages='' missing_data=''

# Packages that must be installed. Nothing is missing on systems without dpkg.
need_packages() {
  command -v dpkg-query >/dev/null || return 0
  for package in "$@"; do
    case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" in
    installed) ;;
    *) missing_packages="$missing_packages $package" ;;
    esac
  done
}

# Where mpt_cache_path of src/base/file.c looks: nothing where there is no home.
cache_folder() {
  home_folder=${HOME:-$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6)}
  if [ -n "${MPTUNE_CACHE:-}" ]; then
    printf '%s' "$MPTUNE_CACHE"
  elif [ -n "${XDG_CACHE_HOME:-}" ]; then
    printf '%s/mptune' "$XDG_CACHE_HOME"
  elif [ -n "$home_folder" ]; then
    printf '%s/.cache/mptune' "$home_folder"
  fi
}

# What the `package:` keys of workload files name, and is neither installed nor in the cache. Such a
# package is unpacked there: installing it could pull in others. Where there is no apt-get the
# command says which files it misses.
need_data() {
  command -v apt-get >/dev/null || return 0
  cache=$(cache_folder)
  for file in "$@"; do
    for package in $(sed -n 's/^[^#]*package: *"\{0,1\}\([a-z0-9][a-z0-9.+-]*\).*/\1/p' "$file"); do
      [ -e "/var/lib/dpkg/info/$package.list" ] && continue
      [ -n "$cache" ] || die "there is no home for data of package $package; set MPTUNE_CACHE to a folder"
      [ -d "$cache/packages/$package" ] && continue
      case "$missing_data " in *" $package "*) ;; *) missing_data="$missing_data $package" ;; esac
    done
  done
}

# Whether to go on with the commands that were printed: asks on a terminal; without one only if told
# to.
allowed() {
  [ "${MPTUNE_INSTALL:-}" = 1 ] || [ "${CI:-}" = true ] && return 0
  if [ -t 0 ] && [ -t 2 ]; then
    printf 'go on? [Y/n] ' >&2
    read -r answer
    case "$answer" in n* | N*) return 1 ;; *) return 0 ;; esac
  fi
  [ "$(id -u)" = 0 ]
}

# Gets all that was needed and is missing, after one question.
get_needed() {
  [ -n "$missing_packages$missing_data" ] || return 0
  sudo=
  [ "$(id -u)" = 0 ] || sudo="sudo "
  say "packages are missing; this gets them:"
  [ -z "$missing_packages" ] ||
    printf '  %sapt-get install --no-install-recommends%s\n' "$sudo" "$missing_packages" >&2
  [ -z "$missing_data" ] ||
    printf '  apt-get download%s   # data, to be unpacked into %s\n' "$missing_data" "$cache/packages" >&2
  allowed || die "not done; run it, or set MPTUNE_INSTALL=1 (apt-get install serves for data, too)"
  apt="${sudo}env DEBIAN_FRONTEND=noninteractive apt-get -q"
  updated=
  if [ -n "$missing_packages" ]; then
    # shellcheck disable=SC2086
    { $apt update && $apt install -y --no-install-recommends $missing_packages; } >&2 || die "apt-get failed"
    updated=1
  fi
  # shellcheck disable=SC2086
  [ -z "$missing_data" ] || fetch_data $missing_data
  missing_packages='' missing_data=''
}

# Unpacks packages into the cache. A folder is there whole, or not at all.
fetch_data() {
  mkdir -p "$cache/packages" || die "cannot make $cache/packages"
  new=$(mktemp -d "$cache/packages/.new-XXXXXX") || die "cannot write to $cache/packages"
  if (cd "$new" && { download "$@" || { [ -z "$updated" ] && $apt update && download "$@"; }; } &&
    for package in "$@"; do
      mkdir tree && dpkg-deb -x ./"$package"_*.deb tree && mv -T tree "$cache/packages/$package" || exit 1
    done) >&2; then
    rm -rf "$new"
  else
    rm -rf "$new"
    die "cannot fetch$missing_data"
  fi
}

download() { apt-get -q -o APT::Sandbox::User="$(id -un)" download "$@"; }
