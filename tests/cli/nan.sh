. "$(dirname "$0")/common.bash"
# The reference itself: layer and step are named.
small net.yaml 's/learning_rate: 0.01/learning_rate: 10000/' 's/kind: adam/kind: sgd/'
try tune -q net.yaml
try train -q net.yaml
ls runs/net/policy.yaml 2>/dev/null
# A candidate: the inputs are beyond fp16's largest value; it fails, the search goes on.
small wide.yaml 's/classes: 3, held_out/classes: 3, scale_low: 1000000, scale_high: 1000000, held_out/' \
  's/budget: .*/budget: {worse_by: 95%}/' 's/learning_rate: 0.01/learning_rate: 1.0e-04/'
mptune tune -q wide.yaml >out 2>err
echo "exit $?"
grep -E 'fp16|fp32|\*' out
cat err
mptune eval -q wide.yaml --policy all-fp16 --seeds 1 -o other
