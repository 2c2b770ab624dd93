. "$(dirname "$0")/common.bash"
# Without a GPU there is nothing to measure; one that is there is hidden.
export CUDA_VISIBLE_DEVICES=
try bench
try bench --quick -o profile.yaml
try bench --devise 1
try bench --device -1
try bench workload.yaml
[ -z "$(ls -A)" ] || echo "something was written"
