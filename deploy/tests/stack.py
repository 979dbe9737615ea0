"""One admin stack: a project of Compose with ports, secrets, volumes and addresses of its own."""

import atexit
import json
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bases import Bases
from support import (
    DEPLOY,
    HANG,
    WORKSPACE,
    compose_command,
    docker,
    eventually,
    free_ports,
    lines,
    remains,
    remove,
    run,
)

PASSWORD = "sk-canary-a-password-of-the-tests"


class Stack:
    """Writes the .env and the secrets into a folder of its own, as README.md says, and drives Compose with them."""

    def __init__(self, run_id: str, name: str, bases: Bases, file: str = "docker-compose.yml", **settings: str) -> None:
        self.project = f"ctdeploy{run_id}{name}"
        self.file = DEPLOY / file
        self.workshop = f"ctd-{run_id}-{name}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.project}-"))
        self.service_port, self.portal_port = free_ports(2)
        self.images = [f"ctdeploy-orchestrator:{run_id}", f"ctdeploy-portal:{run_id}"]
        self.token = f"sk-canary-{secrets.token_hex(24)}"
        # A /24 of 10.221.0.0/16: room for sixteen workshops of ten seats.
        self.pool = f"10.221.{secrets.randbelow(256)}.0/24"
        self.settings = {
            "COMPOSE_PROJECT_NAME": self.project,
            "CLARATEACH_ENV_FILE": str(self.folder / "env"),
            "CLARATEACH_SECRETS": str(self.folder / "secrets"),
            "CLARATEACH_ORCHESTRATOR_PORT": str(self.service_port),
            "CLARATEACH_PORTAL_PORT": str(self.portal_port),
            "CLARATEACH_ORCHESTRATOR_IMAGE": self.images[0],
            "CLARATEACH_PORTAL_IMAGE": self.images[1],
            "CLARATEACH_RUST_IMAGE": bases.rust,
            "CLARATEACH_NODE_IMAGE": bases.node,
            "ORCHESTRATOR_SEATS_IMAGE": WORKSPACE,
            "ORCHESTRATOR_SEATS_MAX": "10",
            "ORCHESTRATOR_SEATS_MEMORY_MIB": "256",
            "ORCHESTRATOR_DOCKER_POOL": self.pool,
            "PORTAL_USER": "instructor",
            "PORTAL_MAX_SEATS": "10",
            "PORTAL_SECURE_COOKIES": "false",
            **settings,
        }
        env = "".join(f"{key}={value}\n" for key, value in self.settings.items())
        (self.folder / "env").write_text(env)
        (self.folder / "secrets").mkdir(mode=0o700)
        self.secret("orchestrator_token", self.token)
        self.secret("portal_secret", f"sk-canary-{secrets.token_hex(32)}")
        # Replaced when there is an image that can hash.
        self.secret("portal_password_hash", "none yet")
        # Should nobody get to it: the tests were stopped.
        atexit.register(self.down)

    def secret(self, name: str, text: str) -> None:
        path = self.folder / "secrets" / name
        path.unlink(missing_ok=True)
        path.write_text(f"{text}\n")
        path.chmod(0o444)

    def compose(self, *arguments: str, check: bool = True, given: str | None = None, timeout: float = HANG) -> str:
        """Runs Compose, cut off from the settings of whoever runs the tests. Returns both outputs."""
        ours = ("ORCHESTRATOR_", "PORTAL_", "CLARATEACH_", "COMPOSE_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        # The classic builder, which every engine has: BuildKit may want a plugin that is not there.
        env |= {"COMPOSE_DOCKER_CLI_BUILD": "0", "DOCKER_BUILDKIT": "0"}
        command = [*(compose_command() or []), "--env-file", str(self.folder / "env"), "--file", str(self.file)]
        done = run(*command, *arguments, check=check, env=env, cwd=self.folder, given=given, timeout=timeout)
        return done.stdout + done.stderr

    def build(self) -> None:
        self.compose("build", timeout=1800)

    def hash_password(self) -> None:
        """Makes the hash as README.md says: with the portal's own image."""
        options = ("--rm", "--interactive", "--network=none", "--read-only")
        hashed = docker("run", *options, self.images[1], "dist/cli/hash-password.js", given=f"{PASSWORD}\n")
        self.secret("portal_password_hash", hashed)

    def up(self) -> None:
        """Starts both containers and waits until their own health checks are content."""
        self.hash_password()
        self.up_again()

    def up_again(self) -> None:
        """The same for a stack whose password is set."""
        self.compose("up", "--detach", "--no-build")
        for service in ("orchestrator", "portal"):
            self.wait_healthy(service)

    def wait_healthy(self, service: str) -> None:
        def healthy() -> bool:
            state = self.inspect(service)["State"]
            assert state["Status"] == "running", f"{service} is {state['Status']}:\n{self.logs()}"
            return bool(state["Health"]["Status"] == "healthy")

        eventually(f"{service} is healthy", healthy, tell=self.logs)

    def logs(self) -> str:
        return self.compose("logs", "--no-color", check=False)

    def container(self, service: str) -> str:
        """The id of a service's container, as Compose's own labels name it."""
        found = self.containers(f"com.docker.compose.service={service}")
        assert len(found) == 1, f"{service} has {len(found)} containers"
        return found[0]

    def containers(self, *labels: str) -> list[str]:
        filters = [f"--filter=label={label}" for label in (f"com.docker.compose.project={self.project}", *labels)]
        return lines(docker("ps", "--all", "--quiet", "--no-trunc", *filters))

    def inspect(self, service: str) -> Any:
        return json.loads(docker("inspect", self.container(service)))[0]

    def seats(self) -> list[str]:
        """The ids of the class's containers."""
        label = f"clarateach.workshop={self.workshop}"
        return lines(docker("ps", "--all", "--quiet", "--no-trunc", f"--filter=label={label}"))

    def left(self) -> list[str]:
        """Everything on the engine that is of this stack or of its class, images apart."""
        return remains(f"com.docker.compose.project={self.project}", f"clarateach.workshop={self.workshop}")

    def down(self) -> None:
        """Removes what `left` finds, and what is outside the engine. For the end of a test, whatever became of it."""
        atexit.unregister(self.down)
        self.compose("down", "--volumes", "--remove-orphans", "--timeout=1", check=False)
        remove(self.left())
        # The service leaves its table in force on purpose (ADR 0009). Its image can remove it, whoever runs the tests.
        table = "clarateach_" + self.pool.replace(".", "_").replace("/", "_")
        nft = ("--entrypoint=nft", self.images[0], "delete", "table", "ip", table)
        docker("run", "--rm", "--network=host", "--cap-drop=ALL", "--cap-add=NET_ADMIN", *nft, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
