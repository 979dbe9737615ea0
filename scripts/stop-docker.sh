#!/usr/bin/env bash
# Stops the dockerd that ensure-docker.sh started by itself, and no other: neither one that systemd runs, nor one
# that somebody else started. Containers stop with it (those with a restart policy come back at its next start).
# Exit 0: stopped, or there was nothing of ours to stop.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/docker-paths.sh
. "$here/docker-paths.sh"

stop_timeout=60 # dockerd gives its containers 10 to 15 s, then tidies up

if ! pid=$(own_dockerd_pid); then
    [ ! -e "$dockerd_pidfile" ] || as_root rm -f "$dockerd_pidfile"
    say "no dockerd that ensure-docker.sh started is running"
    exit 0
fi

say "stopping dockerd (pid $pid)"
as_root kill -TERM "$pid"
deadline=$((SECONDS + stop_timeout))
while [ "$(own_dockerd_pid || true)" = "$pid" ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "dockerd (pid $pid) did not end within ${stop_timeout}s; see $dockerd_log"
    sleep 0.1
done
as_root rm -f "$dockerd_pidfile"
say "dockerd stopped"
