. "$(dirname "$0")/common.bash"
try --version
try --help
try
for c in tune observe eval train "policy show" "policy check" "policy diff" "policy resolve" "policy export" frontier bench report doctor formats; do
  mptune $c --help >text 2>err || echo "$c --help failed"
  [ ! -s err ] || echo "$c --help writes to standard error"
  grep -q "^examples:" text || echo "$c --help has no examples"
  grep -q -- "--help" text || echo "$c --help has no options"
done
try policy --help
try tune --help
# What is not built is not in the help.
for c in "" tune observe eval train "policy show" policy frontier bench report doctor formats; do mptune $c --help; done >all
mptune --manual >>all
! grep -n -e '--workers' all
