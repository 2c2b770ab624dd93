. "$(dirname "$0")/common.bash"
small net.yaml 's/steps: 40/steps: 8000/' 's/2%/95%/'
# A plain file as standard error: a line for each stage, no escape.
sed 's/steps: 8000/steps: 400/' net.yaml >short.yaml
mptune tune short.yaml -o plain >/dev/null 2>plain.log || echo "exit $?"
grep -q "^reference: 0 done, at most [0-9]* left; now all-fp32, seed 1, " plain.log || cat plain.log
grep -q "^uniform policies: " plain.log || cat plain.log
grep -q "^verification: .*best so far all-[a-z0-9]* at [0-9.]*%; now " plain.log || cat plain.log
[ "$(wc -l <plain.log)" -lt 12 ] || cat plain.log
! grep -c $'\033' plain.log
# A terminal, 100 columns wide: one line that is drawn again and taken away at the end.
terminal() { # COMMAND
  script -qec "stty cols 100; $1" /dev/null </dev/null
}
terminal "mptune tune net.yaml -o live >/dev/null" | tr '\r' '\n' >live.log
[ "$(grep -c 'done, at most' live.log)" -ge 2 ] || cat live.log
grep 'done, at most' live.log | grep -qv $'^\033\\[K' && echo "a line not drawn over"
[ "$(awk '{ if (length($0) > w) w = length($0) } END { print w }' live.log)" -le 103 ] || echo "too wide"
grep -q '([0-9]* s)' live.log || echo "no time left"
tail -n 1 live.log | cat -v
echo
# Quiet says nothing there.
terminal "mptune tune -q net.yaml -o live >/dev/null"
# Colour: on a terminal, unless NO_COLOR or --color say otherwise.
bad="mptune train missing.yaml"
unset NO_COLOR
terminal "$bad" | cat -v
terminal "NO_COLOR=1 $bad" | cat -v
terminal "$bad --color never" | cat -v
$bad 2>&1 | cat -v
$bad --color always 2>&1 | cat -v
NO_COLOR=1 $bad --color always 2>&1 | cat -v
