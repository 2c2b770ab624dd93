. "$(dirname "$0")/common.bash"
try formats
try formats 0.1
try formats -- -3e5
try formats 1e39
try formats nan
try formats 0.1 --json
