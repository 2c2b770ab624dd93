# shellcheck shell=sh disable=SC2034
# What the scripts at the top share: packages that are missing, and data taken out of packages.
# Sourced; sets no option. Everything goes to standard error: standard output is the command's.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config libyaml-dev libjansson-dev libopenblas-dev
  libgsl-dev libsqlite3-dev zlib1g-dev libjs-chart.js"
TEST_PACKAGES="libcmocka-dev libglpk-dev mandoc"
LINT_PACKAGES="clang clang-tidy clang-format cppcheck"
CLANG_PACKAGES="clang libclang-rt-dev"

say() { printf 'mptune: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# Whether to go on with a command that was printed: asks on a terminal; without one only if told to.
allowed() {
  [ "${MPTUNE_INSTALL:-}" = 1 ] || [ "${CI:-}" = true ] && return 0
  if [ -t 0 ] && [ -t 2 ]; then
    printf 'go on? [Y/n] ' >&2
    read -r answer
    case "$answer" in n* | N*) return 1 ;; *) return 0 ;; esac
  fi
  [ "$(id -u)" = 0 ]
}

# Installs those of the packages that are not there. Nothing on systems without dpkg.
install_packages() {
  command -v dpkg-query >/dev/null || return 0
  missing=
  for package in "$@"; do
    case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  sudo=
  [ "$(id -u)" = 0 ] || sudo="sudo "
  say "missing packages; install them with"
  printf '  %sapt-get install --no-install-recommends%s\n' "$sudo" "$missing" >&2
  allowed || die "not installed; run that line, or set MPTUNE_INSTALL=1"
  apt="${sudo}env DEBIAN_FRONTEND=noninteractive apt-get -q"
  # shellcheck disable=SC2086
  { $apt update && $apt install -y --no-install-recommends $missing; } >&2 || die "apt-get failed"
}

# Unpacks a package into the cache, when it is neither installed nor there: its data is used, while
# installing it could pull in others.
fetch_package() {
  package=$1
  cache="${MPTUNE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mptune}/packages"
  [ -e "/var/lib/dpkg/info/$package.list" ] || [ -d "$cache/$package" ] && return 0
  command -v apt-get >/dev/null || return 0 # the command says which files it misses
  say "data of package $package is not here; fetch it into $cache with"
  printf '  apt-get download %s\n' "$package" >&2
  allowed || die "not fetched; run 'apt-get install $package', or set MPTUNE_INSTALL=1"
  mkdir -p "$cache" || die "cannot make $cache"
  new=$(mktemp -d "$cache/.new-XXXXXX") || die "cannot write to $cache"
  if (cd "$new" && mkdir tree && { download "$package" || { update_lists && download "$package"; }; } &&
    dpkg-deb -x ./*.deb tree) >&2 && mv -T "$new/tree" "$cache/$package"; then
    rm -rf "$new"
  else
    rm -rf "$new"
    die "cannot fetch $package"
  fi
}

download() { apt-get -q -o APT::Sandbox::User="$(id -un)" download "$1"; }
update_lists() { if [ "$(id -u)" = 0 ]; then apt-get -q update; else sudo apt-get -q update; fi; }

# Fetches what the `package:` keys of workload files name.
fetch_data() {
  for file in "$@"; do
    for package in $(sed -n 's/^[^#]*package: *"\{0,1\}\([a-z0-9][a-z0-9.+-]*\).*/\1/p' "$file"); do
      fetch_package "$package"
    done
  done
}

# Configures (options behind the preset's name) and builds; what it prints is shown if it fails.
build() {
  preset=$1 target=$2
  shift 2
  log="build/$preset.log"
  mkdir -p build
  about="a minute or two"
  if command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
    about="some minutes with CUDA"
  fi
  [ -e "build/$preset/build.ninja" ] || say "building build/$preset ($about, once)"
  {
    { [ -e "build/$preset/build.ninja" ] || cmake --preset "$preset" "$@"; } &&
      cmake --build --preset "$preset" --target "$target"
  } >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    die "the build failed; all of it is in $log"
  }
}
