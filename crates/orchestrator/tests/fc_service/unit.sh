#!/usr/bin/env bash
# A class of two jailed seats by the unit in deploy/systemd with what it takes for jails, under a systemd of its own, as docs/firecracker.md says.
#
#   ORCHESTRATOR FIRECRACKER_BIN JAILER_BIN    programs
#   KERNEL AGENT                               what `microvm setup` takes
#   PREPARED IMAGE                             a state folder in which this image is converted already
#   DEPLOY                                     the folder of the units
set -euo pipefail
# shellcheck source=crates/orchestrator/tests/fc_service/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

unit=clarateach-orchestrator-microvm.service
units=/run/units
state=/var/lib/clarateach

# Of the distribution's units those that every service depends on, and nothing that they would start: this is no whole host.
install -d "$units"
for wanted in /usr/lib/systemd/system/{sysinit,sockets,timers,local-fs,basic}.target.wants/*; do
    [ ! -e "$wanted" ] || ln -sf /dev/null "$units/$(basename "$wanted")"
done
printf '[Unit]\nDefaultDependencies=no\n' >"$units/outer.target"
export SYSTEMD_UNIT_PATH=$units:/usr/lib/systemd/system

# Steps 2 to 5 of docs/firecracker.md. A jail is made of links, which the root of this host cannot make.
install -m 755 "$ORCHESTRATOR" /usr/local/bin/orchestrator
install -m 755 "$FIRECRACKER_BIN" /usr/local/bin/firecracker
install -m 755 "$JAILER_BIN" /usr/local/bin/jailer
install -d -m 755 /etc/clarateach "$state"
mount -t tmpfs -o mode=755,size=60% state "$state"
cp -a --sparse=always "$PREPARED/." "$state"
cat >/etc/clarateach/orchestrator.toml <<END
provider = "microvm"

[docker]
host = "unix:///run/none.sock"

[seats]
image = "$IMAGE"
cpus = 1
memory_mib = 256
start_timeout = "10m"

[microvm]
monitor = "firecracker"
firecracker = "/usr/local/bin/firecracker"
jailer = "/usr/local/bin/jailer"
memory_percent = 1000
least_free_mib = 16
scratch_mib = 256
data_mib = 256
END
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >/etc/clarateach/token)
export ORCHESTRATOR_CONFIG=/etc/clarateach/orchestrator.toml
said orchestrator microvm setup --from "$KERNEL" --agent "$AGENT"
install -m 644 "$DEPLOY/systemd/$unit" "$units/"
install -D -m 644 "$DEPLOY/systemd/$unit.d/jailed.conf" -t "$units/$unit.d"
# There is no journal here.
printf '[Service]\nStandardOutput=append:/run/service.log\nStandardError=append:/run/service.log\n' >"$units/$unit.d/log.conf"

said /usr/lib/systemd/systemd --version
container=outer unshare --pid --fork --mount --mount-proc --propagation shared \
    /usr/lib/systemd/systemd --system --unit=outer.target --log-target=console --show-status=no >>/run/systemd.log 2>&1 &
manager=$!
for _ in {1..300}; do
    [ ! -S /run/systemd/private ] || break
    kill -0 "$manager" || { cat /run/systemd.log; fail "systemd does not start"; }
    sleep 0.2
done
inside=(nsenter --target "$(pgrep -P "$manager")" --pid --mount)
# Systemd listens to nobody whose process it does not see.
said "${inside[@]}" systemctl start "$unit" || { cat /run/systemd.log; "${inside[@]}" systemctl status --no-pager "$unit" || true; fail "the unit does not start"; }
before=$(left)
said "${inside[@]}" systemctl show --property=MainPID,ControlGroup,CapabilityBoundingSet,NRestarts "$unit"
export ORCHESTRATOR_TOKEN_FILE=/etc/clarateach/token
said orchestrator class up demo --seats 2 --wait 15m || fail "the class does not come up"
for address in $(addresses); do answers "$address"; done
for seat in 1 2; do
    said "${inside[@]}" grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' "/proc/$(monitor "$seat")/status"
    said "${inside[@]}" cat "/proc/$(monitor "$seat")/cgroup"
done

# The unit ends and comes again, and its seats do not notice.
monitors="$(monitor 1) $(monitor 2)"
said "${inside[@]}" systemctl restart "$unit"
said orchestrator class list demo
[ "$(monitor 1) $(monitor 2)" = "$monitors" ] || fail "the monitors are others than before"
for address in $(addresses); do answers "$address"; done
class_down() {
    said orchestrator class down demo
    after=$(left)
    [ "$after" = "$before" ] || fail "something is left: $(diff <(echo "$before") <(echo "$after"))"
}
class_down

# The same from a snapshot.
echo 'snapshot = "auto"' >>/etc/clarateach/orchestrator.toml
said "${inside[@]}" systemctl restart "$unit"
said orchestrator class up demo --seats 2 --wait 15m || fail "the class does not come up"
for address in $(addresses); do answers "$address"; done
[ "$(grep -l '"restored"' "$state"/microvm/workshops/demo/*/seat.json | wc -l)" = 2 ] || fail "not both seats go on from the snapshot"
class_down
said "${inside[@]}" systemctl stop "$unit"
said "${inside[@]}" systemctl show --property=Result,ExecMainStatus "$unit"
[ "$("${inside[@]}" systemctl show --value --property=Result "$unit")" = success ] || fail "the unit does not end well"
! grep -E '"level":"(WARN|ERROR)"' /run/service.log || fail "the service warns"
echo "the unit is done"
