#!/usr/bin/env bash
# A class of two jailed seats from the first command to the last trace, as an operator of a host with KVM has it. What this prints is the transcript.
#
#   ORCHESTRATOR FIRECRACKER_BIN JAILER_BIN    programs
#   KERNEL AGENT                               what `microvm setup` takes
#   PREPARED IMAGE                             a state folder in which this image is converted already
set -euo pipefail

state=/run/state
url=http://127.0.0.1:8080
PATH=$(dirname "$ORCHESTRATOR"):$PATH
export ORCHESTRATOR_STATE_DIR=$state ORCHESTRATOR_MICROVM_MONITOR=firecracker
export ORCHESTRATOR_MICROVM_FIRECRACKER=$FIRECRACKER_BIN ORCHESTRATOR_MICROVM_JAILER=$JAILER_BIN

said() {
    printf '\n# %s\n' "$*"
    "$@"
}

fail() {
    printf 'FAILED: %s\n' "$*"
    tail -n 40 /run/service.log
    exit 1
}

# Starts the service, with these further flags, and waits until it is ready.
service=
serve() {
    printf '\n# %s &\n' "orchestrator serve $*"
    orchestrator serve --provider=microvm --log-format=json --docker-host=unix:///run/none.sock --microvm-registry=false \
        --seats-image="$IMAGE" --seats-cpus=1 --seats-memory-mib=256 --seats-start-timeout=10m --seats-stop-grace=10s \
        --microvm-memory-percent=1000 --microvm-least-free-mib=16 --microvm-scratch-mib=256 --microvm-data-mib=256 \
        "$@" 2>>/run/service.log &
    service=$!
    until curl -sf -o /dev/null "$url/readyz"; do
        kill -0 "$service" || fail "the service does not start"
        sleep 0.2
    done
}

# All that seats have on this host, a line each.
left() {
    ip -o link | awk '{print "interface", $2}'
    find "$state/microvm/workshops" "$state"/images/*/pins -mindepth 1 2>/dev/null | sed 's/^/file /'
    find /sys/fs/cgroup -mindepth 2 -path '*clarateach*' -type d | sed 's/^/cgroup /'
    ps --ppid 2 -p 2 --deselect -o comm= | grep -E 'firecracker|jailer|keeper|orchestrator' | sort | sed 's/^/process /'
    grep "$state" /proc/self/mountinfo | sed 's/^/mount /' || true
    nft list ruleset | grep elements | sed 's/^/packet filter /' || true
}

# The monitor of a seat: the record has the first process of its namespace, whose only child it is.
monitor() {
    ps -o pid= --ppid "$(sed 's/.*"vmm":{"pid":\([0-9]*\).*/\1/' "$state/microvm/workshops/demo/$1/run/vmm.json")" | tr -d ' '
}

answers() {
    local port
    for port in 3001 3002; do
        said curl -sf -m 60 "http://$1:$port/health" || fail "$1:$port does not answer"
        echo
    done
}

addresses() {
    orchestrator --output=tsv class list demo | cut -f 5
}

# Waits until the service tells what both seats' monitors count, and what their guests tell of their memory; the guests have read their disks by then.
measured() {
    local metrics try
    for try in {1..150}; do
        metrics=$(curl -sf -m 60 "$url/metrics" | grep '^orchestrator_microvm_') || fail "no metrics"
        if grep -q '^orchestrator_microvm_monitors_measured 2$' <<<"$metrics" &&
            grep -q '^orchestrator_microvm_guests_reporting 2$' <<<"$metrics" &&
            grep -q "^orchestrator_microvm_$1" <<<"$metrics"; then
            said curl -sf -m 60 "$url/metrics" | grep -E '^(#.*curl|orchestrator_microvm_)'
            return
        fi
        sleep 1
    done
    fail "after $try looks not both seats are measured: $metrics"
}

cp -a --sparse=always "$PREPARED" "$state"
said uname -r
said "$FIRECRACKER_BIN" --version
said orchestrator microvm setup --from "$KERNEL" --agent "$AGENT"

serve
before=$(left)
said orchestrator class up demo --seats 2 --wait 15m
said orchestrator class list demo
for address in $(addresses); do answers "$address"; done

# What a jail is: a user of its own, a process namespace of its own, a filter of system calls, a root with what the seat is made of.
said ps -eo pid,uid,args --sort pid | grep -E 'PID|firecracker|vmm-keeper|serve' | grep -v grep | cut -c 1-150
uids=
for seat in 1 2; do
    pid=$(monitor "$seat")
    said grep -E '^(Uid|Groups|NSpid|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status"
    said ls -ln "/proc/$pid/root/"
    said cat "/proc/$pid/cgroup"
    uid=$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")
    [ "$uid" -ge 1000 ] || fail "seat $seat runs as $uid"
    [ "$(awk '/^NSpid:/ {print NF}' "/proc/$pid/status")" -ge 3 ] || fail "seat $seat has no process namespace"
    grep -q '^Seccomp:.*2$' "/proc/$pid/status" || fail "seat $seat has no filter of system calls"
    [ "$(stat -L -c %i "/proc/$pid/root/")" != "$(stat -c %i /)" ] || fail "seat $seat sees the host's root"
    uids="$uids $uid"
done
# shellcheck disable=SC2086 # words
[ "$(printf '%s\n' $uids | sort -u | wc -l)" = 2 ] || fail "two seats are one user"
monitors="$(monitor 1) $(monitor 2)"
measured 'disk_bytes_total{direction="read"} [1-9]'

said kill -9 "$service"
wait "$service" || true
serve
said orchestrator class list demo
[ "$(monitor 1) $(monitor 2)" = "$monitors" ] || fail "the monitors are others than before"
for address in $(addresses); do answers "$address"; done
# A service that comes later hears of what happens from then on.
measured 'processor_exits_total{reason="memory"} [1-9]'
said orchestrator class up demo --seats 2

# All that the class had goes with it.
class_down() {
    said orchestrator class down demo
    after=$(left)
    [ "$after" = "$before" ] || fail "something is left: $(diff <(echo "$before") <(echo "$after"))"
    printf '\nnothing is left:\n%s\n' "$after"
    kill "$service"
    wait "$service" || fail "the service does not end well"
}
class_down

# The same from a snapshot: the first seat makes it, and both go on from it.
serve --microvm-snapshot=auto
said orchestrator class up demo --seats 2 --wait 15m
for address in $(addresses); do answers "$address"; done
[ "$(grep -l '"restored"' "$state"/microvm/workshops/demo/*/seat.json | wc -l)" = 2 ] || fail "not both seats go on from the snapshot"
said ls -l "$state"/microvm/snapshots/*
measured 'processor_exits_total{reason="memory"} [1-9]'
class_down
echo "the class is done"
