#!/bin/sh
# An evaluator of which nothing is known but a metric: it runs a training program as it is, here
# `mptune train` with the network of tiny-classifier, and says what came out. $MPTUNE names the
# program.
set -eu

say() { # a line of JSON, by one write
  printf '%s\n' "$1" >>"$MPTUNE_EVENTS"
}

# {"name": "fc1", "format": "bf16"}, ... of the lines "fc1 bf16" that policy resolve prints
as_json() {
  awk '{ printf "%s{\"name\": \"%s\", \"format\": \"%s\"}", comma, $1, $2; comma = ", " }'
}

mptune=${MPTUNE:-mptune} network=${NETWORK:-tiny-classifier}
say '{"event": "hello", "protocol": 1, "program": "metric_only.sh"}'
say '{"event": "layers", "layers": [{"name": "fc1", "kind": "linear", "shape": [10, 10], "rows": 5}, '\
'{"name": "fc2", "kind": "linear", "shape": [2, 10], "rows": 5}, {"name": "softmax", "kind": "softmax", "shape": [2]}]}'
say "{\"event\": \"applied\", \"layers\": [$("$mptune" policy resolve "$MPTUNE_POLICY" "$network" | as_json)]}"
[ "$MPTUNE_UNTIL" -gt 0 ] || exit 0 # the first run asks for the layers alone

result=$("$mptune" train "$network" --policy "$MPTUNE_POLICY" --seed "$MPTUNE_SEED" \
  --steps "$MPTUNE_STEPS" --json) || exit
metric=$(printf '%s\n' "$result" | sed -n 's/^ *"metric": \(.*\),$/\1/p')
say "{\"event\": \"metric\", \"name\": \"loss\", \"value\": $metric, \"goal\": \"min\"}"
