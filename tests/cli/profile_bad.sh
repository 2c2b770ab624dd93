. "$(dirname "$0")/common.bash"
small net.yaml
: >empty.yaml
mkdir dir.yaml
echo '{[' >not.yaml
head -c 100000000 /dev/zero | tr '\0' '[' >nested.yaml
{ echo 'a: &a [x,x,x,x,x,x,x,x,x,x]'; for i in b c d e f g h i j; do echo "$i: &$i [*a,*a,*a,*a,*a,*a,*a,*a]"; done; } >bomb.yaml
head -c 4000000 /dev/zero | tr '\0' '[' >deep.yaml
for f in missing deep empty dir not nested bomb; do try tune net.yaml --target ./$f.yaml; done
from=$SOURCE/profiles/devices/synthetic-bits.yaml
bad() {
  echo "# $1"
  sed "$1" "$from" >profile.yaml
  try tune net.yaml --target ./profile.yaml
}
bad 's/^copy_bandwidth/copy_bandwith/'
bad '/^copy_bandwidth/p'
bad '/^copy_bandwidth/d'
bad 's/^copy_bandwidth: [^ ]*/copy_bandwidth: fast/'
bad 's/^copy_bandwidth: [^ ]*/copy_bandwidth: .nan/'
bad 's/^copy_bandwidth: [^ ]*/copy_bandwidth: -1/'
bad 's/fp8_e4m3, fp8_e5m2/fp9/'
bad 's/bf16: 2.0e+12/bf16: 0/'
bad 's/bf16: 2.0e+12/bf61: 2.0e+12/'
bad 's/device@1/device@2/'
bad '/^gemm/,$d'
[ ! -e runs ] || echo "a run was left behind"
