. "$(dirname "$0")/common.bash"
try doctor
mptune doctor --json | tool json backends 0 devices 0 formats
