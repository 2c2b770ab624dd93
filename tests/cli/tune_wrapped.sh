. "$(dirname "$0")/common.bash"
# A program that wraps the built-in trainer comes to what the built-in evaluator comes to.
cat >net.yaml <<'END'
schema: mptune/workload@1
data: {kind: synthetic, samples: 800, held_out: 400, features: 16, classes: 4, hidden: 4}
loss: cross_entropy
batch: 64
steps: 60
target: synthetic-bits
model: {preset: mlp, widths: [64, 64], outputs: 16}
optimizer: {kind: adam, learning_rate: 2.0e-03}
budget: {worse_by: 10%}
END
mptune tune -q net.yaml -o built_in --backend cpu >built_in.txt 2>said.txt || cat built_in.txt said.txt
mptune tune -q --command "sh $SOURCE/tests/data/wrapper.sh net.yaml 64 64" --metric loss --budget 10% \
  --steps 60 --target synthetic-bits -o wrapped >wrapped.txt 2>said.txt || cat wrapped.txt said.txt
winner() { grep '^\*' "$1" | tr -s ' ' | cut -d ' ' -f 2,6-8; }
cmp <(winner built_in.txt) <(winner wrapped.txt) && echo "the same winner: $(winner wrapped.txt)"
cmp <(mptune policy resolve built_in/policy.yaml) <(mptune policy resolve wrapped/policy.yaml) &&
  echo "the same formats"
