#!/bin/bash
# report.sh PAGES-PROGRAM SCRATCH [COMMAND...]: every page of report_pages in headless Chromium.
# Exits 77, skipped, where there is no Chromium.
#
# The browser's net log says what it asked for; its console what went wrong; the page itself how
# many charts it drew. Pixels of a screenshot are not looked at here: people do that.
set -u
export LC_ALL=C
pages=$1 scratch=$2
browser=
for name in chromium chromium-browser google-chrome; do
  command -v $name >/dev/null && browser=$name && break
done
[ -n "$browser" ] || {
  echo "skipped: no Chromium here (package chromium)"
  exit 77
}
rm -rf "$scratch" && mkdir -p "$scratch" || exit 1
"$pages" "$scratch/runs" || exit 1
failed=0
problem() { echo "$*" && failed=1; }

sandbox=
[ "$(id -u)" = 0 ] && sandbox=--no-sandbox
visit() { # NAME OPTION...: the page's document as it stands after its scripts
  local name=$1
  shift
  timeout 60 $browser --headless $sandbox --disable-gpu --disable-background-networking \
    --disable-component-update --disable-sync --no-first-run --enable-logging=stderr \
    --user-data-dir="$scratch/profile" --host-resolver-rules='MAP * ~NOTFOUND' \
    --log-net-log="$scratch/$name.net" --net-log-capture-mode=Everything --virtual-time-budget=2000 \
    "$@" "file://$scratch/runs/$name/report.html" >"$scratch/$name.dom" 2>"$scratch/$name.log"
}

check() { # NAME CHARTS
  local name=$1 charts=$2 html=$scratch/runs/$1/report.html
  visit "$name" --dump-dom || problem "$name: the browser failed: $(tail -1 "$scratch/$name.log")"
  grep -q "data-charts-drawn=\"$charts\"" "$scratch/$name.dom" || problem "$name: not $charts charts drawn"
  # Lines of the console, but for the browser's own.
  grep 'CONSOLE' "$scratch/$name.log" && problem "$name: the console is not silent"
  grep -oE '"url":"(https?|wss?|ftp)://[^"]*' "$scratch/$name.net" | sort -u |
    grep -vE '//([a-z0-9-]+\.)*(google|googleapis|gstatic|gvt1|chromium|android)\.' >"$scratch/$name.asked"
  [ -s "$scratch/$name.asked" ] && problem "$name: it asked for $(tr '\n' ' ' <"$scratch/$name.asked")"
  sed 's/<script>.*//' "$html" | grep -qE '(src|href|action|url)[[:space:]]*[=(][[:space:]]*["'"'"']?(https?:)?//' &&
    problem "$name: it refers to the network"
  grep -q '<title>taken' "$scratch/$name.dom" && problem "$name: a script got in"
  return 0
}

check nothing 0
check definition 0
check bare 0
check reference 2
check full 2
check no-gain 2
check not-met 2
check hostile 2

# A page that does err and ask is found out.
mkdir -p "$scratch/runs/bad"
echo '<html data-charts-drawn="0"><script src="http://198.51.100.1/x.js"></script><script>nothing()</script>' \
  >"$scratch/runs/bad/report.html"
if (check bad 0 && exit $failed) >/dev/null; then problem "the checks see nothing"; fi
grep -q 198.51.100.1 "$scratch/bad.asked" || problem "requests are not seen"
grep -q 'CONSOLE.*nothing is not defined' "$scratch/bad.log" || problem "the console is not seen"
exit $failed
