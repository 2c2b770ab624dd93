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
