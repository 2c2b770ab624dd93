#!/bin/sh
# The built-in trainer as somebody's program: trains $1, a workload of an mlp with the hidden widths
# $2 and $3, for what the contract asks. `mptune` is on the PATH.
set -eu
say() {
  printf '%s\n' "$1" >>"$MPTUNE_EVENTS"
}
inputs=16 outputs=16 rows=64
say '{"event": "hello", "protocol": 1, "program": "wrapper.sh"}'
say "{\"event\": \"layers\", \"layers\": [{\"name\": \"fc1\", \"kind\": \"linear\", \"shape\": [$2, $inputs], \"rows\": $rows}, {\"name\": \"relu1\", \"kind\": \"relu\", \"shape\": [$2]}, {\"name\": \"fc2\", \"kind\": \"linear\", \"shape\": [$3, $2], \"rows\": $rows}, {\"name\": \"relu2\", \"kind\": \"relu\", \"shape\": [$3]}, {\"name\": \"head\", \"kind\": \"linear\", \"shape\": [$outputs, $3], \"rows\": $rows}]}"
say "{\"event\": \"applied\", \"layers\": [$(mptune policy resolve "$MPTUNE_POLICY" "$1" |
  awk '{ printf "%s{\"name\": \"%s\", \"format\": \"%s\"}", comma, $1, $2; comma = ", " }')]}"
[ "$MPTUNE_UNTIL" -gt 0 ] || exit 0
mptune train "$1" --policy "$MPTUNE_POLICY" --seed "$MPTUNE_SEED" --steps "$MPTUNE_STEPS" --json >result.$$.json
awk '/"losses": \[/ { losses = 1; next } /\]/ { losses = 0 }
  losses { sub(/,$/, ""); printf "{\"event\": \"step\", \"step\": %d, \"loss\": %s}\n", step++, $1 }
  /^ *"metric":/ { sub(/,$/, ""); metric = $2 }
  END { printf "{\"event\": \"metric\", \"name\": \"loss\", \"value\": %s, \"goal\": \"min\"}\n", metric }' \
  result.$$.json >>"$MPTUNE_EVENTS"
rm result.$$.json
