#!/usr/bin/env bash
# Makes the seats 1 to SEATS of a workshop, side by side. Prints for each what create-container.sh prints.
#
#   create-workshop.sh WORKSHOP SEATS [API_KEY]
#
# TEMPORARY: for callers of the former shell scripts, until they call the service itself (README.md beside this file).
#
# The argument API_KEY can be seen in the process list for an instant; the variable ORCHESTRATOR_API_KEY can not.
# WORKSPACE_IMAGE, JWKS_URL and AUTH_DISABLED are the seats', where they are set. Ends with 1 when a seat was not made,
# because it failed or was there already; the others stay.
set -euo pipefail
usage='create-workshop.sh WORKSHOP SEATS [API_KEY]'
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
# shellcheck source=deploy/compat/lib.sh
. "$here/lib.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ]; then bad_arguments "expected 2 or 3 arguments, got $#"; fi
hide_key "$@"
check_workshop "$1"
case $2 in
    [123456789] | 10) ;;
    *) bad_arguments "SEATS must be a number from 1 to 10" ;;
esac
find_program

numbers=()
for ((seat = 1; seat <= $2; seat++)); do numbers+=("$seat"); done
create "$1" "${numbers[@]}"
printf 'Workshop %s: %s of %s containers created\n' "$1" "$created" "$2"
[ "$created" -eq "$2" ] || exit 1
