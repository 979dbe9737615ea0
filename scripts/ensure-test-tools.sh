#!/usr/bin/env bash
# Makes sure that no tier of the tests is skipped for want of a small program: Python with venv, shellcheck, iproute2
# (network namespaces), e2fsprogs, and what the deployment is tested with.
#
# Contract
#   - Debian/Ubuntu, as root or with sudo: installs only what is missing. Elsewhere it only says what is missing: the tests
#     skip what they cannot run, and count it.
#   - Running it again is cheap and changes nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"

missing=()
have python3 || missing+=(python3)
# Debian splits what makes environments off python3.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
have shellcheck || missing+=(shellcheck)
# Network namespaces, for the tests that start an engine of their own.
! is_linux || have_root ip || missing+=(iproute2)
# What judges the file systems that images become.
! is_linux || have_root e2fsck || missing+=(e2fsprogs)
# What boots them. The kernel is fetched by scripts/ensure-guest-kernel.sh.
! is_linux || have qemu-system-x86_64 || missing+=(qemu-system-x86)
# The deployment: the compose file, the packages that its images are made of, and the unit.
docker compose version >/dev/null 2>&1 || have docker-compose || missing+=(docker-compose)
# A registry, for the images that come from one.
! is_linux || have docker-registry || missing+=(docker-registry)
have mmdebstrap || missing+=(mmdebstrap)
! is_linux || have_root nft || missing+=(nftables)
# An operator's network of CNI, for seats that are on one.
! is_linux || [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
! is_linux || have systemd-analyze || missing+=(systemd)

if [ "${#missing[@]}" -gt 0 ]; then
    if have apt-get && can_be_root; then
        apt_install "${missing[@]}"
        # The tests start registries of their own; the one that the package brings is nobody's.
        if [[ " ${missing[*]} " == *" docker-registry "* ]] && [ -d /run/systemd/system ]; then
            as_root systemctl disable --now docker-registry || true
        fi
    else
        say "note: not installed, so some tests will be skipped: ${missing[*]}"
    fi
fi
