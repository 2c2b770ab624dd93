. "$(dirname "$0")/common.bash"
small long.yaml 's/steps: 40/steps: 300000/'
# INT, TERM and HUP: a checkpoint, and exit 130. The shell makes background commands ignore INT.
begin() { # ENV-OPTION ARGUMENT...
  rm -f net.ckpt log
  local option=$1
  shift
  env "$option" mptune train long.yaml "$@" >out 2>log &
  pid=$!
  until grep -q "^training" log 2>/dev/null; do sleep 0.01; done
}
for s in INT TERM HUP; do
  begin --default-signal=HUP --save net.ckpt
  kill -$s $pid
  wait $pid
  echo "$s: exit $?"
  tail -n 1 log
  ls net.ckpt
done
begin --default-signal --resume --save net.ckpt
kill -HUP $pid
wait $pid
tail -n 1 log
begin --default-signal
kill -TERM $pid
wait $pid
echo "without --save: exit $?"
tail -n 1 log
# Under nohup HUP is ignored, the others are not.
begin --ignore-signal=HUP --save net.ckpt
kill -HUP $pid
sleep 0.1
kill -0 $pid && ls net.ckpt 2>/dev/null
kill -TERM $pid
wait $pid
echo "after HUP and TERM: exit $?"
# Nobody reads: quietly, with a checkpoint.
rm -f net.ckpt
mptune train long.yaml --save net.ckpt -v 2>log | head -n 1 | wc -l
echo "exit ${PIPESTATUS[0]}"
grep -c -v ^training log
ls net.ckpt
(sleep 0.2 && mptune formats --json; echo "exit $?" >&2) 2>log | true
cat log
# Nobody reads standard error: a search and a training go on.
small net.yaml
{ sleep 0.2 && mptune train net.yaml --save net.ckpt -v; } 2> >(exit) | wc -l
{ sleep 0.2 && mptune tune net.yaml -o run -v; echo "exit $?" >done; } 2> >(exit) | grep -c policy.yaml
cat done
