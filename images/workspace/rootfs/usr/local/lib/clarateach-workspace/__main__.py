"""The container's first process: starts the two servers, keeps them running, reaps children, stops promptly.

    supervisor (pid 1) --fork--> terminal server   TERMINAL_PORT
                       \\-fork--> files server      FILES_PORT

The supervisor binds both sockets itself: an unusable port ends the container at once with a reason, connections wait
in the backlog while a server is being restarted, and Python starts once instead of three times.

A server that dies is restarted after a growing pause. One that keeps dying ends the container with status 1, where the
orchestrator sees it. SIGTERM and SIGINT end everything within STOP_GRACE_S.
"""

import signal

WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# Before the other imports: the kernel drops a signal that its namespace's first process has no handler for, and a
# seat may be told to stop while it is still starting. Blocked signals are kept until they are waited for.
signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)

import os  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import NoReturn  # noqa: E402

from files import FilesHandler  # noqa: E402
from terminal import TerminalHandler  # noqa: E402
from web import Handler, Server, Settings, SettingsError, listen, log  # noqa: E402

STOP_GRACE_S = 0.5
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
# A server that lived this long was healthy: its next death counts as the first.
HEALTHY_AFTER_S = 30.0
MAX_DEATHS_IN_A_ROW = 6

# What the first, shell-scripted orchestrator passed as the command. The servers here take its place.
FORMER_COMMAND = ["node", "/home/learner/server/dist/index.js"]


@dataclass
class Role:
    """One server: what it serves and how it has been doing."""

    handler: type[Handler]
    sock: socket.socket
    pid: int = 0
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0

    @property
    def name(self) -> str:
        return self.handler.service


class Supervisor:
    def __init__(self, settings: Settings, roles: Sequence[Role]) -> None:
        self.settings = settings
        self.roles = roles

    def run(self) -> int:
        """Serves until told to stop; returns the exit status."""
        while True:
            self.start_due()
            if (caught := self.wait()) in (signal.SIGTERM, signal.SIGINT):
                self.stop()
                return 0
            if caught == signal.SIGCHLD and not self.reap():
                self.stop()
                return 1

    def start_due(self) -> None:
        now = time.monotonic()
        for role in self.roles:
            if not role.pid and role.due <= now:
                role.started = now
                role.pid = os.fork() or self.serve(role)

    def serve(self, role: Role) -> NoReturn:
        """The child's whole life."""
        try:
            for signum in WATCHED:
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            for other in self.roles:
                if other is not role:
                    other.sock.close()
            # Nothing ever asks this loop to end, so it need not wake up to look.
            Server(role.sock, role.handler, self.settings).serve_forever(poll_interval=3600)
        except BaseException as error:
            log(role.name, f"failed: {error!r}")
        finally:
            os._exit(1)

    def wait(self) -> int | None:
        """The next signal, or nothing when a restart is due."""
        pauses = [role.due - time.monotonic() for role in self.roles if not role.pid]
        if not pauses:
            return signal.sigwait(WATCHED)
        caught = signal.sigtimedwait(WATCHED, max(0.0, min(pauses)))
        return caught.si_signo if caught else None

    def reap(self) -> bool:
        """Collects everything that ended, orphans of the learner's included. False: a server keeps dying."""
        for pid, status in ended_children():
            role = next((role for role in self.roles if role.pid == pid), None)
            if role is None:
                continue
            now = time.monotonic()
            role.deaths = 1 if now - role.started >= HEALTHY_AFTER_S else role.deaths + 1
            role.pid = 0
            if role.deaths >= MAX_DEATHS_IN_A_ROW:
                log("supervisor", f"{role.name} server ended {role.deaths} times in a row, giving up")
                return False
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (role.deaths - 1))
            role.due = now + pause
            log("supervisor", f"{role.name} server ended ({describe(status)}), restarting in {pause:g}s")
        return True

    def stop(self) -> None:
        deadline = time.monotonic() + STOP_GRACE_S
        self.signal_servers(signal.SIGTERM)
        while self.signal_servers(0) and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, left)
            for pid, _ in ended_children():
                for role in self.roles:
                    role.pid = 0 if role.pid == pid else role.pid
        self.signal_servers(signal.SIGKILL)

    def signal_servers(self, signum: int) -> bool:
        running = [role.pid for role in self.roles if role.pid]
        for pid in running:
            os.kill(pid, signum)
        return bool(running)


def ended_children() -> list[tuple[int, int]]:
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, status))


def describe(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


def main(command: list[str]) -> int:
    if command and command != FORMER_COMMAND:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            log("supervisor", f"can't run {command[0]}: {error.strerror}")
            return 127
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        log("supervisor", str(error))
        return 2
    roles = []
    for handler, port in ((TerminalHandler, settings.terminal_port), (FilesHandler, settings.files_port)):
        try:
            roles.append(Role(handler, listen(port)))
        except OSError as error:
            log("supervisor", f"{handler.service} server can't listen on port {port}: {error.strerror}")
            return 1
    return Supervisor(settings, roles).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
