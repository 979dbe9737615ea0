#!/usr/bin/env bash
# Builds the testbed images: two megabytes around a static busybox, which start in milliseconds and behave as tests need
# it. All tags share one layer and differ in their metadata only.
#
#   images/testbed/build.sh
#
#   clarateach-testbed               answers GET /health on 3001 and 3002, ends at once on SIGTERM
#   clarateach-testbed:exits         says "boom: no licence file" on standard error and exits with 3
#   clarateach-testbed:mute          runs, but never listens
#   clarateach-testbed:slow          listens only after 5 s
#   clarateach-testbed:healthcheck   like the first, with a HEALTHCHECK that succeeds
#   clarateach-testbed:unhealthy     like the first, with a HEALTHCHECK that fails
#   clarateach-testbed:stubborn      like the first, but ignores SIGTERM
#   clarateach-testbed:noport        exposes no port and listens on none
#   clarateach-testbed:volume        like the first, and declares a volume of its own
#   clarateach-testbed:broken        declares a volume, and its program is not there
#
# Contract: no registry, no root; does nothing when all tags were made from the same inputs. Takes the machine's static
# busybox, or apt's when it has none. Any other command than those is run as it is (`docker run … sh -c …`); use addresses
# in it, not names: a static busybox can't look up names in DNS.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=images/lib.sh
. "$here/../lib.sh"

name=clarateach-testbed
[ $# -eq 0 ] || die "unknown argument: $1 (usage: build.sh)"

main() {
    have docker || die "docker not found: run scripts/ensure-docker.sh first"
    is_linux || die "the testbed images are built on Linux"
    local key
    key=$(cd "$here/.." && dpkg --print-architecture | image_key lib.sh testbed)
    if all_tags_have "$key"; then
        say "$name: up to date"
        return
    fi

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    build_archive "$work/root.tar"
    local ports='EXPOSE 3001 3002'
    local check='HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD'
    add latest serve "$ports"
    add exits exits "$ports"
    add mute idle "$ports"
    add slow slow "$ports"
    add healthcheck serve "$ports" "$check [\"busybox\", \"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:3001/health\"]"
    add unhealthy serve "$ports" "$check [\"sh\", \"-c\", \"echo not well; exit 1\"]"
    add stubborn stubborn "$ports"
    add noport idle
    add volume serve "$ports" 'VOLUME /extra'
    import_image "$work/root.tar" "$name:broken" "$key" "$ports" 'VOLUME /extra' 'ENTRYPOINT ["/nope"]'
}

# add TAG BEHAVIOUR CHANGE...
add() {
    local tag=$1 behaviour=$2
    shift 2
    import_image "$work/root.tar" "$name:$tag" "$key" "$@" \
        'ENV PATH=/bin WORKSPACE_DIR=/workspace' 'USER 1000:1000' 'WORKDIR /workspace' \
        'ENTRYPOINT ["/bin/testbed"]' "CMD [\"$behaviour\"]"
}

all_tags_have() {
    local tag
    for tag in latest exits mute slow healthcheck unhealthy stubborn noport volume broken; do
        image_has_key "$name:$tag" "$1" || return 1
    done
}

# build_archive FILE
build_archive() {
    local root=$work/root applet
    mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp,www,workspace}
    install -m 755 "$(static_busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    install -m 755 "$here/testbed.sh" "$root/bin/testbed"
    printf '%s\n' 'root:x:0:0:root:/:/bin/sh' 'learner:x:1000:1000::/workspace:/bin/sh' >"$root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'learner:x:1000:' >"$root/etc/group"
    printf '{"status": "ok", "service": "testbed"}\n' >"$root/www/health"
    chmod -R u=rwX,go=rX "$root"
    chmod 1777 "$root/tmp"

    local -a reproducible=(--sort=name --mtime="@$image_epoch" --numeric-owner -C "$root")
    tar "${reproducible[@]}" --owner=0 --group=0 --exclude=./workspace -cf "$1" .
    # The engine copies this owner into the volume that it mounts there for the first time.
    tar "${reproducible[@]}" --owner=1000 --group=1000 -rf "$1" ./workspace
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

main
