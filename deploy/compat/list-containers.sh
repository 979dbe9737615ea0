#!/usr/bin/env bash
# Lists the containers of all workshops, or of one: as a table, or with --json as a JSON array of objects with name, id,
# workshop, seat, state (running, stopped, unknown), ip and status.
#
#   list-containers.sh [WORKSHOP] [--json]
#
# TEMPORARY: for callers of the former shell scripts, until they call the service itself (README.md beside this file).
set -euo pipefail
# shellcheck disable=SC2034 # lib.sh shows it
usage='list-containers.sh [WORKSHOP] [--json]'
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
# shellcheck source=deploy/compat/lib.sh
. "$here/lib.sh"

workshops=
json=no
for argument in "$@"; do
    case $argument in
        --json) json=yes ;;
        # A workshop could be called so, but a mistyped option is likelier.
        -h | --*) bad_arguments "unknown option: $argument" ;;
        *)
            [ -z "$workshops" ] || bad_arguments "expected one WORKSHOP, got another: $argument"
            check_workshop "$argument"
            workshops=$argument
            ;;
    esac
done
find_program

if [ -z "$workshops" ]; then
    rows=$(run class list) || exit 1
    workshops=$(cut -f 1 <<<"$rows")
fi
rows=
for workshop in $workshops; do
    more=$(run seat list -- "$workshop") || exit 1
    [ -z "$more" ] || rows=$rows$more$'\n'
done

entry() {
    if [ $json = yes ]; then
        printf '%s\n  {"name":"%s","id":"%s","workshop":"%s","seat":%s,"state":"%s","ip":"%s","status":"%s"}' \
            "$before" "$1" "$2" "$3" "$4" "$5" "$6" "$(json_text "$7")"
        before=,
    else
        if [ -z "$before" ]; then
            row NAME ID WORKSHOP SEAT IP STATUS
            printf '%100s\n' '' | tr ' ' -
            before=rows
        fi
        row "$1" "$2" "$3" "$4" "${6:--}" "$7"
    fi
}

row() { printf '%-36s %-12s %-20s %-4s %-15s %s\n' "$@"; }

before=
[ $json = no ] || before='['
while IFS=$tab read -r workshop seat status id ip _ _ _ reason; do
    # Without an id there is no container: not yet, or it could not be made.
    if [ "${id:--}" = - ]; then continue; fi
    [ "$ip" != - ] || ip=
    # To the scripts a container that ran was running, whether it answered already or not.
    case $status:$ip in
        running:* | starting:?*) state=running ;;
        stopped:*) state=stopped ;;
        *) state=unknown ;;
    esac
    [ "$reason" = - ] || status="$status: $reason"
    entry "$(container_of "$workshop" "$seat")" "${id:0:12}" "$workshop" "$seat" "$state" "$ip" "$status"
done <<<"$rows"
case $json$before in
    yes\[) printf '[]\n' ;;
    yes*) printf '\n]\n' ;;
    no) printf 'No containers found\n' ;;
esac
