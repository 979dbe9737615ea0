# shellcheck shell=bash
# Helpers shared by the scripts in scripts/ and images/. Source it, don't run it.
# It changes nothing by itself and expects `set -euo pipefail` in the caller.

# Messages go to standard error, so that a script's standard output stays usable by another program.
say() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_linux() { [ "$(uname -s)" = Linux ]; }
is_macos() { [ "$(uname -s)" = Darwin ]; }

can_be_root() { [ "$(id -u)" -eq 0 ] || have sudo; }

# Runs a command as root: directly, or through sudo. PATH includes sbin, where a plain user may not look.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        PATH="$PATH:/usr/sbin:/sbin" "$@"
    elif have sudo; then
        sudo -- env PATH="$PATH:/usr/sbin:/sbin" "$@"
    else
        die "root is needed for: $*
Run this as root, or install sudo."
    fi
}

# Like `have`, but also finds the programs that only root has in its PATH.
have_root() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# Refreshes the package lists once per run.
apt_updated=no
apt_update() {
    [ "$apt_updated" = no ] || return 0
    say "refreshing the package lists"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 || return
    apt_updated=yes
}

# Installs packages without questions. Refreshes the lists when they are missing, or so old that the mirror no
# longer has the files that they name.
apt_install() {
    [ $# -gt 0 ] || return 0
    have apt-get || die "apt-get not found; install these yourself, then run this again: $*"
    apt_has_lists || apt_update || die "apt-get update failed (see above)"
    say "installing: $*"
    if ! apt_get_install "$@"; then
        if ! apt_update || ! apt_get_install "$@"; then
            die "could not install: $* (see above)"
        fi
    fi
}

# Quiet while it goes well: what apt says is shown when it fails.
apt_get_install() {
    local output
    output=$(as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        install -y --no-install-recommends "$@" 2>&1) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

# True when package lists are there: a fresh container image has none.
apt_has_lists() {
    local file
    # shellcheck disable=SC2016 # apt's own variable
    while read -r file; do
        [ ! -e "$file" ] || return 0
    done < <(apt-get indextargets --format '$(FILENAME)' 'Identifier: Packages' 2>/dev/null)
    return 1
}
