"""What the tests of deploy/ share: running programs, waiting, and why something cannot run here."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
WORKSPACE = "clarateach-workspace"

# Only a hang gets there.
HANG = 300.0

T = TypeVar("T")

# Stopped by whatever signal, the tests do what is registered with atexit. unittest goes on after any other exception.
signal.signal(signal.SIGTERM, signal.default_int_handler)


class Failed(AssertionError):
    """A program ended with another code than 0."""


def run(
    *command: str | Path,
    check: bool = True,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    given: str | None = None,
    timeout: float = HANG,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; its output is text. With `check`, another code than 0 is an error that shows it."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=env, cwd=cwd, input=given, timeout=timeout
    )
    if check and done.returncode != 0:
        said = f"{done.stdout[-4000:]}{done.stderr[-8000:]}"
        raise Failed(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
    return done


def docker(*arguments: str | Path, check: bool = True, given: str | None = None, timeout: float = HANG) -> str:
    """The standard output of a docker command."""
    return run("docker", *arguments, check=check, given=given, timeout=timeout).stdout.strip()


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def remains(*labels: str) -> list[str]:
    """Containers, networks and volumes on the engine that carry one of the labels, as "kind name"."""
    found = []
    for label in labels:
        for kind, stopped_too in (("container", ["--all"]), ("network", []), ("volume", [])):
            names = docker(kind, "ls", *stopped_too, "--quiet", f"--filter=label={label}")
            found += [f"{kind} {name}" for name in lines(names)]
    return found


def remove(things: list[str]) -> None:
    """Removes what `remains` found: containers first, which use the others."""
    for thing in sorted(things):
        kind, name = thing.split(" ", 1)
        docker(kind, "rm", *(["--force"] if kind == "container" else []), name, check=False)


def eventually(what: str, probe: Callable[[], T | None], seconds: float = HANG, tell: Callable[[], str] = str) -> T:
    """Waits until the probe returns something; `tell` adds to the error when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}\n{tell()}")
        time.sleep(0.1)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is known, so that they differ."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def compose_command() -> list[str] | None:
    """docker-compose 1.29, or Compose v2 where that is what there is."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") and run("docker", "compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    return None


def missing_engine() -> str:
    """Why the service cannot be run on an engine here; empty when it can."""
    if not shutil.which("docker"):
        return "docker is not installed"
    if run("docker", "version", "--format", "{{.Server.Version}}", check=False).returncode != 0:
        return "no Docker engine answers"
    if run("docker", "image", "inspect", WORKSPACE, check=False).returncode != 0:
        return f"no image {WORKSPACE} (images/workspace/build.sh makes it)"
    if not shutil.which("cargo") and not given_binary():
        return "cargo is not installed, and ORCHESTRATOR_BIN names no static binary"
    return ""


def given_binary() -> Path | None:
    """The service's binary that the caller names, when it is static; those of everyday builds are not."""
    given = os.environ.get("CLARATEACH_TEST_SERVICE") or os.environ.get("ORCHESTRATOR_BIN")
    if not given or not Path(given).is_file():
        return None
    done = run("ldd", given, check=False, env={**os.environ, "LC_ALL": "C"})
    static = "statically linked" in done.stdout or "not a dynamic executable" in done.stdout + done.stderr
    return Path(given).resolve() if static else None


def missing_stack() -> str:
    """Why the stack cannot be built and run here; empty when it can."""
    if reason := missing_engine():
        return reason
    if compose_command() is None:
        return "neither docker-compose nor docker compose is installed (Debian: docker-compose)"
    for program, package in (("node", "nodejs"), ("npm", "npm"), ("nft", "nftables")):
        if not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
            return f"{program} is not installed (Debian: {package})"
    version = run("node", "--version").stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        return f"Node.js is too old: {version}, and the portal needs 20"
    return ""


def scratch() -> Path:
    """Where what takes long to make is kept from one run to the next."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "deploy-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
