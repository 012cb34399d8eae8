# shellcheck shell=bash disable=SC2154
# What scripts/setup needs of the machine. Part of it: source it, do not run it.
# Every problem is named with the command that mends it, all in one go.

problems=()

problem() { problems+=("$*"); }

check_platform() {
    case "$(uname -s) $(uname -m)" in
        "Linux x86_64" | "Linux aarch64") ;;
        *) problem "this is $(uname -s) on $(uname -m): only Linux on x86_64 or aarch64 is supported" ;;
    esac
}

check_python() {
    if [ -z "$python" ]; then
        problem "no python3: apt-get install python3 python3-venv"
    elif [ -z "$version" ]; then
        problem "$python does not run: apt-get install --reinstall python3"
    elif ! at_least "$version" 3.10; then
        problem "$python is Python $version, too old (3.10 or newer): apt-get install python3, or activate an environment that has a newer one"
    elif [ "$has_venv" != yes ]; then
        problem "$python cannot make virtual environments: apt-get install python3-venv"
    elif [ "$kind" != borrowed ] && at_least "$version" 3.15; then
        problem "$python is Python $version, for which there is no torch $torch_version (3.10 to 3.14): activate an environment with one of those"
    fi
}

check_compiler() {
    local compiler="${CXX:-c++}"
    # CXX may hold a wrapper and arguments, as in `ccache g++`.
    if ! command -v "${compiler%% *}" >/dev/null; then
        problem "no C++ compiler ($compiler): apt-get install g++"
    elif ! $compiler --version >/dev/null 2>&1; then
        problem "the C++ compiler ($compiler) does not run: apt-get install --reinstall g++"
    fi
}

check_cargo() {
    local needed found
    needed="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")"
    if ! command -v cargo >/dev/null; then
        problem "no cargo: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
        return
    fi
    found="$(cargo --version 2>/dev/null | cut -d ' ' -f 2 || true)"
    if [ -z "$found" ]; then
        problem "cargo does not run: rustup default stable"
    elif ! at_least "$found" "$needed"; then
        problem "cargo is $found, too old ($needed or newer): rustup update stable, or where rustup is missing: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    fi
}

check_disk() {
    local needed=0 free
    if ! ready; then
        # At the peak of an installation pip has its cache, the downloads and the
        # unpacked files on the disk: 2.7 + 2.7 + 4.9 GB for the full set.
        case "$kind" in
            borrowed) needed=1 ;;
            cpu) needed=3 ;;
            full) needed=11 ;;
        esac
    fi
    [ -d "$root/target" ] || needed=$((needed + 4))
    free="$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1000000) }')"
    if [ "$free" -lt "$needed" ]; then
        problem "$free GB free below $root, about $needed GB needed: make room there, or move the project to a larger disk"
    fi
}

check_places() {
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        problem "$link is there and is not a link: mv $link $link.old"
    fi
    if [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
        problem "$venv is there and is not a virtual environment: mv $venv $venv.old"
    fi
}

check_all() {
    check_platform
    check_python
    check_compiler
    check_cargo
    check_disk
    check_places
    [ ${#problems[@]} -eq 0 ] && return
    warn "scripts/setup: to be mended first:"
    printf '  - %s\n' "${problems[@]}" >&2
    exit 2
}
