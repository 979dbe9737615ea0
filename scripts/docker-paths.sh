# shellcheck shell=bash
# Where ensure-docker.sh leaves the traces of a dockerd that it started, and how to recognise it. Sourced after lib.sh.
# /run is emptied by a reboot, and so is the claim to that process.

# shellcheck disable=SC2034 # used by the scripts that source this
dockerd_log=/var/log/clarateach-dockerd.log
dockerd_pidfile=/run/clarateach/dockerd.pid

# Prints the pid of the dockerd that ensure-docker.sh started; fails when there is none (any more).
# A pid alone can have been given to another process since, so the process must be a dockerd.
own_dockerd_pid() {
    local pid
    pid=$(cat "$dockerd_pidfile" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
    printf '%s\n' "$pid"
}
