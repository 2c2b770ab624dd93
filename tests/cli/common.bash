# For the tests of the command line: each command shown with its output, both streams, and exit code.
try() {
  echo "\$ mptune $*"
  mptune "$@" 2>&1
  echo "exit $?"
}

# A small network on made-up data, trained in a few milliseconds. Arguments: sed scripts over it.
small() { # FILE [SED...]
  local file=$1 script=()
  shift
  for s in "$@"; do script+=(-e "$s"); done
  cat >base.yaml <<'END'
schema: mptune/workload@1
model:
  layers:
    - {name: fc1, kind: linear, features: 16}
    - {name: act, kind: relu}
    - {name: fc2, kind: linear, features: 3}
data: {kind: synthetic, samples: 200, features: 8, classes: 3, held_out: 50}
loss: cross_entropy
optimizer: {kind: adam, learning_rate: 0.01}
batch: 10
steps: 40
budget: {worse_by: 2%}
target: nvidia-h200
END
  if [ ${#script[@]} -gt 0 ]; then sed "${script[@]}" base.yaml >"$file"; else cp base.yaml "$file"; fi
  rm base.yaml
}
