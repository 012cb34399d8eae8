# shellcheck shell=bash disable=SC2034
# Shared by scripts/setup, scripts/test and scripts/data: source it, do not run it.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
link="$root/.libtorch"

# An inherited module path would let `python` find packages that the project's
# own environment does not have.
unset PYTHONPATH PYTHONHOME

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# usage FILE: the block of comments at the head of a script.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$1"; }

# bad_usage SCRIPT ARGUMENT
bad_usage() {
    warn "$1: unknown argument '$2'"
    warn "$(usage "$root/scripts/$1")"
    exit 2
}

# at_least VERSION MINIMUM: compares dotted numbers.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}
