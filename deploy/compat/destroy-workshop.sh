#!/usr/bin/env bash
# Removes all seats of a workshop and its network, and the seats' data unless --keep-data is given.
#
#   destroy-workshop.sh WORKSHOP [--keep-data]
#
# TEMPORARY: for callers of the former shell scripts, until they call the service itself (README.md beside this file).
#
# A workshop that is not there is a warning and ends with 0; data that was kept of it stays. Any failure ends with 1.
set -euo pipefail
usage='destroy-workshop.sh WORKSHOP [--keep-data]'
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
# shellcheck source=deploy/compat/lib.sh
. "$here/lib.sh"

if [ $# -lt 1 ] || [ $# -gt 2 ]; then bad_arguments "expected 1 or 2 arguments, got $#"; fi
check_workshop "$1"
case ${2-} in
    '' | --keep-data) ;;
    *) bad_arguments "unknown option: $2" ;;
esac
find_program

find_seats "$1"
if [ "$there" = ' ' ]; then
    printf 'Warning: No containers found for workshop: %s\n' "$1" >&2
    exit 0
fi
run class down ${2:+"$2"} -- "$1" || exit 1
if [ -n "${2-}" ]; then data=kept; else data=removed; fi
printf 'Workshop destroyed: %s\nVolumes %s\n' "$1" "$data"
