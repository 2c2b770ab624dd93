. "$(dirname "$0")/common.bash"
small net.yaml
: >empty.yaml
mkdir dir.yaml
echo '{[' >not.yaml
head -c 100000000 /dev/zero | tr '\0' '[' >nested.yaml
{ echo 'a: &a [x,x,x,x,x,x,x,x,x,x]'; for i in b c d e f g h i j; do echo "$i: &$i [*a,*a,*a,*a,*a,*a,*a,*a]"; done; } >bomb.yaml
head='schema: mptune/policy@1
default: bf16'
printf '%s\nrules: []\nrules: []\n' "$head" >twice.yaml
printf '%s\nrules:\n  - {layers: fc1, format: fp8}\n' "$head" >glob.yaml
printf '%s\nruels: []\n' "$head" >unknown.yaml
printf '%s\nrules: 3\n' "$head" >type.yaml
printf '%s\nrules:\n  - {layers: ["*"], format: fp9}\n' "$head" >format.yaml
printf '%s\nrules:\n  - {layers: [nosuch], format: fp8}\n' "$head" >pattern.yaml
printf 'schema: mptune/policy@9\nrules: []\n' >version.yaml
printf 'rules: []\n' >noschema.yaml
printf 'schema: mptune/policy@1\nrules: []\n' >nodefault.yaml
printf '%s\nrules: []\nloss_scale: {mode: dynamic, initial: .nan}\n' "$head" >nan.yaml
printf '%s\nrules: []\nlayers:\n  - {name: fc1, kind: linear, shape: [16, -8], rows: 10}\n' "$head" >negative.yaml
printf '%s\nrules: []\nlayers:\n  - {name: fc1, kind: linear, shape: [16, 9], rows: 10}\n' "$head" >shape.yaml
printf '%s\nrules:\n  - {layers: ["*"]}\n' "$head" >noformat.yaml
printf 'schema\000: x\n' >zero.yaml
printf '\377\376\000' >binary.yaml
head -c 4000000 /dev/zero | tr '\0' '[' >deep.yaml
for f in missing deep empty dir not nested bomb twice unknown type glob format version noschema nodefault nan negative noformat zero binary; do
  try policy check $f.yaml
done
try policy check pattern.yaml net.yaml
try policy check shape.yaml net.yaml
try train net.yaml --policy shape.yaml
try train net.yaml --policy missing.yaml
try train net.yaml --policy format.yaml
try eval net.yaml --policy empty.yaml
[ ! -e runs ] || echo "a run was left behind"
