"""What the tests of the wrappers share: a service of their own on a real engine, and runs of the wrappers.

Every workshop of a test is removed from the engine when the test ends, however it ends.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
from collections.abc import Iterator, Mapping
from typing import Any

from engine import HANG, IMAGE, docker, remove

FOLDER = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "sk-canary-token"

_numbers = itertools.count()


def named() -> str | None:
    """The program that whoever runs the tests wants tested."""
    return os.environ.get("CLARATEACH_TEST_SERVICE") or os.environ.get("ORCHESTRATOR_BIN")


def program() -> str:
    return os.path.abspath(named() or FOLDER.parent.parent / "target/debug/orchestrator")


def missing() -> str | None:
    """Why nothing can be tested here, or nothing."""
    try:
        docker("image", "inspect", IMAGE)
    except (AssertionError, FileNotFoundError):
        return f"no image {IMAGE} on a reachable engine (images/testbed/build.sh makes it)"
    if not named() and not os.path.exists(program()):
        return "the service is not built (cargo build -p orchestrator, or name it in ORCHESTRATOR_BIN)"
    return None


class Service:
    """A service on a free port, with Docker seats of the small image."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="wrappers-")
        flags = ["--listen=127.0.0.1:0", "--log-format=json", "--log-level=debug", "--provider=docker"]
        # The packet filter is the host's; these tests have no need to change it.
        flags += [f"--seats-image={IMAGE}", "--seats-memory-mib=64", "--docker-metadata-guard=off"]
        self.process = subprocess.Popen(
            [program(), "serve", *flags],
            env=plain_environment({"ORCHESTRATOR_TOKEN": TOKEN}),
            cwd=self.directory.name,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.stderr = self.process.stderr
        self.lines: list[str] = []
        self.listening = threading.Event()
        self.url = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.listening.wait(HANG) or not self.url:
            self.stop()
            raise AssertionError(f"the service does not start: {self.log()}")

    def _read(self) -> None:
        for line in self.stderr:
            self.lines.append(line)
            if not self.url and (found := re.search(r'"address":"(127\.0\.0\.1:\d+)"', line)):
                self.url = f"http://{found[1]}"
                self.listening.set()
        self.listening.set()

    def log(self) -> str:
        return "".join(self.lines)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(HANG)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            self.stderr.close()
            self.directory.cleanup()


_service: Service | None = None


def service() -> Service:
    """The service of the module that is being tested."""
    global _service
    if _service is None:
        _service = Service()
        unittest.addModuleCleanup(_stop)
    return _service


def _stop() -> None:
    global _service
    if _service is not None:
        _service.stop()
        _service = None


def plain_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of whoever runs the tests but where programs and the engine are."""
    known = ("PATH", "HOME", "DOCKER_HOST", "TMPDIR")
    return {name: os.environ[name] for name in known if name in os.environ} | dict(more)


class WrapperCase(unittest.TestCase):
    """A test with a running service."""

    def setUp(self) -> None:
        if reason := missing():
            self.skipTest(reason)
        self.service = service()

    def workshop(self) -> str:
        """A workshop that no other test uses."""
        name = f"w{os.getpid()}-{next(_numbers)}"
        self.addCleanup(remove, name)
        return name

    def environment(self, **more: str) -> dict[str, str]:
        own = {"ORCHESTRATOR_BIN": program(), "ORCHESTRATOR_URL": self.service.url, "ORCHESTRATOR_TOKEN": TOKEN}
        return plain_environment(own | more)

    def command(self, name: str, *arguments: str, folder: pathlib.Path = FOLDER) -> list[str]:
        bash = os.environ.get("WRAPPER_BASH")
        return [*([bash] if bash else []), str(folder / f"{name}.sh"), *arguments]

    def wrapper(self, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run_command(self.command(name, *arguments), self.environment(**variables))

    def run_command(
        self, command: list[str], env: Mapping[str, str], cwd: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )

    def good(self, name: str, *arguments: str, **variables: str) -> str:
        """Runs a wrapper that shall end with 0, and returns its standard output."""
        done = self.wrapper(name, *arguments, **variables)
        self.assertEqual(done.returncode, 0, f"{name}: {done.stdout}{done.stderr}")
        return done.stdout

    def bad(self, name: str, *arguments: str, **variables: str) -> str:
        """Runs a wrapper that shall end with 1, and returns its standard error."""
        done = self.wrapper(name, *arguments, **variables)
        self.assertEqual(done.returncode, 1, f"{name}: {done.stdout}{done.stderr}")
        return done.stderr

    def create(self, workshop: str, seat: int, *arguments: str, **variables: str) -> dict[str, Any]:
        """Makes a seat, and returns the object of the last line."""
        output = self.good("create-container", workshop, str(seat), *arguments, **variables)
        made: dict[str, Any] = json.loads(output.splitlines()[-1])
        return made

    def listed(self, *workshop: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.good("list-containers", *workshop, "--json"))
        return found


def shims(folder: pathlib.Path, programs: Mapping[str, str], script: str) -> Iterator[pathlib.Path]:
    """Writes a script under the name of each program; in it, {real} is the program's path."""
    for name, real in programs.items():
        path = folder / name
        path.write_text(script.replace("{real}", repr(real)))
        path.chmod(0o755)
        yield path


def found(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise AssertionError(f"{name} is not installed")
    return path
