. "$(dirname "$0")/common.bash"
program() { echo "sh $SOURCE/tests/data/program.sh $1"; }
given=(--metric val_loss --budget 5% --steps 12 --target synthetic-bits)
# What is asked for, and what is missing.
try tune
try tune --command true
try tune --command true --metric m --budget 1%
try tune --command true --metric m --budget 0 --steps 5
try tune "$WORKLOADS/tiny-classifier.yaml" --metric m
try tune "$WORKLOADS/tiny-classifier.yaml" --command true --metric m --budget 1% --steps 5
try tune --command true "${given[@]}" --dry-run
try tune --command true "${given[@]}" --backend cuda
cat >net.yaml <<END
schema: mptune/workload@1
command: $(program good)
steps: 12
metric: val_loss
budget: {worse_by: 5%}
target: synthetic-bits
END
try train net.yaml
# A program that does not work.
try tune --command 'echo no module named torch; exit 1' "${given[@]}" -o none
try tune --command true "${given[@]}" -o none
# One that does, with the file and without.
mptune tune -q net.yaml -o run
echo "exit $?"
ls run/policy.yaml run/report.html
ls run/logs | grep -v '^\(train\|time\|observe\)-'
mptune policy show run/policy.yaml
# Again: nothing is run but the first run.
rm -r run/logs
mptune tune -q net.yaml -o run | tail -3
ls run/logs
mptune tune -q --command "$(program good)" "${given[@]}" -o run --json | tool json found
# A program that times its steps is timed.
mptune tune -q --command "$(program good)" --metric val_loss --budget 5% --steps 12 -o timed
# Another program is another search.
try tune -q --command "$(program only_a_metric)" "${given[@]}" -o run
