. "$(dirname "$0")/common.bash"
# A run that cannot be written, whoever asks: below a file, and in a file system that takes none.
small net.yaml
: >file
try tune -q net.yaml -o file
try tune -q net.yaml -o file/run
try tune -q net.yaml -o /proc/run
try train -q net.yaml --save /proc/net.ckpt
try train -q net.yaml --save-init file/x
# A read-only directory; root may write there all the same.
if [ "$(id -u)" != 0 ]; then
  mkdir readonly && chmod a-w readonly
  mptune tune -q net.yaml -o readonly 2>&1 >/dev/null | sed 's/^/read-only: /' >why
  grep -q "error: cannot write to the run directory 'readonly'" why || cat why
fi
# A full disk: files may grow to a few blocks. What is there stays; with room the search goes on.
(ulimit -f 24; try tune -q net.yaml -o full)
mptune tune -q net.yaml -o full >/dev/null 2>&1; echo "with room: exit $?"
(ulimit -f 1; try train -q net.yaml --save full.ckpt)
ls full.ckpt* 2>/dev/null
# Output that nobody can take.
mptune formats >/dev/full; echo "exit $?"
# A run in use.
mkdir held
exec 9>held/lock
flock 9
echo 4711 >held/lock
try tune -q net.yaml -o held
exec 9>&-
# Written by a newer mptune.
tool version full/run.sqlite 99
try tune -q net.yaml -o full
try frontier full
try report full
# Damaged.
mkdir damaged
head -c 5000 /dev/urandom >damaged/run.sqlite
try tune -q net.yaml -o damaged
try report damaged
mkdir empty
: >empty/run.sqlite
try frontier empty
