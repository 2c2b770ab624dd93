. "$(dirname "$0")/common.bash"
# Without a GPU there is nothing to measure; one that is there is hidden.
export CUDA_VISIBLE_DEVICES=
try bench
try bench --quick -o profile.yaml
# A profile without a place is refused before anything is measured.
try bench -o nowhere/profile.yaml
try bench -o ./
try bench -o /tmp
try bench -o ''
try bench -o "$(printf 'p%.0s' {1..600})" | sed 's/ppppp*/p.../'
try bench --devise 1
try bench --device -1
try bench workload.yaml
[ -z "$(ls -A)" ] || echo "something was written"
