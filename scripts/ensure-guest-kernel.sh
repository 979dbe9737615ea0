#!/usr/bin/env bash
# What tests boot guests with: the distribution's small cloud kernel with its modules, and a static busybox, unpacked below the
# user's cache folder. Nothing is installed.
#
#   scripts/ensure-guest-kernel.sh            prints the folder: boot/vmlinuz-*, lib/modules/*, bin/busybox
#   scripts/ensure-guest-kernel.sh generic    the same of the kernel for all machines, which has what a host of guests needs (9p, KVM, bridges)
#
# Contract
#   - Debian on x86-64, with apt. Elsewhere it says so and fails; the tests that boot then count as skipped.
#   - Running it again is cheap and changes nothing. A newer kernel is taken when the folder is removed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/clarateach
case ${1:-cloud} in
cloud) folder=$cache/guest name=linux-image-cloud-amd64 ;;
generic) folder=$cache/guest-generic name=linux-image-amd64 ;;
*) die "no kernel is called $1: cloud or generic" ;;
esac

elsewhere="For seats, name a kernel: make microvm-setup KERNEL=FILE (docs/microvm.md, Another distribution)."

main() {
    if [ -e "$folder/bin/busybox" ]; then
        printf '%s\n' "$folder"
        return
    fi
    if ! is_linux || [ "$(uname -m)" != x86_64 ]; then
        die "a guest kernel is only fetched on Linux on x86-64"
    fi
    have apt-get || die "apt-get not found: a guest kernel is only fetched on Debian.
$elsewhere"
    mkdir -p "$cache"
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    apt_has_lists || apt_update || die "apt-get update failed (see above)"
    local package
    package=$({ apt-cache depends "$name" 2>/dev/null || true; } | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || die "this distribution has no $name, which is Debian's.
$elsewhere"
    say "fetching $package"
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" busybox-static >&2) || die "could not fetch it (see above)"
    local file
    for file in "$work"/*.deb; do
        dpkg-deb -x "$file" "$work/root"
    done
    [ -d "$work/root/lib/modules" ] || ln -s usr/lib "$work/root/lib"
    find "$work/root" -name '*.ko.xz' -exec xz -d {} +
    # usr/bin/busybox on newer releases.
    [ -e "$work/root/bin/busybox" ] || install -D -m 755 "$work/root/usr/bin/busybox" "$work/root/bin/busybox"
    # Which module needs which: not in the package, and this machine may have no depmod.
    "$work/root/bin/busybox" depmod -b "$work/root" "$(basename "$work"/root/lib/modules/*)"
    # Whole or not at all.
    mv -T "$work/root" "$folder" 2>/dev/null || [ -e "$folder/bin/busybox" ] || die "cannot make $folder"
    printf '%s\n' "$folder"
}

main
