. "$(dirname "$0")/common.bash"
w=$WORKLOADS/tiny-classifier.yaml
# A dry run writes nothing.
try tune "$w" -o run --dry-run
ls
try tune -q "$w" -o run
ls run/policy.yaml run/report.html run/run.sqlite
# Again: nothing is trained, the same answer.
evaluations() { mptune report run --json | tool json evaluations | grep -o '"seed"' | wc -l; }
before=$(evaluations)
cp run/policy.yaml first.yaml
[ "$before" -gt 5 ] || echo "only $before evaluations"
mptune tune "$w" -o run -v 2>again.log >again.out
echo "exit $?"
[ "$(evaluations)" -eq "$before" ] && echo "nothing trained"
cmp <(grep -v time: first.yaml) <(grep -v time: run/policy.yaml) && echo "the same policy"
# Quiet: the result alone.
mptune tune -q "$w" -o run 2>&1 >/dev/null
# JSON, one object, of every command that has it.
mptune tune "$w" -o run --json | tool json found
mptune eval -q "$w" -o evaluated --policy run/policy.yaml --policy all-fp8 --json | tool json policies 2 label
mptune frontier run --json | tool json frontier 0 label
mptune observe -q "$w" -o evaluated --json | tool json statistics 0 layer
mptune report run --json | tool json
mptune train -q "$w" --steps 3 --json | tool json steps
mptune policy show run/policy.yaml --json | tool json default text
mptune policy check run/policy.yaml "$w" --json | tool json
mptune policy diff run/policy.yaml first.yaml "$w" --json | tool json
mptune policy resolve run/policy.yaml "$w" --json | tool json
mptune doctor --json | tool json backends 0 name
mptune formats 1 --json | tool json formats 0 format
# A new budget is answered from what is there.
sed 's/2%/50%/' "$w" >wide.yaml
mptune tune -q wide.yaml -o run 2>&1 | tail -4
[ "$(evaluations)" -eq "$before" ] && echo "nothing trained"
# Another training is another run.
sed 's/1.0e-03/2.0e-03/' "$w" >other.yaml
try tune other.yaml -o run
mptune tune other.yaml -o run --fresh 2>/dev/null | tail -2
# Nothing that is faster is permitted: the reference stays.
sed '$aexclude: [tf32, bf16, fp16]' "$w" >excluded.yaml
try tune -q excluded.yaml -o run
try tune -q "$w" -o run --target synthetic-bits
# A reference of one seed and few steps, all of them instrumented.
sed 's/^steps: .*/steps: 4/' "$w" >short.yaml
mptune eval -q short.yaml --seeds 1 -o short -p all-bf16 | grep -o "all-[a-z0-9]*"
