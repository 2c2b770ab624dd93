. "$(dirname "$0")/common.bash"
# Every command's object has the members that docs/json.md gives it, and no others.
small net.yaml
sed 's/^loss: .*/&\nmetric: accuracy/; s/worse_by: 2%/worse_by: 0.1/' net.yaml >accuracy.yaml
sed 's/kind: adam, learning_rate: 0.01/kind: sgd, learning_rate: 1e6/' net.yaml >diverges.yaml
cat >mine.yaml <<'POLICY'
schema: mptune/policy@1
default: bf16
loss_scale: {mode: static, initial: 1024}
rules:
  - {layers: [fc1], fprop: fp8, scaling: {mode: delayed, history: 16, margin: 1}}
POLICY
sed '/rules/,$d; s/bf16/fp16/' mine.yaml >scaled.yaml
same() { # COMMAND...
  mptune "$@" --json 2>/dev/null >object.json
  tool documented "$SOURCE/docs/json.md" <object.json
  cut -d' ' -f1-2 <<<"$*" >>tried
}
same tune net.yaml --dry-run
same tune net.yaml -o run -q
same tune accuracy.yaml -o accuracy -q
same eval net.yaml -o run -q -p mine.yaml -p scaled.yaml
mptune eval diverges.yaml -o diverges -q -p all-bf16 2>/dev/null || echo "exit $?"
same observe net.yaml -o observed -q
same train net.yaml -q
same train diverges.yaml -q
same policy show run/policy.yaml
same policy show mine.yaml
same policy check run/policy.yaml
same policy diff run/policy.yaml mine.yaml
same policy resolve mine.yaml net.yaml
same policy export mine.yaml net.yaml --to keras --approximate
same frontier run
same frontier accuracy
same report run
same report accuracy
same report diverges
same report observed
same doctor
same formats
same formats 0.1
# No command, and no schema of the document, was left out: bench needs a GPU, test_profile.c
# has it.
mptune --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\( [a-z]*\)\?\) .*/\1/p' |
  while read -r command; do grep -q "^$command\b" tried || echo "not tried: $command"; done
# Formats by GEMM; a layer without one says its format alone.
mptune policy resolve mine.yaml net.yaml --json | tool json layers fc1
mptune policy resolve mine.yaml net.yaml --json | tool json layers act
mptune report run --json | tool json policies 0 assignment layers act
mptune report run --json | tool json policies | grep -o '"loss_scale": {[^}]*}' | sort -u
mptune policy show run/policy.yaml --json | tool json result verdict
mptune report accuracy --json | tool json policies 0 accuracy interval relative
