#!/usr/bin/env bash
# Removes one seat of a workshop, and its data unless --keep-data is given.
#
#   destroy-container.sh WORKSHOP SEAT [--keep-data]
#
# TEMPORARY: for callers of the former shell scripts, until they call the service itself (README.md beside this file).
#
# A seat that is not there is a warning and ends with 0; data that was kept of it stays. Any failure ends with 1.
set -euo pipefail
usage='destroy-container.sh WORKSHOP SEAT [--keep-data]'
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
# shellcheck source=deploy/compat/lib.sh
. "$here/lib.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ]; then bad_arguments "expected 2 or 3 arguments, got $#"; fi
check_workshop "$1"
# Not only up to 10: what the service made can be removed here, too.
case $2 in
    '' | 0* | *[!0123456789]* | ?????*) bad_arguments "SEAT must be a number from 1 to 9999" ;;
esac
case ${3-} in
    '' | --keep-data) ;;
    *) bad_arguments "unknown option: $3" ;;
esac
find_program

name=$(container_of "$1" "$2")
find_seats "$1"
if ! is_there "$2"; then
    printf 'Warning: Container %s does not exist\n' "$name" >&2
    exit 0
fi
run seat destroy ${3:+"$3"} -- "$1" "$2" || exit 1
if [ -n "${3-}" ]; then data=kept; else data=removed; fi
printf 'Container destroyed: %s\nVolume %s: %s-data\n' "$name" "$data" "$name"
