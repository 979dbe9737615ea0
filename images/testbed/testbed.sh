#!/bin/sh
# The first process of a testbed container; the first argument says how it behaves. See build.sh.

serve() {
    httpd -f -h /www -p "${TERMINAL_PORT:-3001}" &
    httpd -f -h /www -p "${FILES_PORT:-3002}" &
    # shellcheck disable=SC3045 # busybox has it
    wait -n
    echo "testbed: a server ended" >&2
    exit 1
}

# Waiting is a builtin, so the trap runs at once; it would not while a program ran in the foreground.
idle() {
    sleep 2147483647 &
    wait
}

# The kernel ignores a signal to a container's first process unless it has a handler.
trap 'exit 0' TERM INT

case ${1:-serve} in
# `node` is how the command of the former, scripted orchestrator begins.
serve | node) serve ;;
slow) sleep 5 & wait && serve ;;
stubborn) trap '' TERM && serve ;;
idle) idle ;;
exits) echo "boom: no licence file" >&2 && exit 3 ;;
*) exec "$@" ;;
esac
