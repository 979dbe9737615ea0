#!/usr/bin/env bash
# A class of two jailed seats from the first command to the last trace, as an operator of a host with KVM has it. What this prints is the transcript.
#
#   ORCHESTRATOR FIRECRACKER_BIN JAILER_BIN    programs
#   KERNEL AGENT                               what `microvm setup` takes
#   PREPARED IMAGE                             a state folder in which this image is converted already
set -euo pipefail
# shellcheck source=crates/orchestrator/tests/fc_service/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=/run/state
url=http://127.0.0.1:8080
PATH=$(dirname "$ORCHESTRATOR"):$PATH
export ORCHESTRATOR_STATE_DIR=$state ORCHESTRATOR_MICROVM_MONITOR=firecracker
export ORCHESTRATOR_MICROVM_FIRECRACKER=$FIRECRACKER_BIN ORCHESTRATOR_MICROVM_JAILER=$JAILER_BIN

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

# Waits until the service tells what both seats' monitors count, what their guests tell of their memory, and all of these.
measured() {
    local metrics try wanted missing
    for try in {1..150}; do
        metrics=$(curl -sf -m 60 "$url/metrics" | grep '^orchestrator_microvm_') || fail "no metrics"
        missing=
        for wanted in 'monitors_measured 2$' 'guests_reporting 2$' "$@"; do
            grep -q "^orchestrator_microvm_$wanted" <<<"$metrics" || missing=$wanted
        done
        if [ -z "$missing" ]; then
            said curl -sf -m 60 "$url/metrics" | grep -E '^(#.*curl|orchestrator_microvm_)'
            return
        fi
        sleep 1
    done
    fail "after $try looks there is no $missing: $metrics"
}

cp -a --sparse=always "$PREPARED" "$state"
said uname -r
said "$FIRECRACKER_BIN" --version
said orchestrator microvm setup --from "$KERNEL" --agent "$AGENT"
# What it says of the accelerator, of the processor and of the service depends on the outer guest: it is emulated, and nothing runs yet.
said orchestrator doctor --provider=microvm --docker-host=unix:///run/none.sock --microvm-registry=false --seats-image="$IMAGE" | tee /run/doctor || true
for check in monitor jailer capabilities cgroups state_dir jails tun packet_filter kernel ksm swap nested_paging cgroup_version limits image; do
    grep -Eq "^ok +$check  " /run/doctor || fail "doctor does not find $check in order"
done

serve
before=$(left)
said orchestrator class up demo --seats 2 --wait 15m || fail "the class does not come up"
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
# The guests have read their disks by then, and given back the memory that they do not use.
measured 'disk_bytes_total{direction="read"} [1-9]' 'memory_returned_bytes_total{way="reported"} [1-9]' 'guests_started_total{way="booted"} 2$'

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
said orchestrator class up demo --seats 2 --wait 15m || fail "the class does not come up"
for address in $(addresses); do answers "$address"; done
[ "$(grep -l '"restored"' "$state"/microvm/workshops/demo/*/seat.json | wc -l)" = 2 ] || fail "not both seats go on from the snapshot"
said ls -l "$state"/microvm/snapshots/*
# What the guest that was saved had given back already, they do not give back again.
measured 'processor_exits_total{reason="memory"} [1-9]' 'guests_started_total{way="restored"} 2$' 'guests_started_total{way="booted_instead"} 0$'
class_down
echo "the class is done"
