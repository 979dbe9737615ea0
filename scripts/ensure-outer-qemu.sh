#!/usr/bin/env bash
# What emulates a host with hardware virtualization, for the tests that run Linux guests under the real Firecracker on a machine
# without: QEMU 10 or newer. With more than one processor it comes back from an inner guest, now and then, with a state of which
# the outer guest's kernel dies; older ones (seen with 7.2) do so more often. Where the distribution's own is older, that of its
# backports is unpacked below the user's cache folder. Nothing is installed.
#
#   scripts/ensure-outer-qemu.sh    prints the program
#
# Contract
#   - Debian on x86-64, with apt and the libraries of the distribution's own QEMU (scripts/ensure-test-tools.sh). Elsewhere it
#     says so and fails; the tests then take the QEMU that is there.
#   - Running it again is cheap and changes nothing. A newer one is taken when the folder is removed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/clarateach
folder=$cache/outer-qemu
program=$folder/usr/bin/qemu-system-x86_64
least=10

major() { "$1" --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p'; }

main() {
    local own
    own=$(command -v qemu-system-x86_64) || die "no qemu-system-x86_64: scripts/ensure-test-tools.sh installs it"
    local found
    found=$(major "$own")
    if [ "${found:-0}" -ge "$least" ]; then
        printf '%s\n' "$own"
        return
    fi
    if [ -e "$program" ]; then
        printf '%s\n' "$program"
        return
    fi
    local older="this machine's QEMU is older than $least, and no newer one is fetched"
    if ! have apt-get || [ "$(uname -m)" != x86_64 ]; then
        die "$older: not Debian on x86-64"
    fi
    mkdir -p "$cache"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    # The mirror that this machine is installed from: backports are there too, and signed by who signs the release.
    local mirror release
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt's own variable
    read -r mirror < <(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $release" 'Component: main') ||
        die "$older: apt has no mirror of a Debian release called ${release:-nothing}"
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    printf 'deb %s %s main\n' "$mirror" "$release" "$mirror" "$release-backports" >"$work/sources.list"
    local options=(-qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work")
    say "fetching QEMU $least or newer from $release-backports"
    apt-get "${options[@]}" update >&2 || die "$older: no package lists of $release-backports (see above)"
    (cd "$work" && apt-get "${options[@]}" -t "$release-backports" download qemu-system-x86 qemu-system-common qemu-system-data seabios >&2) || die "$older: it could not be fetched (see above)"
    local file
    for file in "$work"/*.deb; do
        dpkg-deb -x "$file" "$work/root"
    done
    found=$(major "$work/root/usr/bin/qemu-system-x86_64")
    [ "${found:-0}" -ge "$least" ] || die "$older: that of $release-backports is ${found:-one that does not run here}"
    # Whole or not at all.
    mv -T "$work/root" "$folder" 2>/dev/null || [ -e "$program" ] || die "cannot make $folder"
    printf '%s\n' "$program"
}

main
