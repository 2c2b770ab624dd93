#!/bin/sh
# A program under evaluation that behaves as $1 says: under policies whose default is $2 (any), and
# seeds from $3 on (0). Its losses and its metric hang on the seed, the step and the default format
# of the policy, so that whatever is mixed up is seen.
behaviour=$1

say() {
  printf '%s\n' "$1" >>"$MPTUNE_EVENTS"
}

layers='{"name": "fc1", "kind": "linear", "shape": [16, 8], "rows": 32}, {"name": "fc2", "kind": "linear", "shape": [4, 16], "rows": 32}'
format=$(sed -n 's/^ *"default": "\([a-z0-9]*\)".*/\1/p' "$MPTUNE_POLICY")
[ "${2:-any}" = any ] || [ "$2" = "$format" ] || behaviour=good
[ "$MPTUNE_SEED" -ge "${3:-0}" ] || behaviour=good
case $format in fp32) worse=0 ;; bf16) worse=3 ;; *) worse=7 ;; esac
seed=$MPTUNE_SEED capabilities='"time", "observe"' metric=val_loss
case $behaviour in
only_a_metric) capabilities= ;;
few_formats) formats=', "formats": ["fp32", "fp8"]' ;;
ignores_the_seed) seed=1 ;;
other_metric) metric=val_accuracy ;;
changes_directory) cd / ;;
prints_much) seq 1 2000000 ;;
nonsense_printed) printf '{"event": "step"\n\033[2J\000\377 nonsense\n' ;;
file_limit) ulimit -f ;;
esac

say '{"event": "hello", "protocol": 1, "program": "program.sh", "capabilities": ['"$capabilities"'], "versions": {"sh": "1"}'"${formats-}"'}'
if [ "$behaviour" = other_layers ] && [ "$MPTUNE_UNTIL" -gt 0 ]; then
  layers='{"name": "fc1", "kind": "linear", "shape": [16, 9]}, {"name": "fc2", "kind": "linear", "shape": [4, 16]}'
fi
say "{\"event\": \"layers\", \"layers\": [$layers], \"uncovered\": [\"attn\"]}"
[ "$behaviour" = not_applied ] && format=fp32
say "{\"event\": \"applied\", \"layers\": [{\"name\": \"fc1\", \"format\": \"$format\"}, {\"name\": \"fc2\", \"format\": \"$format\"}]}"
[ "$behaviour" = trains_at_once ] && MPTUNE_UNTIL=$MPTUNE_STEPS
if [ "$MPTUNE_UNTIL" -eq 0 ]; then
  [ "$behaviour" = hangs_at_first ] && sleep 60
  exit 0
fi

case $behaviour in
hangs) echo 'waiting for a lock' && sleep 60 ;;
hangs_stubbornly) trap '' TERM && while :; do sleep 0.05; done ;;
crashes) echo 'Traceback (most recent call last):' >&2 && echo 'ValueError: no such kernel' >&2 && exit 3 ;;
killed) kill -KILL $$ ;;
segfaults) kill -SEGV $$ ;;
untested) echo 'out of memory' && exit 125 ;;
stats_of_no_layer) say '{"event": "nonfinite", "step": 0, "layer": "fc9"}' && say '{"event": "probe", "layer": "fc9", "format": "fp8", "forward": 0.75, "dgrad": 0.25, "wgrad": 0.125}' ;;
nonsense) say 'loss is 3.5 now' && sleep 60 ;;
fills_the_disk) ulimit -f 100 && exec dd if=/dev/zero of="${MPTUNE_EVENTS%/*}/large" bs=100000 count=100 ;;
leaves_a_child) sleep 60 & ;;
long_line) head -c "${LONG:-20000000}" /dev/zero | tr '\000' x >>"$MPTUNE_EVENTS" ;;
flood) awk -v n="${FLOOD:-20000}" 'BEGIN { for (i = 0; i < n; i++) printf "{\"event\": \"noise\", \"i\": %d}\n", i }' >>"$MPTUNE_EVENTS" ;;
esac

step=0
while [ $step -lt "$MPTUNE_UNTIL" ]; do
  loss=$((1000 - 10 * step + worse)).$seed
  case $behaviour in
  does_not_repeat) loss=$((1000 - 10 * step)).$(date +%N) ;;
  nan_loss) [ $step -lt 3 ] || loss=NaN ;;
  falls_behind) loss=$((5000 + worse)) && sleep 0.02 ;;
  esac
  [ "$behaviour" = only_a_metric ] || say "{\"event\": \"step\", \"step\": $step, \"loss\": $loss, \"seconds\": 0.0$((20 - worse))}"
  step=$((step + 1))
done
if [ "$MPTUNE_MODE" = observe ] && [ "$behaviour" != only_a_metric ]; then
  say '{"event": "stats", "step": 0, "layer": "fc1", "operand": "input", "count": 4, "zeros": 1, "nans": 0, "infinities": 0, "amax": 2.5, "amin": 0.5}'
  for format in tf32 bf16 fp16 fp8; do
    say "{\"event\": \"probe\", \"layer\": \"fc2\", \"format\": \"$format\", \"forward\": 0.5, \"dgrad\": 0.25, \"wgrad\": 0.125}"
  done
  say '{"event": "probe", "layer": "fc2", "format": "fp8", "forward": 0.75, "dgrad": 0.25, "wgrad": null}'
  say '{"event": "probe", "layer": "fc1", "format": "fp8", "forward": 0.75, "dgrad": 0.25, "wgrad": 0.125}'
fi
[ "$MPTUNE_MODE" = time ] && [ "$behaviour" != no_time ] && say "{\"event\": \"time\", \"median\": 0.0$((20 - worse)), \"spread\": 0.001, \"steps\": $MPTUNE_UNTIL, \"peak_bytes\": 4096}"

value=$((500 + worse)).$seed
case $behaviour in
does_not_repeat) value=500.$(date +%N) ;;
nan | nan_loss) value=NaN ;;
esac
[ "$MPTUNE_UNTIL" -lt "$MPTUNE_STEPS" ] || [ "$behaviour" = no_metric ] ||
  say "{\"event\": \"metric\", \"name\": \"$metric\", \"value\": $value, \"goal\": \"min\"}"
[ "$behaviour" = half_a_line ] && printf '{"event": "metric", "na' >>"$MPTUNE_EVENTS"
exit 0
