. "$(dirname "$0")/common.bash"
small net.yaml
try observe -q net.yaml -o run
try eval -q net.yaml -o run --policy all-bf16 --policy all-fp16 --seeds 2
try frontier run
try train -q net.yaml --save-init first.bin --save-batches batches.bin --steps 5
ls
# Stopped half way and resumed, a training gives what an undisturbed one gives, bit for bit.
mptune train net.yaml --save whole.ckpt -v 2>/dev/null | tail -3
mptune train net.yaml --save half.ckpt --save-every 20 --json 2>/dev/null | tool json steps
cmp <(head -c -8 whole.ckpt) <(head -c -8 half.ckpt) && echo "the same checkpoint" # but for seconds
try train -q net.yaml --save whole.ckpt --resume
echo junk >junk.ckpt
try train -q net.yaml --save junk.ckpt --resume
try train -q net.yaml --save missing/x.ckpt
try train -q net.yaml --policy all-fp8
try train -q net.yaml --policy all-fp9
try train -q net.yaml -p one.yaml -p two.yaml
