# shellcheck shell=bash
# What the wrappers of this folder share. Source it, don't run it.
#
# TEMPORARY, as the wrappers are: see README.md beside this file.
#
# The wrappers read rows from `orchestrator --output tsv`, whose columns `orchestrator --help` describes. A seat's are
#   WORKSHOP SEAT STATUS ID IP ENDPOINT PORTS IMAGE REASON
# with "-" for what is not known. So they need no program that reads JSON.
#
# Bash 3.2 must run this, which is what macOS has: no associative arrays, no mapfile, and under `set -u` no plain
# "${array[@]}" of an array that may be empty.
#
# shellcheck disable=SC2154 # `usage` is the wrapper's own

tab=$'\t'

fail() {
    printf 'Error: %s\n' "$1" >&2
    exit 1
}

bad_arguments() {
    printf 'Error: %s\nUsage: %s\n' "$1" "$usage" >&2
    exit 1
}

# hide_key WORKSHOP SEAT [API_KEY]: goes on in a process whose arguments do not have the key, and keeps it in `key`.
#
# Whoever calls a wrapper with a key shows it in the process list, as the scripts did. Replacing this process shortens
# that to an instant, but not to nothing: the variable ORCHESTRATOR_API_KEY is never shown. No process is started
# before this, because a new one begins as a copy of this one, arguments included.
hide_key() {
    if [ $# -gt 2 ]; then
        # The scripts took an empty key for none.
        [ -z "$3" ] || export ORCHESTRATOR_API_KEY="$3"
        exec "$BASH" "$0" "$1" "$2"
    fi
    key=${ORCHESTRATOR_API_KEY-}
    # From here on only the one command that needs it gets it.
    unset ORCHESTRATOR_API_KEY
}

find_program() {
    program=${ORCHESTRATOR_BIN:-orchestrator}
    # The program refuses variables of its prefix that it does not know, and this one is the wrappers' own.
    unset ORCHESTRATOR_BIN
    command -v "$program" >/dev/null 2>&1 ||
        fail "the program $program was not found: install it into PATH, or name it in ORCHESTRATOR_BIN"
}

# The program tells more apart with its exit codes than the scripts did; here every failure is 1. It has said on
# standard error what failed and what to do.
run() {
    "$program" --output tsv "$@" || return 1
}

# The characters one by one: what a range such as a-z holds depends on the locale.
check_workshop() {
    case $1 in
        *[!abcdefghijklmnopqrstuvwxyz0123456789-]*) ;;
        *) if [ ${#1} -ge 3 ] && [ ${#1} -le 20 ]; then return; fi ;;
    esac
    bad_arguments "WORKSHOP must be 3 to 20 characters from a-z, 0-9 and -"
}

container_of() { printf 'clarateach-%s-%s' "$1" "$2"; }

# Sets `there` to the numbers of the workshop's seats, with blanks around each.
find_seats() {
    local rows seat status id
    rows=$(run seat list -- "$1") || exit 1
    there=' '
    while IFS=$tab read -r _ seat status id _; do
        # An error without a container is a note about one that could not be made: nothing is there.
        if [ -n "$seat" ] && [ "$status$id" != error- ]; then
            there="$there$seat "
        fi
    done <<<"$rows"
}

is_there() {
    case $there in
        *" $1 "*) return 0 ;;
        *) return 1 ;;
    esac
}

refuse_duplicate() {
    printf 'Error: Container %s already exists\nUse destroy-container.sh to remove it first\n' "$1" >&2
}

# create WORKSHOP SEAT...: makes the seats side by side, and tells of each that was made. Sets `created` to their
# number. What is there already is left as it is.
create() {
    local workshop=$1 wished='' seat rows outcome id ip ports
    local options=()
    shift
    created=0
    find_seats "$workshop"
    for seat in "$@"; do
        if is_there "$seat"; then
            refuse_duplicate "$(container_of "$workshop" "$seat")"
        else
            wished=$wished$seat,
        fi
    done
    [ -n "$wished" ] || return 0
    # What is not set is left to the service: such a seat is then the same as one that the portal makes.
    [ -z "${WORKSPACE_IMAGE-}" ] || options+=(--image="$WORKSPACE_IMAGE")
    [ -z "${AUTH_DISABLED-}" ] || options+=(--env=AUTH_DISABLED="$AUTH_DISABLED")
    [ -z "${JWKS_URL-}" ] || options+=(--env=JWKS_URL="$JWKS_URL")
    # A class, also for one seat: its answer tells what was made from what was there, even when two callers race.
    rows=$(ORCHESTRATOR_API_KEY=$key run class up --seats="$wished" ${options[@]+"${options[@]}"} -- "$workshop") || :
    while IFS=$tab read -r outcome _ seat _ id ip _ ports _; do
        case $outcome in
            created)
                created=$((created + 1))
                show_created "$workshop" "$seat" "$id" "$ip" "${ports%%,*}"
                ;;
            unchanged | conflict) refuse_duplicate "$(container_of "$workshop" "$seat")" ;;
            failed)
                if [ "$id" != - ]; then
                    printf 'Error: Container %s is there and does not work\n' "$(container_of "$workshop" "$seat")" >&2
                    printf 'Use destroy-container.sh to remove it\n' >&2
                fi
                ;;
        esac
    done <<<"$rows"
}

# show_created WORKSHOP SEAT ID IP PORT: none of them holds a character that JSON would want escaped.
show_created() {
    local name ip=$4
    name=$(container_of "$1" "$2")
    [ "$ip" != - ] || ip=
    printf 'Container created: %s\n' "$name"
    printf '{"name":"%s","id":"%s","ip":"%s","network":"clarateach-%s","volume":"%s-data","port":%s}\n' \
        "$name" "$3" "$ip" "$1" "$name" "$5"
}

# Text as the inside of a JSON string. The program has taken the control characters out.
json_text() { printf '%s\n' "$1" | LC_ALL=C sed 's/[\\"]/\\&/g'; }
