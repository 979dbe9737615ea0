#!/usr/bin/env bash
# Makes sure that this machine can run seats: the programs are installed and a Docker engine answers.
#
# Contract
#   - Debian/Ubuntu, as root or with sudo: installs only what is missing. An engine that already answers, whoever
#     installed it, is left exactly as it is.
#   - When none answers: systemd starts it if systemd runs; otherwise dockerd is started in the background, in its
#     own session, and stop-docker.sh can stop it again.
#   - macOS: checks Docker Desktop and says what to do.
#   - Exit 0 means that an engine answers this user at DOCKER_HOST (default: /var/run/docker.sock).
#   - Prints what it does on standard error. Running it again is cheap and changes nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/docker-paths.sh
. "$here/docker-paths.sh"

main() {
    if is_macos; then
        check_docker_desktop
        return
    fi
    is_linux || die "only Linux and macOS are supported, this is $(uname -s)"

    install_missing
    if engine_answers; then
        say "Docker engine $(engine_version) answers at $DOCKER_HOST"
        return
    fi
    [ "$DOCKER_HOST" = "$default_host" ] || die "no engine answers at DOCKER_HOST=$DOCKER_HOST
Start that engine, or unset DOCKER_HOST to use the local one."
    can_be_root || die "no engine answers user $(id -un) at $DOCKER_HOST, and starting one needs root.
Run this as root or install sudo. If an engine runs here already, root can let you use it (then log in again):
  usermod -aG docker $(id -un)"
    if ! engine_answers as_root; then
        start_engine
    fi
    engine_answers || die "the engine runs, but user $(id -un) may not use it.
Run this as root (sudo make …), or join its group and log in again:
  sudo usermod -aG docker $(id -un)"
    say "Docker engine $(engine_version) answers at $DOCKER_HOST"
}

check_docker_desktop() {
    have docker || die "Docker not found. Install Docker Desktop (https://docs.docker.com/desktop/setup/install/mac-install/),
start it once, then run this again."
    docker info >/dev/null 2>&1 || die "Docker is installed but does not answer. Start Docker Desktop, wait until its
whale icon stands still, then run this again. ('docker info' shows the engine's own message.)"
    say "Docker engine $(docker version --format '{{.Server.Version}}') answers"
    say "note: container addresses can't be reached from macOS; seats publish their ports on loopback instead"
}

# One list of what is missing, one apt run.
install_missing() {
    local -a missing=()
    have curl || missing+=(curl)
    [ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    have_root nft || missing+=(nftables)
    have mmdebstrap || missing+=(mmdebstrap)
    have busybox || missing+=(busybox-static)
    have flock || missing+=(util-linux)

    if ! engine_answers && [ "$DOCKER_HOST" = "$default_host" ]; then
        # dockerd may have come from docker.com's packages: then nothing of ours may replace it.
        have_root dockerd || missing+=(docker.io)
        have_root iptables || missing+=(iptables)
        # With AppArmor in the kernel, dockerd refuses to run containers without its parser.
        if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
            have_root apparmor_parser || missing+=(apparmor)
        fi
    fi
    apt_install "${missing[@]}"

    # Newer releases split the client off docker.io.
    have docker || apt_install docker-cli
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        say "starting the engine with systemd"
        as_root systemctl start docker || die "systemd could not start it: journalctl -u docker -n 50"
        wait_for_engine || die "docker.service runs but its socket does not answer: journalctl -u docker -n 50"
        return
    fi

    say "systemd does not run here: starting dockerd (log: $dockerd_log)"
    # The shell's pid becomes dockerd's, so the pid file is right from the first moment on.
    # shellcheck disable=SC2016 # expanded by the inner shell
    as_root sh -c '
        mkdir -p "$(dirname "$1")" "$(dirname "$2")"
        [ ! -e "$2" ] || mv "$2" "$2.1"
        setsid sh -c "echo \$\$ >\"\$1\"; exec dockerd" dockerd "$1" </dev/null >>"$2" 2>&1 &
    ' sh "$dockerd_pidfile" "$dockerd_log"
    wait_for_engine && return
    say "--- the end of $dockerd_log:"
    as_root tail -n 25 "$dockerd_log" >&2 || true
    if own_dockerd_pid >/dev/null; then
        die "dockerd did not answer within ${start_timeout}s (its last log lines are above)"
    fi
    die "dockerd ended at once (its last log lines are above)"
}

# Bounded; ends early when the dockerd that we started is gone.
wait_for_engine() {
    local deadline=$((SECONDS + start_timeout))
    until engine_answers as_root; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        if [ -e "$dockerd_pidfile" ] && ! own_dockerd_pid >/dev/null; then
            # The shell between setsid and exec is not dockerd yet: look twice.
            sleep 0.5
            own_dockerd_pid >/dev/null || return 1
        fi
        sleep 0.1
    done
}

# engine_answers [as_root]
engine_answers() { have docker && "$@" docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
engine_version() { docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})'; }

default_host=unix:///var/run/docker.sock
if is_linux; then
    # Also overrides a docker context: the service looks at this address, so this is the one to check.
    export DOCKER_HOST=${DOCKER_HOST:-$default_host}
fi
start_timeout=60

main
