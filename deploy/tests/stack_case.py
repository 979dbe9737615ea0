"""What the tests of a running stack have in common."""

import os
import secrets
import unittest
import urllib.request
from typing import Any, ClassVar

from bases import Bases
from from_seat import addresses_of, addresses_of_host, listening, reached, reached_for_good
from portal import Portal
from stack import PASSWORD, Stack
from support import WORKSPACE, docker, eventually, free_ports, lines

RUN = f"{os.getpid()}{secrets.token_hex(2)}"
BASES = Bases(RUN)


def get(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return int(answer.status)


class StackCase(unittest.TestCase):
    """A stack of its own for the tests of a class, and somebody signed in. The images must be there."""

    file = "docker-compose.yml"
    name = ""
    settings: ClassVar[dict[str, str]] = {}
    stack: ClassVar[Stack]
    portal: ClassVar[Portal]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = Stack(RUN, cls.name, BASES, cls.file, **cls.settings)
        cls.addClassCleanup(cls.stack.down)
        cls.stack.up()
        cls.portal = Portal(cls.stack.portal_port)
        cls.portal.sign_in("instructor", PASSWORD)

    def bring_up(self, **more: str) -> list[str]:
        """A class of two through the Portal API. Returns its containers."""
        self.addCleanup(self.portal.call, "DELETE", f"/api/workshops/{self.stack.workshop}")
        found = self.portal.bring_up(self.stack.workshop, 2, **more)
        self.assertEqual([seat["status"] for seat in found["instances"]], ["running", "running"], found)
        for seat in found["instances"]:
            self.assertEqual(get(f"{self.reachable(seat['endpoint'])}/health"), 200)
        seats = self.stack.seats()
        self.assertEqual(len(seats), 2)
        return seats

    def reachable(self, endpoint: str) -> str:
        """An endpoint as this machine reaches it."""
        return endpoint

    def lives(self) -> dict[str, str]:
        """Since when each container of the class runs: a seat that was touched has another one."""
        form = "{{.Id}} {{.State.StartedAt}} {{.State.Running}} {{.RestartCount}}"
        return dict(line.split(" ", 1) for line in lines(docker("inspect", "--format", form, *self.stack.seats())))

    def delete_class(self) -> None:
        self.portal.delete(self.stack.workshop)
        self.assertEqual([thing for thing in self.stack.left() if self.stack.workshop in thing], [])
        self.assertEqual(self.stack.seats(), [])

    def containers_of_stack(self) -> dict[str, Any]:
        return {service: self.stack.inspect(service) for service in ("orchestrator", "portal")}

    def check_hardening(self, capabilities: list[str]) -> None:
        for service, container in self.containers_of_stack().items():
            with self.subTest(service):
                host = container["HostConfig"]
                self.assertTrue(host["ReadonlyRootfs"])
                self.assertFalse(host["Privileged"])
                self.assertEqual(host["CapDrop"], ["ALL"])
                # Compose v2 writes CAP_NET_ADMIN.
                added = [name.removeprefix("CAP_") for name in host["CapAdd"] or []]
                self.assertEqual(added, capabilities if service == "orchestrator" else [])
                self.assertEqual(host["SecurityOpt"], ["no-new-privileges:true"])
                self.assertEqual(host["RestartPolicy"]["Name"], "unless-stopped")
                self.assertEqual(host["LogConfig"]["Config"], {"max-file": "3", "max-size": "10m"})
                self.assertGreater(host["Memory"], 0)
                self.assertGreater(host["PidsLimit"], 0)
                sockets = [mount for mount in container["Mounts"] if mount["Source"].endswith("docker.sock")]
                self.assertEqual(len(sockets), 1 if service == "orchestrator" else 0)
                self.assertEqual(container["Config"]["User"], "0:0" if service == "orchestrator" else "1000:1000")

    def check_loopback_only(self) -> None:
        for port in (self.stack.service_port, self.stack.portal_port):
            self.assertEqual(listening(port), {"127.0.0.1"})

    def check_seats_reach_neither(self, seat: str) -> None:
        """Every address that a seat could try, with a server beside them that it does reach."""
        open_port = free_ports(1)[0]
        server = docker(
            "run", "--detach", "--network=host", "--entrypoint=python3", WORKSPACE,
            "-m", "http.server", "--bind=0.0.0.0", str(open_port),
        )  # fmt: skip
        self.addCleanup(docker, "rm", "--force", server)
        eventually("the open server listens", lambda: listening(open_port))
        host = addresses_of_host()
        gateway = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", seat)
        self.assertIn(gateway, host)
        # The test is able to fail: what listens on all addresses is reached.
        self.assertIn((gateway, open_port), reached(seat, host, [open_port]))

        names = ["127.0.0.1", "localhost", "orchestrator", "portal", "host.docker.internal", "gateway.docker.internal"]
        ports = [self.stack.service_port, self.stack.portal_port]
        self.assertEqual(reached(seat, [*host, *names], ports), [])
        for service in ("orchestrator", "portal"):
            own = addresses_of(self.stack.container(service))
            self.assertEqual(reached_for_good(seat, own, [*ports, 8080, 3000]), [])
