"""A machine with systemd for the tests: Debian's systemd as the first process of a container that shares this machine's
network and engine, as the unit's real host would."""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from support import HANG, docker, lines, run, scratch

PACKAGES = "systemd,systemd-sysv,libnss-systemd,nftables"

# What the kernel gives a machine: cgroups of one's own that can be written, and mounts that namespaces pass on.
BOOT = """
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    umount /sys/fs/cgroup/* 2>/dev/null
    umount /sys/fs/cgroup
    mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd &&
        mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
fi
mount --make-rshared / && exec /lib/systemd/systemd
"""


def missing() -> str:
    """Why there can be none here; empty when there can."""
    if os.geteuid() != 0:
        return "unpacking a userland needs root"
    if not shutil.which("mmdebstrap"):
        return "mmdebstrap is not installed (Debian: mmdebstrap)"
    return ""


def userland() -> Path:
    """An archive of this machine's own distribution with systemd. Made once."""
    archive = scratch() / "systemd.tar"
    if archive.exists():
        return archive
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    assert release, "/etc/os-release names no release"
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    sources = lines(run("apt-get", "indextargets", "--format", form, "Identifier: Packages").stdout)
    # What this machine needs to reach its mirror.
    dump = lines(run("apt-config", "dump").stdout)
    options = [f"--aptopt={line}" for line in dump if re.match(r"Acquire::(https?::|Check-|Retries )", line)]
    with tempfile.NamedTemporaryFile(dir=scratch(), suffix=".tar", delete=False) as new:
        made = Path(new.name)
    try:
        run(
            "mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--include={PACKAGES}", *options,
            release[1], made, "-", given="\n".join(sorted(set(sources))), timeout=1800,
            env={**os.environ, "TMPDIR": "/var/tmp"},
        )  # fmt: skip
        made.rename(archive)
    finally:
        made.unlink(missing_ok=True)
    return archive


class SystemdHost:
    """Boots it; `remove` takes it away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.image = f"{name}:latest"

    def boot(self) -> str | None:
        """Starts systemd. Returns why it does not run here, if so."""
        atexit.register(self.remove)
        docker("import", userland(), self.image)
        docker(
            "run", "--detach", f"--name={self.name}", "--network=host", "--cgroupns=private",
            "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE",
            "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
            "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--env=container=docker",
            "--volume=/var/run/docker.sock:/srv/docker.sock", self.image, "/bin/sh", "-c", BOOT,
        )  # fmt: skip
        # "--wait" ends when the system is up, degraded or not.
        for _ in range(100):
            done = run("docker", "exec", self.name, "systemctl", "is-system-running", "--wait", check=False)
            state = done.stdout.strip()
            if state in ("running", "degraded"):
                return None
            if docker("inspect", "--format={{.State.Running}}", self.name) != "true":
                break
        return f"systemd does not run in a container here: {state or docker('logs', self.name, check=False)[-500:]}"

    def run(self, *command: str, check: bool = True, given: str | None = None, timeout: float = HANG) -> str:
        interactive = [] if given is None else ["--interactive"]
        return docker("exec", *interactive, self.name, *command, check=check, given=given, timeout=timeout)

    def copy(self, source: Path, target: str) -> None:
        docker("cp", source, f"{self.name}:{target}")

    def write(self, path: str, text: str, mode: str) -> None:
        self.run("sh", "-c", f"umask 077; cat >{path}; chmod {mode} {path}", given=text)

    def remove(self) -> None:
        atexit.unregister(self.remove)
        docker("rm", "--force", self.name, check=False)
        docker("image", "rm", "--force", self.image, check=False)
