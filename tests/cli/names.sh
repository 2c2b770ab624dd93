# Paths and names of any bytes: kept as they are, shown without harm, and no row is lost for them.
. "$SOURCE/tests/cli/common.bash"
small net.yaml 's/^budget.*/budget: {worse_by: 20%}/'
policy() { printf 'schema: mptune/policy@1\ndefault: %s\n' "$1"; }
latin=$(printf 'l\344tin') control=$(printf 'esc\033[31m')
echo '# not UTF-8: the run, the workload, the policy'
mptune tune net.yaml -q -o "$latin" >/dev/null; echo "exit $?"
sed 's/^batch/name: w\nbatch/' net.yaml >"$latin.yaml"
mptune train "$latin.yaml" -q -p all-bf16 >/dev/null; echo "exit $?"
policy bf16 >"$latin.yaml.policy"
mptune eval net.yaml -q -o run -p "$latin.yaml.policy" --json | tool json policies 1 label
mptune eval "$latin.yaml" -q -o run -p "$latin.yaml.policy" | tail -1
for kind in --json --markdown; do mptune report run $kind | iconv -f UTF-8 -t UTF-8 >/dev/null || echo "$kind: not UTF-8"; done
mptune report run >/dev/null && iconv -f UTF-8 -t UTF-8 run/report.html >/dev/null || echo 'html: not UTF-8'
mptune report run --json | tool json definition command
echo '# long paths: two labels, also for what a file held before'
long=$(printf 'x%.0s' $(seq 80)) wide=$(printf '\303\274%.0s' $(seq 60)).yaml
mkdir "$long"
policy bf16 >"$long/a.yaml"
policy fp16 >"$long/b.yaml"
policy fp16 >"$wide"
mptune eval net.yaml -q -o long -p "$long/a.yaml" -p "$long/b.yaml" -p "$wide" | cut -d ' ' -f 3
policy tf32 >"$long/a.yaml"
mptune eval net.yaml -q -o long -p "$long/a.yaml" | tail -1 | cut -d ' ' -f 3,4
echo '# control characters and markup in names'
policy bf16 >"$control"
mptune eval net.yaml -q -o "a; touch owned" -p "$control" | tail -1
mptune eval net.yaml -q -p "$(printf 'absent\033[2J\nx')" 2>&1
mptune tune net.yaml -q -o "b; touch owned" >/dev/null
mptune report "b; touch owned" --markdown | grep -A 2 '^## Apply'
mptune report "b; touch owned" --markdown | grep '^Made by'
