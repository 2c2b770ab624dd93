. "$(dirname "$0")/common.bash"
data() { # the data section, and batch
  small net.yaml "s|^data: .*|data: {$1}|" "s/^batch: .*/batch: ${2:-4}/"
  echo "# $1"
  try train net.yaml --steps 1
}
# An idx file: magic, dimensions, bytes.
images() { printf '\0\0\10\3\0\0\0\10\0\0\0\2\0\0\0\2'; head -c "$1" /dev/zero; }
labels() { printf '\0\0\10\1\0\0\0\10'; printf "$1"; }
images 32 >good.images
images 31 >short.images
images 0 | head -c 9 >header.images
labels '\0\1\2\0\1\2\0\1' >good.labels
labels '\0\1\2\0\1\2\0\7' >range.labels
labels '\0\1\2' >short.labels
gzip -nc good.images >good.gz
head -c 30 good.gz >short.gz
printf 'text\n' >text.images
: >empty.images
idx='kind: idx, classes: 3, labels: good.labels, images'
for f in missing short header text empty; do data "$idx: $f.images"; done
data "$idx: short.gz"
data 'kind: idx, classes: 3, images: good.images, labels: range.labels'
data 'kind: idx, classes: 3, images: good.images, labels: short.labels'
data 'kind: idx, classes: 3, images: good.images, labels: good.images'
sed -i 's/    - {name: fc1/    - {name: flat, kind: flatten}\n&/' net.yaml
sed -i 's/^batch: .*/batch: 9/' net.yaml
try train net.yaml
mkdir dir.csv
: >empty.csv
for i in 1 2 3 4 5 6 7 8 9 10; do echo "$i,2,0"; done >good.csv
{ cat good.csv; echo '1,two,0'; } >text.csv
{ cat good.csv; echo '1,2'; } >ragged.csv
{ cat good.csv; echo '1,nan,0'; } >nan.csv
{ cat good.csv; echo '1,2,9'; } >range.csv
{ cat good.csv; echo '1,2,0.5'; } >half.csv
csv='kind: csv, classes: 3, held_out: 2, file'
for f in missing dir empty text ragged nan range half; do data "$csv: $f.csv"; done
data "$csv: good.csv" 9
data 'kind: csv, classes: 3, held_out: 20, file: good.csv'
data 'kind: csv, classes: 3, held_out: 2, columns: 0-7, file: good.csv'
{ echo 'length (m, cm),b,c'; cat good.csv; } >names.csv
printf '\357\273\277"length (m, cm)",b,c\r\n1,2,0\r\n\r\n"1","2","x\r\n"\r\n' >quoted.csv
gzip -nc quoted.csv | head -c 40 >short.csv.gz
truncate -s 10G huge.csv
for f in good.csv names.csv quoted.csv short.csv.gz huge.csv; do data "header: true, $csv: $f"; done
rm huge.csv
data 'kind: csv, classes: 3, package: nosuch-package, file: good.csv'
mkdir -p cache/packages/unpacked-package
export MPTUNE_CACHE=$PWD/cache
data 'kind: csv, classes: 3, package: unpacked-package, file: good.csv'
unset MPTUNE_CACHE
[ ! -e runs ] || echo "a run was left behind"
