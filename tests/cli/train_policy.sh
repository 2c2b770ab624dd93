. "$(dirname "$0")/common.bash"
# What train says of the policy that it is given: nothing of a uniform one by its name.
small net.yaml
train() { echo "\$ mptune train $*"; mptune train "$@" 2>&1 >/dev/null; echo "exit $?"; }
train -q net.yaml
for f in fp32 tf32 bf16 fp16 fp8; do train -q net.yaml -p all-$f; done
# A file without a verdict, or with one that is not pass.
printf 'schema: mptune/policy@1\ndefault: bf16\n' >mine.yaml
train -q net.yaml -p mine.yaml
{ cat mine.yaml; echo 'provenance: {result: {verdict: fail}}'; } >failed.yaml
train -q net.yaml -p failed.yaml
cp mine.yaml all-bf16
train -q net.yaml -p all-bf16
# One that was verified, and the same policy in other hands.
mptune tune -q net.yaml -o run >/dev/null 2>&1
grep -o 'verdict: [a-z]*' run/policy.yaml
train -q net.yaml -p run/policy.yaml
sed 's/2%/3%/' net.yaml >wider.yaml
train -q wider.yaml -p run/policy.yaml
sed 's/learning_rate: 0.01/learning_rate: 0.02/' net.yaml >other.yaml
train -q other.yaml -p run/policy.yaml
sed 's/data_hash: "./data_hash: "x/' run/policy.yaml >data.yaml
train -q net.yaml -p data.yaml
sed '/_hash/d' run/policy.yaml >unsigned.yaml
train -q net.yaml -p unsigned.yaml
# Another length than it was verified at, here or there.
train -q net.yaml -p run/policy.yaml --steps 20
mptune tune -q net.yaml -o short --steps 20 >/dev/null 2>&1
train -q net.yaml -p short/policy.yaml
train -q net.yaml -p short/policy.yaml --steps 20
