#!/usr/bin/env bash
# Builds the reference workspace image: a small Debian (or Ubuntu) userland from this machine's own apt sources, with
# the two servers of rootfs/ in it. No image registry is involved.
#
#   images/workspace/build.sh [--tag NAME] [--archive FILE] [--cache DIR] [--refresh]
#
# Contract
#   - Does nothing when the local image NAME was made from the same inputs (package list, our files, these scripts,
#     the distribution's release); the label org.clarateach.image.key tells.
#   - The root filesystem archive is kept in DIR (default ~/.cache/clarateach), so an image that was removed is back in
#     seconds. --refresh ignores image and archive, to take in the distribution's security updates.
#   - --archive FILE writes the image into a file like those of `docker save`, and needs no engine; for seats as microVMs.
#   - Needs root or sudo (a userland is unpacked with its owners), mmdebstrap or debootstrap, and for all but a file a
#     Docker engine: scripts/ensure-docker.sh brings all of it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/lib.sh
. "$here/../lib.sh"
# shellcheck source=images/archive.sh
. "$here/../archive.sh"

tag=clarateach-workspace
file=
refresh=no
while [ $# -gt 0 ]; do
    case $1 in
    --tag) tag=${2:?--tag needs a name} && shift 2 ;;
    --archive) file=${2:?--archive needs a file} && shift 2 ;;
    --cache) image_cache=${2:?--cache needs a directory} && shift 2 ;;
    --refresh) refresh=yes && shift ;;
    *) die "unknown argument: $1 (usage: build.sh [--tag NAME] [--archive FILE] [--cache DIR] [--refresh])" ;;
    esac
done

main() {
    if [ -z "$file" ]; then
        have docker || die "docker not found: run scripts/ensure-docker.sh first, or write the image into a file with --archive FILE"
    else
        [ -d "$(dirname "$file")" ] || die "there is no folder for $file"
    fi
    read_distribution
    local key
    key=$(cd "$here/.." && echo "$distro $codename $(dpkg --print-architecture)" |
        image_key lib.sh workspace/build.sh workspace/customize.sh workspace/packages workspace/rootfs)
    if [ "$refresh" = no ] && is_there "$key"; then
        say "$tag: up to date"
        return
    fi

    lock_cache
    local archive=$image_cache/workspace-$key.tar
    if [ "$refresh" = yes ] || [ ! -s "$archive" ]; then
        build_archive "$key"
    fi
    # No HEALTHCHECK: the service itself asks both ports when a seat starts. A check by the engine would run a process
    # in every seat, again and again, for as long as the class lasts.
    make_image "$archive" "$key" \
        'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=xterm-256color' \
        'ENV WORKSPACE_DIR=/workspace TERMINAL_PORT=3001 FILES_PORT=3002 AUTH_DISABLED=false' \
        'ENV PYTHONPYCACHEPREFIX=/home/learner/.cache/python' \
        'EXPOSE 3001 3002' \
        'USER learner' \
        'WORKDIR /workspace' \
        'ENTRYPOINT ["/usr/bin/python3", "-I", "-B", "/usr/local/lib/clarateach-workspace"]' \
        'CMD []'
}

# is_there KEY
is_there() {
    if [ -n "$file" ]; then image_file_has_key "$file" "$1"; else image_has_key "$tag" "$1"; fi
}

# make_image ARCHIVE KEY CHANGE...
make_image() {
    local archive=$1 key=$2
    shift 2
    if [ -n "$file" ]; then
        # As an engine writes it.
        case ${tag##*/} in *:*) ;; *) tag=$tag:latest ;; esac
        write_image "$archive" "$file" "$tag" "$key" "$@"
    else
        import_image "$archive" "$tag" "$key" "$@"
    fi
}

# build_archive KEY
build_archive() {
    local sources packages
    sources=$(distribution_sources)
    packages=$(sed 's/#.*//' "$here/packages" | xargs | tr ' ' ,)
    work=$(mktemp -d "$image_cache/build.XXXXXX")
    trap 'as_root rm -rf --one-file-system "$work"' EXIT

    say "building the $distro $codename userland (about a minute)"
    local tool=with_debootstrap
    ! have mmdebstrap || tool=with_mmdebstrap
    if ! "$tool" "$sources" "$packages" "$work/root.tar" >"$work/log" 2>&1; then
        tail -n 40 "$work/log" >&2
        die "building the userland failed (the end of its log is above)"
    fi
    store_archive "$work/root.tar" workspace "$1"
}

# with_mmdebstrap SOURCES PACKAGES ARCHIVE
with_mmdebstrap() {
    local -a options=()
    # What this machine needs to reach its mirror (a proxy, a snapshot's old dates) the build needs, too.
    while read -r option; do
        options+=(--aptopt="$option")
    done < <(apt-config dump | grep -E '^Acquire::(https?::|Check-Date |Check-Valid-Until |Retries )' | grep -v ' "";$')
    # The temporary directory must allow device nodes: /tmp often does not.
    # shellcheck disable=SC2016 # $1 is mmdebstrap's, in the hook
    as_root env TMPDIR=/var/tmp SOURCE_DATE_EPOCH="$image_epoch" \
        mmdebstrap --mode=root --variant=apt --format=tar --include="$2" "${options[@]}" \
        --customize-hook="sh '$here/customize.sh' \"\$1\" '$here/rootfs' $image_epoch" \
        "$codename" - - <<<"$1" >"$3"
}

# The same, slower, with what even a minimal Debian offers.
with_debootstrap() {
    local root=$work/root
    have_root debootstrap || apt_install debootstrap
    # The release itself first; its updates are applied inside.
    local mirror
    mirror=$(awk -v suite="$codename" '$3 == suite { print $2; exit }' <<<"$1")
    as_root debootstrap --variant=minbase --include="$2" "$codename" "$root" "$mirror"
    as_root tee "$root/etc/apt/sources.list" <<<"$1"
    as_root cp /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump | grep -E '^Acquire::(https?::|Check-Date |Check-Valid-Until |Retries )' |
        as_root tee "$root/etc/apt/apt.conf.d/99mmdebstrap"
    as_root env DEBIAN_FRONTEND=noninteractive chroot "$root" sh -c \
        'apt-get update && apt-get upgrade -y && apt-get clean && rm -rf /var/lib/apt/lists/*'
    as_root sh "$here/customize.sh" "$root" "$here/rootfs" "$image_epoch"
    as_root tar -C "$root" --sort=name --mtime="@$image_epoch" --clamp-mtime --numeric-owner \
        --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -cf - . >"$3"
}

main
