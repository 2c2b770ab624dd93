. "$(dirname "$0")/common.bash"
small net.yaml
mptune tune -q net.yaml -o run >/dev/null 2>&1 || exit
p=run/policy.yaml
try policy show $p
try policy check $p net.yaml
cat >mine.yaml <<'END'
schema: mptune/policy@1
default: bf16
rules:
  - {layers: [fc1], format: fp8}
END
try policy show mine.yaml
try policy check mine.yaml
try policy check mine.yaml net.yaml
try policy resolve mine.yaml
try policy resolve mine.yaml net.yaml
try policy resolve mine.yaml net.yaml --json
try policy diff mine.yaml mine.yaml net.yaml
sed 's/fp8/fp16/' mine.yaml >other.yaml
try policy diff mine.yaml other.yaml
try policy diff mine.yaml other.yaml net.yaml
# How the loss is scaled is part of a policy, where it says so.
{ cat mine.yaml; echo 'loss_scale: {mode: static, initial: 1024}'; } >scaled.yaml
{ cat mine.yaml; echo 'loss_scale: {mode: none}'; } >unscaled.yaml
try policy show scaled.yaml
try policy show unscaled.yaml
mptune policy show mine.yaml --json | tool json loss_scale
mptune policy show scaled.yaml --json | tool json loss_scale
try policy diff scaled.yaml unscaled.yaml net.yaml
try policy diff mine.yaml scaled.yaml net.yaml
mptune policy diff mine.yaml scaled.yaml net.yaml --json | tool json loss_scale to
mptune policy diff mine.yaml mine.yaml net.yaml --json | tool json loss_scale
