#!/usr/bin/env bash
# Builds the corpus: images that stand for what workshops bring, on which the converter of crates/rootfs is proven.
#
#   images/corpus/build.sh [scratch] [twenty] [node] [debian]        without a name: all of them
#
#   clarateach-corpus:scratch    one static busybox and nothing else
#   clarateach-corpus:twenty     twenty layers with everything that a layer can do (layers.py)
#   clarateach-corpus:node       more than 20,000 small files: node_modules of npm's registry, as locked in node/
#   clarateach-corpus:debian     a Debian or Ubuntu with a tool chain, more than 500 MB
#
# Contract: no image registry; does nothing for an image that was made from the same inputs. The last two are kept as archives
# in ~/.cache/clarateach, so that they are made once. `node` needs npm, `debian` needs mmdebstrap and root or sudo.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/lib.sh
. "$here/../lib.sh"

name=clarateach-corpus
packages=g++,git,perl,python3,make,gdb,cmake,clang,ca-certificates
path='ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

main() {
    have docker || die "docker not found: run scripts/ensure-docker.sh first"
    is_linux || die "the corpus is built on Linux"
    [ $# -gt 0 ] || set -- scratch twenty node debian
    local image key
    for image in "$@"; do
        case $image in scratch | twenty | node | debian) ;; *) die "unknown image: $image (usage: build.sh [scratch] [twenty] [node] [debian])" ;; esac
    done
    for image in "$@"; do
        key=$(cd "$here/.." && "key_of_$image")
        if image_has_key "$name:$image" "$key"; then
            say "$name:$image: up to date"
            continue
        fi
        work=$(mktemp -d /var/tmp/clarateach-corpus.XXXXXX)
        trap 'as_root rm -rf --one-file-system "$work"' EXIT
        "make_$image" "$key"
        as_root rm -rf --one-file-system "$work"
    done
}

key_of_scratch() { dpkg --print-architecture | image_key lib.sh corpus/build.sh; }
key_of_twenty() { dpkg --print-architecture | image_key lib.sh corpus/build.sh corpus/layers.py; }
key_of_node() { dpkg --print-architecture | image_key lib.sh corpus/build.sh corpus/node; }
key_of_debian() {
    read_distribution
    echo "$distro $codename $(dpkg --print-architecture) $packages" | image_key lib.sh corpus/build.sh
}

make_scratch() {
    shell_only "$work/root"
    archive "$work/root" "$work/root.tar"
    import_image "$work/root.tar" "$name:scratch" "$1" 'ENTRYPOINT ["/bin/sh"]'
}

# Loaded and not imported: an import has one layer.
make_twenty() {
    have python3 || die "python3 not found: it writes the layers"
    local old
    old=$(docker image inspect --format '{{.Id}}' "$name:twenty" 2>/dev/null || true)
    python3 -I -B "$here/layers.py" "$(static_busybox)" "$(dpkg --print-architecture)" "$name:twenty" "$key_label=$1" >"$work/image.tar"
    docker load -q -i "$work/image.tar" >/dev/null
    drop_replaced_image "$old"
    say "$name:twenty: $(docker image inspect --format '{{len .RootFS.Layers}} layers' "$name:twenty")"
}

make_node() {
    lock_cache
    local kept=$image_cache/corpus-node-$1.tar
    if [ ! -s "$kept" ]; then
        have npm || die "npm not found: it fetches what this image is made of"
        shell_only "$work/root"
        mkdir "$work/root/app"
        cp "$here/node/package.json" "$here/node/package-lock.json" "$work/root/app"
        (cd "$work/root/app" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
        local files
        files=$(find "$work/root/app/node_modules" -type f | wc -l)
        [ "$files" -ge 20000 ] || die "node_modules has $files files, and not 20,000"
        archive "$work/root" "$work/root.tar"
        store_archive "$work/root.tar" corpus-node "$1"
    fi
    import_image "$kept" "$name:node" "$1" 'ENV NODE_ENV=production' 'WORKDIR /app' 'USER 1000' 'CMD ["sh"]'
}

make_debian() {
    lock_cache
    read_distribution
    local kept=$image_cache/corpus-debian-$1.tar
    if [ ! -s "$kept" ]; then
        have mmdebstrap || die "mmdebstrap not found: run scripts/ensure-test-tools.sh first"
        local sources
        sources=$(distribution_sources)
        local -a options=()
        while read -r option; do
            options+=(--aptopt="$option")
        done < <(apt-config dump | grep -E '^Acquire::(https?::|Check-Date |Check-Valid-Until |Retries )' | grep -v ' "";$')
        say "building a $distro $codename with a tool chain (minutes)"
        if ! as_root env TMPDIR=/var/tmp SOURCE_DATE_EPOCH="$image_epoch" \
            mmdebstrap --mode=root --variant=minbase --format=tar --include="$packages" "${options[@]}" \
            "$codename" - - <<<"$sources" >"$work/root.tar" 2>"$work/log"; then
            tail -n 40 "$work/log" >&2
            die "building the userland failed (the end of its log is above)"
        fi
        store_archive "$work/root.tar" corpus-debian "$1"
    fi
    import_image "$kept" "$name:debian" "$1" "$path" 'ENV LANG=C.UTF-8' 'USER www-data' 'WORKDIR /usr/src' 'CMD ["bash"]'
    local size
    size=$(docker image inspect --format '{{.Size}}' "$name:debian")
    [ "$size" -ge 500000000 ] || die "$name:debian has $size bytes, and not 500 MB"
}

# shell_only DIRECTORY : a root with a shell and what a runtime needs.
shell_only() {
    local applet
    mkdir -p "$1"/{bin,dev,etc,proc,sys,tmp}
    install -m 755 "$(static_busybox)" "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
    done
    printf '%s\n' 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"
}

# archive DIRECTORY FILE
archive() {
    chmod -R u=rwX,go=rX "$1"
    tar --sort=name --mtime="@$image_epoch" --numeric-owner --owner=0 --group=0 -C "$1" -cf "$2" .
}

static_busybox() {
    local found
    found=$(command -v busybox || true)
    # For a static program, ldd fails.
    if [ -n "$found" ] && ! ldd "$found" >/dev/null 2>&1; then
        printf '%s\n' "$found"
        return
    fi
    # Not installed: that would remove a busybox with shared libraries, which the machine may boot with.
    apt_has_lists || apt_update || die "apt-get update failed (see above)"
    say "fetching busybox-static"
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download busybox-static >&2 && dpkg-deb -x busybox-static_*.deb "$work/deb") ||
        die "could not fetch busybox-static (see above)"
    find "$work/deb" -path '*/bin/busybox' -type f
}

main "$@"
