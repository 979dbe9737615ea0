"""The engine as the tests of the wrappers see it from outside: the client `docker`, and what the former scripts did."""

import json
import subprocess
from typing import Any

IMAGE = "clarateach-testbed"
# Far longer than anything takes: only a hang gets here.
HANG = 120


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=HANG)
    if done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


def inspect(name: str) -> Any:
    return json.loads(docker("inspect", name))[0]


def environment(container: str) -> dict[str, str]:
    """The variables of a container, unchanged."""
    return dict(variable.split("=", 1) for variable in inspect(container)["Config"]["Env"])


def objects(kind: str, workshop: str) -> list[str]:
    """The names of a workshop's containers ("ps"), volumes or networks."""
    command = [kind, "--all"] if kind == "ps" else [kind, "ls"]
    name = "{{.Names}}" if kind == "ps" else "{{.Name}}"
    return sorted(docker(*command, f"--filter=label=clarateach.workshop={workshop}", f"--format={name}").split())


def leftovers(workshop: str) -> list[str]:
    return [name for kind in ("ps", "volume", "network") for name in objects(kind, workshop)]


def remove(workshop: str) -> None:
    for kind, command in (("ps", ["rm", "-f"]), ("volume", ["volume", "rm"]), ("network", ["network", "rm"])):
        if names := objects(kind, workshop):
            docker(*command, *names)


def as_the_scripts_did(workshop: str, seat: int, *command: str, key: str = "", image: str = IMAGE) -> str:
    """Makes a seat with plain docker commands: names, labels and settings of the former scripts."""
    network, name = f"clarateach-{workshop}", f"clarateach-{workshop}-{seat}"
    of_workshop, of_seat = f"--label=clarateach.workshop={workshop}", f"--label=clarateach.seat={seat}"
    if not objects("network", workshop):
        docker("network", "create", "--driver=bridge", "--label=clarateach.type=workshop-network", of_workshop, network)
    docker("volume", "create", "--label=clarateach.type=workspace-data", of_workshop, of_seat, f"{name}-data")
    variables = {
        "WORKSPACE_DIR": "/workspace",
        "TERM": "xterm-256color",
        "TERMINAL_PORT": "3001",
        "FILES_PORT": "3002",
        "AUTH_DISABLED": "false",
        "SEAT": str(seat),
        "CONTAINER_ID": f"c-{seat:02}",
    }
    if key:
        variables["ANTHROPIC_API_KEY"] = key
    options = [f"--env={name}={value}" for name, value in variables.items()]
    options += ["--label=clarateach.type=learner-workspace", of_workshop, of_seat, f"--hostname=seat-{seat}"]
    options += [f"--network={network}", f"--volume={name}-data:/workspace", "--restart=unless-stopped"]
    command = command or ("node", "/home/learner/server/dist/index.js")
    docker("run", "--detach", f"--name={name}", *options, image, *command)
    return name
