"""The unit: what systemd's own checks say of it, and the service really started by systemd with all of its confinement.

python3 -B -m unittest discover -s deploy/tests -p 'test_systemd.py'
"""

import atexit
import json
import os
import re
import secrets
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

import systemd_host
from bases import static_binary
from support import DEPLOY, WORKSPACE, docker, eventually, free_ports, lines, missing_engine, remains, remove, run
from systemd_host import SystemdHost

UNIT = "clarateach-orchestrator.service"
NO_ANALYZE = "" if shutil.which("systemd-analyze") else "systemd-analyze is not installed (Debian: systemd)"
NO_BOOT = missing_engine() or systemd_host.missing()

# Tenths of what systemd-analyze calls exposure, from 0 to 100. Another version of systemd may count a little differently.


@unittest.skipIf(NO_ANALYZE, NO_ANALYZE)
class Analyzed(unittest.TestCase):
    """The unit for containers. systemd-analyze says 1.6; the rest is the network, sockets and the group, which are what the
    service is for."""

    name: ClassVar[str] = UNIT
    most_exposed: ClassVar[int] = 20
    level: ClassVar[str] = r"1\.\d"

    def setUp(self) -> None:
        self.text = (DEPLOY / "systemd" / self.name).read_text()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.unit = Path(folder.name) / self.name

    def verify(self, text: str) -> tuple[int, str]:
        """What is said of a unit whose program is there, as it is on a host where the service is installed."""
        program = self.unit.parent / "orchestrator"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.unit.write_text(text.replace("/usr/local/bin/orchestrator", str(program)))
        done = run("systemd-analyze", "verify", "--man=no", self.unit, check=False)
        return done.returncode, done.stdout + done.stderr

    def exposed(self, text: str) -> tuple[int, str]:
        self.unit.write_text(text)
        done = run(
            "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={self.most_exposed}", self.unit,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def test_verify_finds_nothing(self) -> None:
        self.assertEqual(self.verify(self.text), (0, ""))

    def test_verify_would_find_a_mistake(self) -> None:
        _, said = self.verify(self.text.replace("ProtectHome=", "ProtectHomes="))
        self.assertIn("ProtectHomes", said)

    def test_it_is_little_exposed(self) -> None:
        code, said = self.exposed(self.text)
        self.assertEqual(code, 0, said)
        self.assertRegex(said, rf"Overall exposure level for {re.escape(self.name)}: {self.level} OK")

    def test_without_its_confinement_it_would_be_exposed(self) -> None:
        bare = "\n".join(re.findall(r"^(?:\[.*\]|Description=.*|Type=.*|ExecStart=.*)$", self.text, re.MULTILINE))
        self.assertNotEqual(self.exposed(bare)[0], 0)


class AnalyzedMicrovm(Analyzed):
    """The unit for microVMs. systemd-analyze says 3.9: it is root, with a few capabilities, since each monitor runs as a user of
    its own."""

    name = "clarateach-orchestrator-microvm.service"
    most_exposed = 45
    level = r"[34]\.\d"

    def test_the_end_of_the_service_is_not_that_of_the_seats(self) -> None:
        self.assertRegex(self.text, r"(?m)^KillMode=process$")


class AnalyzedJailed(AnalyzedMicrovm):
    """The same with what jails take. systemd-analyze says 4.4: the jailer needs CAP_SYS_ADMIN and mounts."""

    most_exposed = 50
    level = r"4\.\d"

    def setUp(self) -> None:
        super().setUp()
        self.more = DEPLOY / "systemd" / f"{self.name}.d" / "jailed.conf"
        folder = self.unit.parent / f"{self.name}.d"
        folder.mkdir()
        shutil.copy(self.more, folder)

    def test_verify_would_find_a_mistake_in_what_is_added(self) -> None:
        added = self.unit.parent / f"{self.name}.d" / "jailed.conf"
        added.write_text(self.more.read_text().replace("RestrictNamespaces=mnt", "RestrictNamespaces=mount"))
        _, said = self.verify(self.text)
        self.assertIn("Failed to parse namespace type string", said)

    def test_it_may_what_jails_take(self) -> None:
        source = DEPLOY.parent / "crates/provider-microvm/src/vmm/jail/program.rs"
        needed = set(re.findall(r'"(CAP_[A-Z_]+)"', source.read_text()))
        self.assertIn("CAP_SYS_ADMIN", needed)
        allowed = re.findall(r"(?m)^CapabilityBoundingSet=(.*)$", self.text + self.more.read_text())
        self.assertEqual(needed - set(" ".join(allowed).split()), set())


@unittest.skipIf(NO_BOOT, NO_BOOT)
class Started(unittest.TestCase):
    """On a host of Debian's systemd, with this machine's engine."""

    host: ClassVar[SystemdHost]
    url: ClassVar[str]
    workshop: ClassVar[str]
    token: ClassVar[str]
    table: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        run_id = f"{os.getpid()}{secrets.token_hex(2)}"
        cls.host = SystemdHost(f"ctdeploy-systemd-{run_id}")
        cls.addClassCleanup(cls.host.remove)
        if reason := cls.host.boot():
            raise unittest.SkipTest(reason)
        cls.workshop = f"ctd-{run_id}-s"
        cls.token = f"sk-canary-{secrets.token_hex(24)}"
        port = free_ports(1)[0]
        cls.url = f"http://127.0.0.1:{port}"
        network = f"10.222.{secrets.randbelow(256)}.0/24"
        cls.table = "clarateach_" + network.replace(".", "_").replace("/", "_")
        atexit.register(cls.clean)
        cls.addClassCleanup(cls.clean)

        # As the head of the unit says, and a configuration of this test's own.
        group = Path("/var/run/docker.sock").stat().st_gid
        cls.host.run("groupadd", "--gid", str(group), "docker")
        cls.host.copy(static_binary(), "/usr/local/bin/orchestrator")
        cls.host.run("chown", "root:root", "/usr/local/bin/orchestrator")
        cls.host.run("install", "-d", "-m", "755", "/etc/clarateach")
        cls.host.write("/etc/clarateach/token", f"{cls.token}\n", "600")
        settings = f"""
            listen = "127.0.0.1:{port}"
            [seats]
            image = "{WORKSPACE}"
            max = 10
            memory_mib = 256
            [docker]
            host = "unix:///srv/docker.sock"
            pool = "{network}"
            metadata_guard = "required"
            """
        cls.host.write("/etc/clarateach/orchestrator.toml", settings, "644")
        cls.host.copy(DEPLOY / "systemd" / UNIT, "/etc/systemd/system/")
        cls.host.run("systemctl", "daemon-reload")
        # Waits for READY=1.
        started = run("docker", "exec", cls.host.name, "systemctl", "enable", "--now", UNIT, check=False)
        assert started.returncode == 0, started.stderr + cls.journal()

    @classmethod
    def clean(cls) -> None:
        atexit.unregister(cls.clean)
        # First, because the service puts its table in force again every minute.
        cls.host.run("systemctl", "stop", UNIT, check=False)
        cls.host.run("nft", "delete", "table", "ip", cls.table, check=False)
        remove(remains(f"clarateach.workshop={cls.workshop}"))

    @classmethod
    def orchestrator(cls, *arguments: str, check: bool = True) -> str:
        """The command line, as root on that host uses it."""
        where = ["--url", cls.url, "--token-file", "/etc/clarateach/token"]
        return cls.host.run("orchestrator", *arguments, *where, check=check)

    @classmethod
    def journal(cls) -> str:
        return cls.host.run("journalctl", "--no-pager", "--unit", UNIT, check=False)

    def show(self, member: str) -> str:
        return self.host.run("systemctl", "show", "--value", f"--property={member}", UNIT)

    def seats(self) -> list[str]:
        return lines(docker("ps", "--quiet", "--no-trunc", f"--filter=label=clarateach.workshop={self.workshop}"))

    def test_it_is_nobody_with_one_capability(self) -> None:
        status = self.host.run("cat", f"/proc/{self.show('MainPID')}/status")
        members = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
        self.assertNotIn("0", members["Uid"].split())
        for kind in ("CapEff", "CapBnd", "CapAmb"):
            # Bit 12 is CAP_NET_ADMIN.
            self.assertEqual(int(members[kind], 16), 1 << 12, kind)
        self.assertEqual(members["NoNewPrivs"], "1")
        self.assertEqual(members["Seccomp"], "2")

    def test_a_class_outlives_the_death_of_the_service(self) -> None:
        self.orchestrator("class", "up", self.workshop, "--seats", "2")
        seats = self.seats()
        self.assertEqual(len(seats), 2)
        first = self.show("MainPID")
        self.host.run("systemctl", "kill", "--signal=KILL", UNIT)

        def again() -> bool:
            return self.show("ActiveState") == "active" and self.show("MainPID") not in ("0", first)

        eventually("systemd started it again", again, tell=self.journal)
        listed = json.loads(self.orchestrator("--output=json", "class", "list", self.workshop))
        self.assertEqual([seat["status"] for seat in listed["seats"]], ["running", "running"], listed)
        self.assertEqual(self.seats(), seats)
        self.orchestrator("class", "down", self.workshop)
        self.assertEqual(self.seats(), [])

    def test_it_finds_its_engine_and_guards_the_seats(self) -> None:
        report = json.loads(self.orchestrator("--output=json", "doctor"))
        levels = {check["name"]: check["level"] for check in report["checks"]}
        wanted = ("engine", "image", "reach", "service", "token")
        self.assertEqual({name: levels.get(name) for name in wanted}, dict.fromkeys(wanted, "ok"), report)
        # Not from doctor, which runs as root here: from the service itself.
        guarded = "seats are kept from cloud metadata"
        eventually("the guard is in force", lambda: guarded in self.journal(), tell=self.journal)

    def test_the_token_is_nobody_elses(self) -> None:
        pid = self.show("MainPID")
        told = self.journal() + self.host.run("systemctl", "show", UNIT)
        told += self.host.run("cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ")
        self.assertIn("/run/credentials/", told)
        self.assertNotIn("sk-canary-", told)
        refused = "this request needs a bearer token"
        self.assertIn(refused, self.host.run("sh", "-c", f"orchestrator class list --url {self.url} 2>&1 || true"))

    def test_a_stop_is_in_order(self) -> None:
        self.host.run("systemctl", "stop", UNIT)
        self.addCleanup(self.host.run, "systemctl", "start", UNIT)
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus")), ("success", "0"))
        self.assertIn('"stopped"', self.journal())


if __name__ == "__main__":
    unittest.main()
