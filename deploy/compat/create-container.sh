#!/usr/bin/env bash
# Makes one seat of a workshop. The last line of its output is a JSON object: name, id, ip, network, volume, port.
#
#   create-container.sh WORKSHOP SEAT [API_KEY]
#
# TEMPORARY: for callers of the former shell scripts, until they call the service itself (README.md beside this file).
#
# The argument API_KEY can be seen in the process list for an instant; the variable ORCHESTRATOR_API_KEY can not.
# WORKSPACE_IMAGE, JWKS_URL and AUTH_DISABLED are the seat's, where they are set. Ends with 1 on any failure.
set -euo pipefail
usage='create-container.sh WORKSHOP SEAT [API_KEY]'
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
# shellcheck source=deploy/compat/lib.sh
. "$here/lib.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ]; then bad_arguments "expected 2 or 3 arguments, got $#"; fi
hide_key "$@"
check_workshop "$1"
case $2 in
    [123456789] | 10) ;;
    *) bad_arguments "SEAT must be a number from 1 to 10" ;;
esac
find_program

create "$1" "$2"
[ "$created" -eq 1 ] || exit 1
