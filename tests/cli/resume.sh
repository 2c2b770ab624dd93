. "$(dirname "$0")/common.bash"
# A checkpoint continues the training that it is of, and another one only by force.
small net.yaml
small batch.yaml 's/batch: 10/batch: 20/'
small sgd.yaml 's/adam/sgd/'
small data.yaml 's/samples: 200/samples: 201/'
mptune train -q net.yaml --save net.ckpt --json | tool json skipped
for w in batch sgd data; do
  cp net.ckpt $w.ckpt
  try train -q $w.yaml --save $w.ckpt --resume
done
try train -q net.yaml --save net.ckpt --resume --policy all-bf16
try train -q net.yaml --save net.ckpt --resume --seed 2
try train -q batch.yaml --save batch.ckpt --resume --force
# One of version 1 does not say what it is of.
head -n 1 net.ckpt | sed 's/@2/@1/; s/,"seconds":1//; s/,"skipped".*/}/' >old.ckpt
tail -n +2 net.ckpt | head -c -8 >>old.ckpt
try train -q batch.yaml --save old.ckpt --resume
# Counts that no file can hold.
head -n 1 net.ckpt | sed 's/"moments":2/"moments":9223372036854775807/' >huge.ckpt
tail -n +2 net.ckpt >>huge.ckpt
try train -q net.yaml --save huge.ckpt --resume
