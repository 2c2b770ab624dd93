. "$(dirname "$0")/common.bash"
small long.yaml 's/steps: 40/steps: 30000/'
# Sends SIGINT once the search trains. The shell makes background commands ignore it: env undoes that.
begin() {
  rm -f log
  env --default-signal=INT mptune tune long.yaml -o run >out 2>log &
  pid=$!
  for _ in $(seq 1000); do
    grep -q "^$stage" log 2>/dev/null && return
    sleep 0.02
  done
  echo "no stage '$stage'"
}
stage=reference
begin
kill -INT $pid
wait $pid
echo "exit $?"
tail -n 1 log
cat out
# Later, with something learned; then twice: at once.
stage=uniform
begin
kill -INT $pid
wait $pid
echo "exit $?"
tail -n 1 log
[ "$(mptune report run --json 2>&1 | tool json evaluations | grep -o '"seed"' | wc -l)" -ge 3 ] || echo "lost"
begin
kill -INT $pid
kill -INT $pid
wait $pid
echo "exit $?"
# A training saves its checkpoint, and continues from it.
env --default-signal=INT mptune train long.yaml --save net.ckpt >out 2>log &
pid=$!
until grep -q "^training" log 2>/dev/null; do sleep 0.01; done
kill -INT $pid
wait $pid
echo "exit $?"
tail -n 1 log
mptune train -q long.yaml --save net.ckpt --resume --json | tool json steps
mptune train -q long.yaml --save whole.ckpt --json | tool json steps
cmp <(head -c -8 net.ckpt) <(head -c -8 whole.ckpt) && echo "as if undisturbed"
