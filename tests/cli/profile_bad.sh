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
# A measured one, whose table ends within a row, or has times that are none.
from=$SOURCE/profiles/devices/nvidia-h200.yaml
row=$(grep -n '^    - \[' "$from" | sed -n '5s/:.*//p')
for cut in "$row" $((row - 4)); do
  { head -n $((cut - 1)) "$from"; sed -n "${cut}p" "$from" | cut -c1-20; } >profile.yaml
  try tune net.yaml --target ./profile.yaml | sed 's/profile.yaml:[0-9]*/profile.yaml:@@/'
done
for time in .nan .inf 0 -1; do
  sed "${row}s/\(- *\[[^,]*,[^,]*,[^,]*\),[^,]*/\1, $time/" "$from" >profile.yaml
  try tune net.yaml --target ./profile.yaml | sed 's/profile.yaml:[0-9]*/profile.yaml:@@/'
done
[ ! -e runs ] || echo "a run was left behind"
