# What the scripts of these tests share. `state` is the service's state folder, `inside` what a command is begun with to see the service's processes by the numbers that it
# has for them.
# shellcheck shell=bash
# shellcheck disable=SC2154 # they are set by who takes this

inside=()

said() {
    printf '\n# %s\n' "$*"
    "$@"
}

fail() {
    printf 'FAILED: %s\n' "$*"
    tail -n 40 /run/service.log
    exit 1
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
    "${inside[@]}" ps -o pid= --ppid "$(sed 's/.*"vmm":{"pid":\([0-9]*\).*/\1/' "$state/microvm/workshops/demo/$1/run/vmm.json")" | tr -d ' '
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
