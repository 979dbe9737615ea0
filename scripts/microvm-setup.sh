#!/usr/bin/env bash
# What a host needs for seats as microVMs: QEMU, nft, a kernel with its modules, the guest agent, and the service's program that puts
# the last three where it finds them.
#
#   scripts/microvm-setup.sh [ARGUMENT…]     the arguments go to `orchestrator microvm setup`, such as --state-dir FOLDER
#
# Contract
#   - Debian or Ubuntu on x86-64, as root or with sudo: installs only what is missing. The kernel is unpacked below the user's cache
#     folder and not installed; the host goes on booting its own.
#   - Running it again is cheap. Seats that run are not disturbed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

if ! is_linux || [ "$(uname -m)" != x86_64 ]; then
    die "microVMs are for Linux on x86-64; this is $(uname -s) on $(uname -m)"
fi

missing=()
have qemu-system-x86_64 || missing+=(qemu-system-x86)
have_root nft || missing+=(nftables)
apt_install "${missing[@]}"

kernel=$("$here/ensure-guest-kernel.sh")
cd "$here/.."
say "building the guest agent and the service"
agent=$(cargo xtask agent)
cargo build --quiet --bin orchestrator
program=${CARGO_TARGET_DIR:-target}/debug/orchestrator
as_root "$program" microvm setup --from "$kernel" --agent "$agent" "$@"
