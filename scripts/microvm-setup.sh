#!/usr/bin/env bash
# What a host needs for seats as microVMs: QEMU, nft, a kernel with its modules, the guest agent, and the service's program that puts
# the last three where it finds them. Ends with what the program says of this host, and what to do next.
#
#   scripts/microvm-setup.sh [--state-dir FOLDER] [--kernel PATH] [--program FILE --agent FILE]
#
#   --state-dir    the service's folder; /var/lib/clarateach unless said
#   --kernel       another kernel than the distribution's: the folder of an unpacked package, or a file that needs no modules (make kernel)
#   --program, --agent    an orchestrator and a guest agent that are built already; without them both are built here
#
# Contract
#   - Debian on x86-64, as root or with sudo: installs only what is missing. The kernel is unpacked below the user's cache
#     folder and not installed; the host goes on booting its own. On Ubuntu the same with --kernel, since it has no such kernel.
#   - Exit 0 means that the kernel is prepared. What else is missing is told, and no failure: it may come later.
#   - Running it again is cheap, and the same files give the same result. Seats that run are not disturbed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

place=()
program=
agent=
kernel=
while [ $# -gt 0 ]; do
    case $1 in
    --state-dir) place=(--state-dir "$(realpath -m "${2:?--state-dir needs a folder}")") && shift 2 ;;
    --kernel) kernel=$(realpath -e "${2:?--kernel needs a file or a folder}") && shift 2 ;;
    --program) program=$(realpath -e "${2:?--program needs a file}") && shift 2 ;;
    --agent) agent=$(realpath -e "${2:?--agent needs a file}") && shift 2 ;;
    *) die "unknown argument: $1 (usage: microvm-setup.sh [--state-dir FOLDER] [--kernel PATH] [--program FILE --agent FILE])" ;;
    esac
done
if ! is_linux || [ "$(uname -m)" != x86_64 ]; then
    die "microVMs are for Linux on x86-64; this is $(uname -s) on $(uname -m)"
fi
can_be_root || die "root is needed: QEMU is installed, and seats are users of their own. Run this as root, or install sudo."

missing=()
have qemu-system-x86_64 || missing+=(qemu-system-x86)
have_root nft || missing+=(nftables)
apt_install "${missing[@]}"

[ -n "$kernel" ] || kernel=$("$here/ensure-guest-kernel.sh")
cd "$here/.."
if [ -z "$agent" ]; then
    say "building the guest agent (minutes, the first time)"
    agent=$(cargo xtask agent)
fi
if [ -z "$program" ]; then
    say "building the service"
    cargo build --quiet --bin orchestrator
    program=$(realpath "${CARGO_TARGET_DIR:-target}/debug/orchestrator")
fi
as_root "$program" microvm setup --from "$kernel" --agent "$agent" "${place[@]}"

say
say "this host, as '$program doctor' sees it:"
as_root "$program" doctor --provider microvm "${place[@]}" || say "what is an error above keeps seats from being made"
say
say "to start the service, as root: $program serve --provider microvm ${place[*]}"
