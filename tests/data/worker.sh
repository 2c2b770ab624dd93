#!/bin/sh
# A program that serves (docs/contract.md), as $1 says; run for one job where it is not asked to. It
# notes in the file $2 each time that it begins.
behaviour=$1
echo "$MPTUNE_MODE" >>"$2"

say() { # TO TEXT
  printf '%s\n' "$2" >>"$1"
}

# What the job that the variables speak of comes to: as mode train of tests/data/program.sh.
carry_out() {
  format=$(sed -n 's/^ *"default": "\([a-z0-9]*\)".*/\1/p' "$policy")
  say "$events" "{\"event\": \"applied\", \"layers\": [{\"name\": \"fc1\", \"format\": \"$format\"}]}"
  [ "$until" -gt 0 ] || return 0
  case $format in fp32) worse=0 ;; bf16) worse=3 ;; *) worse=7 ;; esac
  step=0
  while [ $step -lt "$until" ]; do
    say "$events" "{\"event\": \"step\", \"step\": $step, \"loss\": $((1000 - 10 * step + worse)).$seed}"
    step=$((step + 1))
  done
  say "$events" "{\"event\": \"metric\", \"name\": \"val_loss\", \"value\": $((500 + worse)).$seed, \"goal\": \"min\"}"
}

introduce() {
  say "$MPTUNE_EVENTS" '{"event": "hello", "protocol": 1, "program": "worker.sh", "capabilities": ["serve"]}'
  say "$MPTUNE_EVENTS" '{"event": "layers", "layers": [{"name": "fc1", "kind": "linear", "shape": [16, 8], "rows": 32}]}'
}

member() { # of the job's line
  printf '%s\n' "$job" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}

[ "$behaviour $MPTUNE_MODE" = "dies_at_once serve" ] && exit 1
introduce
if [ "$MPTUNE_MODE" != serve ]; then
  policy=$MPTUNE_POLICY events=$MPTUNE_EVENTS seed=$MPTUNE_SEED until=$MPTUNE_UNTIL
  carry_out
  exit
fi
exec 3<"/proc/self/fd/${MPTUNE_FDS%,*}" 4>"/proc/self/fd/${MPTUNE_FDS#*,}"
while IFS= read -r job <&3; do
  policy=$(member policy) events=$(member events) seed=$(member seed) until=$(member until)
  case $behaviour in
  dies) kill -KILL $$ ;;
  hangs) sleep 60 ;;
  babbles) echo 'done it' >&4 && sleep 60 ;;
  fails) printf '{"job": %s, "status": 3, "error": "the device is lost"}\n' "$(member job)" >&4 && continue ;;
  skips) printf '{"job": %s, "status": 125}\n' "$(member job)" >&4 && continue ;;
  esac
  carry_out
  printf '{"job": %s, "status": 0}\n' "$(member job)" >&4
done
echo ended >>"$2"
