. "$(dirname "$0")/common.bash"
# One policy under one seed is one training, whoever runs it: train, eval, a search. Bit for bit.
# A loss scale so small that fp16 gradients vanish, and data that pass a flatten, tell them apart.
small net.yaml '/layers:/a\    - {name: flat, kind: flatten}' 's/features: 8,/shape: [1, 4, 4],/' \
  's/features: 3/features: 16/' 's/^target:.*/target: synthetic-bits/' \
  '$aloss_scale: {mode: static, initial: 2.44140625e-04}'
mptune tune -q net.yaml -o run >/dev/null 2>&1 || echo "exit $?"
# What a run has of the policy with that label under seed 1.
stored() { # RUN LABEL
  mptune report "$1" --json 2>/dev/null >report.json
  hash=$(tool json policies <report.json | tr '{' '\n' | grep "\"label\": \"$2\"" | grep -o '"policy": "[^"]*"')
  tool json evaluations <report.json | tr '{' '\n' | grep -F "$hash" | grep '"seed": 1,' |
    grep -oE '"(held_out_loss|metric|metric_plain|output_difference)": [^,}]*'
}
# The same of a training, in the same order. Nothing is warned of.
trained() { # WORD...
  mptune train net.yaml "$@" --json >trained.json
  for key in held_out_loss metric metric_plain output_difference; do
    echo "\"$key\": $(tool json $key <trained.json)"
  done
}
compare() { # WHAT A B
  if [ "$(grep -c '[0-9]' "$2")" != 4 ]; then
    echo "$1: nothing to compare"
    cat "$2"
  elif cmp "$2" "$3"; then
    echo "$1: the same"
  else
    diff "$2" "$3"
  fi
}
mptune eval -q net.yaml --seeds 1 -o own -p all-tf32 -p all-bf16 -p all-fp16 -p all-fp8 >/dev/null
for f in fp32 tf32 bf16 fp16 fp8; do
  stored run all-$f >search
  stored own all-$f >eval
  trained -q -p all-$f >train
  compare "all-$f in a search and by eval" search eval
  compare "all-$f by eval and by train" eval train
  cp train train-$f
done
trained -q >train
compare "the reference by name and by default" train train-fp32
cmp -s train-fp16 train-fp32 && echo "formats make no difference"
# What a search wrote is what it trained.
winner=$(mptune report run --json | tool json winner label | tr -d '"')
stored run "$winner" >search
trained -q -p run/policy.yaml >train
compare "the winner and its policy.yaml" search train
# A policy file that says nothing of the loss scale has the workload's, one that does its own.
policy() { # FILE LOSS_SCALE
  printf 'schema: mptune/policy@1\ndefault: fp16\nrules: [{layers: [flat], format: fp32}]\n%s\n' "$2" >"$1"
}
policy silent.yaml ""
policy agrees.yaml "loss_scale: {mode: static, initial: 2.44140625e-04}"
policy own.yaml "loss_scale: {mode: static, initial: 1024}"
policy none.yaml "loss_scale: {mode: none}"
mptune eval -q net.yaml --seeds 1 -o own -p own.yaml -p none.yaml >/dev/null
for p in silent agrees own none; do trained -q -p $p.yaml >train-$p 2>warned; done
compare "silent" train-silent train-fp16
compare "the same scale said" train-agrees train-fp16
for p in own none; do
  stored own $p.yaml >eval
  compare "$p, by eval and by train" eval train-$p
done
cmp -s train-own train-fp16 && echo "the loss scale makes no difference"
# In the search's directory nothing of that is trained again, and the search's policies keep their
# names; a loss scale of its own makes another policy.
evaluations() { mptune report run --json | tool json evaluations | grep -o '"seed"' | wc -l; }
before=$(evaluations)
mptune eval -q net.yaml --seeds 1 -o run -p silent.yaml -p agrees.yaml -p all-fp16 -p all-fp8 \
  -p run/policy.yaml >/dev/null
echo "$(($(evaluations) - before)) trained"
mptune eval -q net.yaml --seeds 1 -o run -p own.yaml >/dev/null
echo "$(($(evaluations) - before)) trained"
# Without fp16 there is no loss scale to differ in.
printf 'schema: mptune/policy@1\ndefault: bf16\nrules: [{layers: [flat], format: fp32}]\nloss_scale: {mode: none}\n' >bf16.yaml
mptune eval -q net.yaml --seeds 1 -o run -p bf16.yaml >/dev/null
echo "$(($(evaluations) - before)) trained"
mptune report run --json | tool json policies | grep -oE '"label": "(all-fp16|own.yaml|silent.yaml|bf16.yaml)"'
mptune policy diff silent.yaml own.yaml net.yaml
mptune policy diff agrees.yaml own.yaml net.yaml
# All losses that are not scaled are one: one training of the two.
sed 's/^loss_scale:.*/loss_scale: {mode: none}/' net.yaml >unscaled.yaml
policy none-from-4.yaml "loss_scale: {mode: none, initial: 4}"
mptune eval -q unscaled.yaml --seeds 1 -o unscaled -p silent.yaml -p none-from-4.yaml --json |
  tool json evaluations
