# shellcheck shell=bash disable=SC2034
# What the shell scripts share: source it, do not run it.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
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

# pip_install REQUIREMENTS: exactly what a lock file lists, each checked against its hash.
pip_install() {
    # pip unpacks in TMPDIR: /tmp is too small on many machines.
    mkdir -p "$venv/tmp"
    if ! TMPDIR="$venv/tmp" PIP_USER=0 "${python:-$venv/bin/python}" -m pip install --disable-pip-version-check \
        --no-input --no-deps --only-binary :all: --require-hashes -r "$1"; then
        warn "pip failed; it keeps what it has downloaded. Check the network (behind a proxy: export" \
            "HTTPS_PROXY=...; a mirror: pip config set global.index-url ...) and the disk" \
            "($(df -h "$root" | awk 'NR == 2 { print $4 }') free), then run this again."
        exit 1
    fi
    rm -rf "$venv/tmp"
}
