#!/usr/bin/env bash
# Builds a guest kernel of our own from Debian's kernel source package: what a seat needs is part of it, there are no modules, and
# nothing else is in it (seat.config says what and why). Optional: seats run as well with a distribution's kernel.
#
#   images/kernel/build.sh [--source PACKAGE|FILE] [--cache DIR] [--check] [--keep]
#
#   --source    another package than linux-source-6.1, or one that was fetched elsewhere (linux-source-….deb), whose digest is then yours to check
#   --check     only the configuration: whether the source has every option of seat.config (a minute)
#   --keep      leave the build's folder (2 GB), so that the next build with another option takes less
#
#   DIR/kernel/, ~/.cache/clarateach/kernel/ unless said; its name is printed
#     vmlinux            an ELF file without symbols; entered by its PVH note
#     bzImage            the same, packed
#     config-VERSION     the whole configuration, which is in both as well
#     kernel.json        version, source, compiler and the digests of everything
#
# Contract
#   - Debian on x86-64 with apt, as root or with sudo for the packages that are missing; some 11 minutes on two cores, 3 GB meanwhile.
#   - Does nothing when DIR/kernel was made from the same source, fragment, scripts and compiler.
#   - The package is what apt's signed lists say, or is fetched again. A build that was interrupted goes on where it was.
#   - DIR/kernel is replaced when all of it is there. Names, times and the language of the machine do not get into it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/lib.sh
. "$here/../lib.sh"

source=linux-source-6.1
only_check=no
keep=no
while [ $# -gt 0 ]; do
    case $1 in
    --source) source=${2:?--source needs a package or a file} && shift 2 ;;
    --cache) image_cache=${2:?--cache needs a directory} && shift 2 ;;
    --check) only_check=yes && shift ;;
    --keep) keep=yes && shift ;;
    *) die "unknown argument: $1 (usage: build.sh [--source PACKAGE|FILE] [--cache DIR] [--check] [--keep])" ;;
    esac
done

# Free space in MB that sources, objects and result take together.
room=3000

main() {
    if ! is_linux || [ "$(uname -m)" != x86_64 ]; then
        die "the guest kernel is built on Linux on x86-64"
    fi
    have apt-get || die "apt-get not found: the guest kernel is built on Debian"
    mkdir -p "$image_cache"
    image_cache=$(realpath "$image_cache")
    result=$image_cache/kernel
    work=$image_cache/kernel-build
    tree=$work/linux
    # One at a time; builds of images go on meanwhile.
    if have flock; then
        exec {lock}>"$image_cache/.kernel-lock"
        flock "$lock"
    fi
    install_tools
    name_source
    local key
    key=$(cd "$here" && { printf '%s\n' "$source_id" && gcc --version && ld --version && lz4 --version; } |
        image_key build.sh check.sh seat.config)
    if [ "$only_check" = no ] && grep -qsF "\"key\": \"$key\"" "$result/kernel.json"; then
        say "guest kernel: up to date"
        printf '%s\n' "$result"
        return
    fi
    unpack
    configure
    if [ "$only_check" = yes ]; then
        say "guest kernel: $(grep -c '^CONFIG_.*=y$' "$tree/.config") options, all of seat.config among them; the sources stay in $work for the build"
        return
    fi
    compile
    store "$key"
    [ "$keep" = yes ] || rm -rf "$work"
    printf '%s\n' "$result"
}

install_tools() {
    local -a missing=()
    if ! have gcc || ! have make || [ ! -e /usr/include/stdio.h ]; then missing+=(build-essential); fi
    have flex || missing+=(flex)
    have bison || missing+=(bison)
    have bc || missing+=(bc)
    have xz || missing+=(xz-utils)
    have lz4 || missing+=(lz4)
    # For objtool, which the kernel's build makes for itself.
    [ -e /usr/include/gelf.h ] || missing+=(libelf-dev)
    apt_install "${missing[@]}"
}

# Sets source_id, which stands for the source's bytes, and for a package source_version and source_digest.
name_source() {
    if [ -f "$source" ]; then
        source=$(realpath "$source")
        source_id="${source##*/} $(sha256sum <"$source" | cut -c 1-64)"
        return
    fi
    apt_has_lists || apt_update || die "apt-get update failed (see above)"
    source_version=$(LC_ALL=C apt-cache policy "$source" | sed -n 's/^ *Candidate: \([0-9].*\)$/\1/p')
    [ -n "$source_version" ] || die "this distribution has no package $source: name another one (apt-cache search '^linux-source-') or a file by --source"
    source_digest=$(apt-cache show "$source=$source_version" | sed -n 's/^SHA256: //p' | head -n 1)
    [ -n "$source_digest" ] || die "the package lists have no digest of $source $source_version"
    source_id="$source $source_version $source_digest"
}

# Prints the package's file, which is fetched unless it is there and whole.
package_file() {
    if [ -f "$source" ]; then
        printf '%s\n' "$source"
        return
    fi
    local folder=$work/package file
    mkdir -p "$folder"
    for attempt in first second; do
        for file in "$folder"/*.deb; do
            if [ -f "$file" ] && [ "$(sha256sum <"$file" | cut -c 1-64)" = "$source_digest" ]; then
                printf '%s\n' "$file"
                return
            fi
            rm -f "$file"
        done
        [ "$attempt" = first ] || break
        say "fetching $source $source_version (140 MB)"
        (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$source=$source_version" >&2) ||
            die "could not fetch it (see above; if the mirror no longer has it: apt-get update)"
    done
    die "$source $source_version is not what the package lists say (its SHA-256 is another one): run apt-get update, then this again"
}

# Unpacks the sources, unless those of this package are there already.
unpack() {
    [ "$(cat "$work/source" 2>/dev/null)" != "$source_id" ] || return 0
    [ ! -e "$work/source" ] || rm -rf "$work"
    mkdir -p "$work"
    local free file
    free=$(df -Pk "$work" | awk 'NR == 2 { print int($4 / 1000) }')
    [ "$free" -ge "$room" ] || die "$work needs $room MB for the build, and its file system has $free MB: name another folder by --cache"
    file=$(package_file)
    say "unpacking it"
    rm -rf "$tree"
    mkdir "$tree"
    dpkg-deb --fsys-tarfile "$file" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
        tar -xJ -C "$tree" --strip-components=1 || die "$file cannot be unpacked: is it Debian's linux-source?"
    rm -rf "$work/package"
    # Last: what was interrupted is begun anew.
    printf '%s\n' "$source_id" >"$work/source"
}

# The kernel's make: nothing of this machine's names, time or language, and nothing that another make has set, gets into it.
kmake() {
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u KCFLAGS -u KCPPFLAGS -u KAFLAGS -u CROSS_COMPILE LC_ALL=C TZ=UTC \
        make -C "$tree" --no-print-directory ARCH=x86_64 LOCALVERSION= \
        KBUILD_BUILD_TIMESTAMP="$(LC_ALL=C date -u -d "@$image_epoch")" KBUILD_BUILD_VERSION=1 \
        KBUILD_BUILD_USER=clarateach KBUILD_BUILD_HOST=clarateach "$@"
}

# logged WHAT COMMAND... : its output goes to the log, whose end is shown when it fails.
logged() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        tail -n 40 "$work/log" >&2
        die "$what failed (the end of its log is above, all of it is in $work/log)"
    }
}

# Everything is off that seat.config does not ask for. Then it is asked whether that is what came out.
configure() {
    logged "configuring the kernel" kmake KCONFIG_ALLCONFIG="$here/seat.config" allnoconfig
    logged "configuring the kernel" kmake olddefconfig
    "$here/check.sh" "$here/seat.config" "$tree/.config"
}

compile() {
    say "building the guest kernel (about 11 minutes on two cores)"
    logged "building the kernel" kmake -j "$(nproc)" vmlinux bzImage
}

# store KEY : the result, whole or not at all.
store() {
    local release new
    release=$(cat "$tree/include/config/kernel.release")
    # Of a build that was killed.
    find "$image_cache" -maxdepth 1 -name 'kernel.??????' -exec rm -rf {} +
    new=$(mktemp -d "$image_cache/kernel.XXXXXX")
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -rf '$new'" EXIT
    chmod 755 "$new"
    # What a monitor loads is in it all the same, and every prepared boot has a copy.
    objcopy --strip-all "$tree/vmlinux" "$new/vmlinux"
    cp "$tree/arch/x86/boot/bzImage" "$new/bzImage"
    cp "$tree/.config" "$new/config-$release"
    chmod 644 "$new"/*
    describe "$1" "$release" "$new" >"$new/kernel.json"
    rm -rf "$image_cache/kernel.old"
    [ ! -e "$result" ] || mv -T "$result" "$image_cache/kernel.old"
    mv -T "$new" "$result"
    rm -rf "$image_cache/kernel.old"
    say "guest kernel: Linux $release in $result ($(du -h --apparent-size "$result/vmlinux" | cut -f 1) as vmlinux, $(du -h --apparent-size "$result/bzImage" | cut -f 1) as bzImage)"
}

# describe KEY RELEASE FOLDER : kernel.json
describe() {
    digest() { sha256sum <"$1" | cut -c 1-64; }
    cat <<END
{
  "key": "$1",
  "version": "$2",
  "source": "$source_id",
  "compiler": "$(gcc --version | head -n 1 | tr -dc '[:alnum:] ().+~:_-')",
  "fragment_sha256": "$(digest "$here/seat.config")",
  "config_sha256": "$(digest "$3/config-$2")",
  "vmlinux_sha256": "$(digest "$3/vmlinux")",
  "bzimage_sha256": "$(digest "$3/bzImage")"
}
END
}

main
