. "$(dirname "$0")/common.bash"
: >empty.yaml
mkdir dir.yaml
echo '{[' >not.yaml
head -c 100000000 /dev/zero | tr '\0' '[' >nested.yaml
{ echo 'a: &a [x,x,x,x,x,x,x,x,x,x]'; for i in b c d e f g h i j; do echo "$i: &$i [*a,*a,*a,*a,*a,*a,*a,*a]"; done; } >bomb.yaml
head -c 4000000 /dev/zero | tr '\0' '[' >deep.yaml
for f in missing deep empty dir not nested bomb; do try tune $f.yaml; done
bad() { # what is wrong, as sed over the workload
  echo "# $1"
  small net.yaml "$1"
  try tune net.yaml
}
bad 's/^batch/bacth/'
bad '/^batch/p'
bad 's/batch: 10/batch: ten/'
bad 's/batch: 10/batch: [10]/'
bad 's/batch: 10/batch: -10/'
bad 's/batch: 10/batch: 0/'
bad 's/batch: 10/batch: 0x10/'
bad 's/batch: 10/batch: 1e1/'
bad 's/batch: 10/batch: 1000/'
bad 's/batch: 10/batch: 99999999999999999999/'
bad 's/learning_rate: 0.01/learning_rate: .nan/'
bad 's/learning_rate: 0.01/learning_rate: nan/'
bad 's/learning_rate: 0.01/learning_rate: -1/'
bad 's/steps: 40/steps: -1/'
bad 's/features: 16/features: -16/'
bad 's/features: 16/features: 16000000000000/'
bad 's/kind: relu/kind: reul/'
bad 's/name: act, kind: relu/name: act, kind: conv2d, channels: 3, kernel: 3/'
bad 's/name: fc2, kind: linear, features: 3/name: fc2, kind: linear, features: 2/'
bad 's/name: act/name: fc1/'
bad 's/kind: relu/kind: relu, from: nowhere/'
bad 's/2%/0%/'
bad 's/2%/-1/'
bad 's/2%/0x2%/'
bad 's/2%/nan/'
bad 's/2%/lots/'
bad '$apins: [{layers: nosuch, format: bf16}]'
bad '$apins: [{layers: fc1, format: fp9}]'
bad '$aexclude: [fp9]'
bad '$aexclude: [fp32, tf32, bf16, fp16, fp8]'
bad 's/nvidia-h200/nvidia-h201/'
bad 's/kind: adam/kind: adma/'
bad 's/loss: cross_entropy/loss: hinge/'
bad 's/workload@1/workload@2/'
bad '/^schema/d'
bad '/^data/d'
[ ! -e runs ] || echo "a run was left behind"
