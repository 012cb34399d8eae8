# shellcheck shell=bash disable=SC2154
# What scripts/setup needs of the machine. Part of it: source it, do not run it.
# Every problem is named with the command that mends it, all in one go.

rustup="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
problems=()

problem() { problems+=("$*"); }

# at_least VERSION MINIMUM: compares dotted numbers.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

check_python() {
    local version="${found[version]:-}"
    if [ -z "$python" ]; then
        problem "no python3: apt-get install python3 python3-venv"
    elif [ -z "$version" ]; then
        problem "$python does not run: apt-get install --reinstall python3"
    elif ! at_least "$version" 3.10; then
        problem "$python is Python $version, too old (3.10 or newer): apt-get install python3, or activate an environment that has a newer one"
    elif [ "${found[venv]}" != yes ]; then
        problem "$python cannot make virtual environments: apt-get install python3-venv"
    elif [ "$kind" != borrowed ] && at_least "$version" 3.15; then
        problem "$python is Python $version, for which there is no torch $torch_series (3.10 to 3.14): activate an environment with one of those"
    fi
}

check_compiler() {
    # CXX may hold a wrapper and arguments, as in `ccache g++`.
    local compiler="${CXX:-c++}"
    if ! command -v "${compiler%% *}" >/dev/null; then
        problem "no C++ compiler ($compiler): apt-get install g++"
    elif ! $compiler --version >/dev/null 2>&1; then
        problem "the C++ compiler ($compiler) does not run: apt-get install --reinstall g++"
    fi
}

check_cargo() {
    local needed version
    needed="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)"
    version="$(cargo --version 2>/dev/null | cut -d ' ' -f 2 || true)"
    if ! command -v cargo >/dev/null; then
        problem "no cargo: $rustup && . \"\$HOME/.cargo/env\""
    elif [ -z "$version" ]; then
        problem "cargo does not run: rustup default stable"
    elif ! at_least "$version" "$needed"; then
        problem "cargo is $version, too old ($needed or newer): rustup update stable, or where rustup is missing: $rustup"
    fi
}

check_disk() {
    # pip's cache, the downloads and the unpacked files are there at the same time.
    local -A gigabytes=([borrowed]=1 [cpu]=3 [full]=11)
    local needed="${gigabytes[$kind]}" free
    if ready; then needed=0; fi
    [ -d target ] || needed=$((needed + 4))
    free="$(df -Pk . | awk 'NR == 2 { print int($4 / 1000000) }')"
    if [ "$free" -lt "$needed" ]; then
        problem "$free GB free below $root, about $needed GB needed: make room there, or move the project to a larger disk"
    fi
}

check_all() {
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64" | "Linux aarch64") ;;
        *) problem "this is $(uname -s) on $(uname -m): only Linux on x86_64 or aarch64 is supported" ;;
    esac
    check_python
    check_compiler
    check_cargo
    check_disk
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        problem "$link is there and is not a link: mv $link $link.old"
    fi
    if [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ ! -f "$stamp" ]; then
        problem "$venv is there and is not a virtual environment: mv $venv $venv.old"
    fi
    [ ${#problems[@]} -eq 0 ] && return
    warn "scripts/setup: to be mended first:"
    printf '  - %s\n' "${problems[@]}" >&2
    exit 2
}
