#!/bin/sh
# Builds the service as one static binary for the architecture of this machine, and puts it where it is wanted.
#
#   deploy/docker/build-static.sh FILE
#
# Needs cargo, a C linker and libc.a (Debian: gcc, libc6-dev). The Dockerfile calls it inside an image with these; called
# on a host it makes the same binary, under CARGO_TARGET_DIR as any other build.
set -eu
[ $# -eq 1 ] || {
    echo "usage: build-static.sh FILE" >&2
    exit 2
}
case $1 in
/*) wanted=$1 ;;
*) wanted=$PWD/$1 ;;
esac
cd "$(dirname "$0")/../.."

# The target is named although it is the machine's own: only then do the flags spare build scripts and macros, which must
# be dynamic.
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --bin orchestrator --target "$target"
built=${CARGO_TARGET_DIR:-target}/$target/release/orchestrator

# A binary that needs a loader would not start in an image that has none.
case $(LC_ALL=C ldd "$built" 2>&1 || true) in
*'statically linked'* | *'not a dynamic executable'*) ;;
*)
    echo "build-static.sh: $built is not static; is libc.a installed (Debian: libc6-dev)?" >&2
    exit 1
    ;;
esac
mkdir -p "$(dirname "$wanted")"
cp "$built" "$wanted.new"
chmod 755 "$wanted.new"
mv "$wanted.new" "$wanted"
