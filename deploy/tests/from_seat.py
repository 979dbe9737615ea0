"""What a learner's program can connect to."""

import json
import re
from collections.abc import Iterable

from support import WORKSPACE, docker

# Runs inside the seat. All at once, because what is dropped answers only by the time running out.
PROGRAM = """
import json, socket, sys, threading
reached = []
def attempt(host, port):
    try:
        with socket.create_connection((host, port), timeout=5):
            reached.append([host, port])
    except OSError:
        pass
threads = [threading.Thread(target=attempt, args=target) for target in json.load(sys.stdin)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(sorted(reached)))
"""


def reached(seat: str, hosts: Iterable[str], ports: Iterable[int]) -> list[tuple[str, int]]:
    """Which of these a program in the seat (a container) can connect to."""
    targets = [(host, port) for host in dict.fromkeys(hosts) for port in dict.fromkeys(ports)]
    found = json.loads(docker("exec", "--interactive", seat, "python3", "-c", PROGRAM, given=json.dumps(targets)))
    return [(host, port) for host, port in found]


def reached_for_good(seat: str, hosts: Iterable[str], ports: Iterable[int]) -> list[tuple[str, int]]:
    """What is reached every time of five. For addresses on other bridges: Docker 20.10 takes its rules between bridges
    away and puts them back whenever any network is made or removed, by whomever, and for that instant all are open."""
    left = reached(seat, hosts, ports)
    for _ in range(4):
        if left:
            again = reached(seat, {host for host, _ in left}, {port for _, port in left})
            left = [target for target in left if target in again]
    return left


def addresses_of_host() -> list[str]:
    """Every IPv4 address of the engine's host but those of loopback, gateways of networks included."""
    table = docker("run", "--rm", "--network=host", "--entrypoint=cat", WORKSPACE, "/proc/net/fib_trie")
    local = re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", table)
    return sorted({address for address in local if not address.startswith("127.")})


def addresses_of(container: str) -> list[str]:
    """A container's own addresses; none on the host's network."""
    networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
    return [network["IPAddress"] for network in networks.values() if network["IPAddress"]]


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens on a port of the engine's host, IPv4 and IPv6."""
    tables = docker("run", "--rm", "--network=host", "--entrypoint=cat", WORKSPACE, "/proc/net/tcp", "/proc/net/tcp6")
    found = set()
    for line in tables.splitlines():
        words = line.split()
        # 0A is LISTEN; addresses are hexadecimal, each word of 32 bits in the machine's order.
        if len(words) > 3 and words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
            text = words[1].rsplit(":", 1)[0]
            found.add(".".join(str(byte) for byte in reversed(bytes.fromhex(text))) if len(text) == 8 else f"[{text}]")
    return found
