. "$(dirname "$0")/common.bash"
cat >policy.yaml <<'END'
schema: mptune/policy@1
name: "an example: 'mixed'"
default: bf16
rules:
  - layers: ["blocks.*.mlp.fc1"]
    format: fp8
  - layers: ["blocks.0.attn.qkv"]
    fprop: fp8
    dgrad: {grad_output: fp8_e5m2, weight: fp8_e4m3, accumulate: split}
    wgrad: bf16
  - layers: ["blocks.0.attn.proj"]
    format: fp8
    scaling: {mode: delayed, history: 16, margin: 0}
  - layers: ["conv"]
    format: fp8
  - layers: ["head"]
    format: fp16
layers:
  - {name: embed, kind: embedding, shape: [256, 64], rows: 512}
  - {name: "blocks.0.attn.qkv", kind: linear, shape: [192, 64], rows: 512}
  - {name: "blocks.0.attn.proj", kind: linear, shape: [64, 64], rows: 512}
  - {name: "blocks.0.mlp.fc1", kind: linear, shape: [256, 64], rows: 512}
  - {name: "blocks.10.mlp.fc1", kind: linear, shape: [256, 64], rows: 512}
  - {name: conv, kind: conv2d, shape: [16, 3, 3, 3], rows: 512}
  - {name: head, kind: linear, shape: [256, 64], rows: 512}
END
for target in torchao megatron transformer-engine qwix keras; do
  try policy export policy.yaml --to $target
  try policy export policy.yaml --to $target --approximate
done
# What a target can say whole is written without a word.
cat >plain.yaml <<'END'
schema: mptune/policy@1
name: plain
default: bf16
rules:
  - layers: ["blocks.*.mlp.fc1"]
    format: fp8
layers:
  - {name: embed, kind: embedding, shape: [256, 64], rows: 512}
  - {name: "blocks.0.mlp.fc1", kind: linear, shape: [256, 64], rows: 512}
  - {name: "blocks.10.mlp.fc1", kind: linear, shape: [256, 64], rows: 512}
  - {name: head, kind: linear, shape: [256, 64], rows: 512}
END
for target in torchao megatron transformer-engine qwix; do
  try policy export plain.yaml --to $target -o out.$target
  [ -s out.$target ] || echo "$target wrote nothing"
  case $target in torchao | qwix) ! command -v python3 >/dev/null || python3 -m py_compile out.$target ;; esac
done
# Names.
try policy export plain.yaml --to megatron --rename 's/^blocks[.]([0-9]+)[.]mlp[.]fc/decoder.layers.\1.mlp.linear_fc/'
printf '# a comment\n\ns|^blocks[.]|h.|\n' >names
try policy export plain.yaml --to qwix --rename-file names --rename 's/embed/wte/'
try policy export plain.yaml --to torchao --rename 's/.*/all/'
# Mistakes.
try policy export policy.yaml
try policy export policy.yaml --to jax
try policy export nosuch.yaml --to keras
try policy export plain.yaml --to qwix --rename 'blocks/h'
try policy export plain.yaml --to qwix --rename 's/[/x/'
try policy export plain.yaml --to qwix --rename 's/a/b'
try policy export plain.yaml --to qwix --rename 's/.*//'
try policy export plain.yaml --to qwix --rename-file nosuch
try policy export plain.yaml --to qwix -o nosuch/out
