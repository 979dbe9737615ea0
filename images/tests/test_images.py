"""The built images on a real engine, under the limits that seats get. Skipped, with the reason, where one is missing.

images/workspace/build.sh && images/testbed/build.sh && python3 -m unittest discover -s images/tests
"""

import json
import subprocess
import time
import unittest
import urllib.error
import urllib.request
from typing import Any

WORKSPACE = "clarateach-workspace"
TESTBED = "clarateach-testbed"
HARDENED = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=512m", "--pids-limit=256")


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout + ("" if check else done.stderr)


def missing(image: str) -> str | None:
    try:
        docker("image", "inspect", image)
    except (AssertionError, FileNotFoundError):
        return f"no image {image} on a reachable engine"
    return None


class ImagesCase(unittest.TestCase):
    image = ""

    def setUp(self) -> None:
        if reason := missing(self.image):
            self.skipTest(reason)

    def start(self, image: str, *options: str) -> str:
        container = docker("run", "--detach", *HARDENED, *options, image).strip()
        self.addCleanup(docker, "rm", "--force", container)
        return container

    def volume(self) -> str:
        name = docker("volume", "create").strip()
        # Cleanups run in reverse: the containers that use it are gone by then.
        self.addCleanup(docker, "volume", "rm", name)
        return name

    def inspect(self, container: str) -> Any:
        return json.loads(docker("inspect", container))[0]

    def get(self, container: str, port: int, path: str = "/health") -> int:
        address = self.inspect(container)["NetworkSettings"]["IPAddress"]
        try:
            with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=2) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def eventually(self, container: str, port: int, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while self.get(container, port) != 200:
            self.assertLess(time.monotonic(), deadline, f"port {port} never answered: {docker('logs', container)}")
            time.sleep(0.01)

    def seconds_to_stop(self, container: str) -> float:
        started = time.monotonic()
        docker("stop", "--time=5", container)
        return time.monotonic() - started


class Workspace(ImagesCase):
    image = WORKSPACE

    def test_metadata(self) -> None:
        config = self.inspect(WORKSPACE)["Config"]
        self.assertEqual(config["User"], "learner")
        self.assertEqual(config["WorkingDir"], "/workspace")
        self.assertEqual(set(config["ExposedPorts"]), {"3001/tcp", "3002/tcp"})
        self.assertTrue({"WORKSPACE_DIR=/workspace", "TERMINAL_PORT=3001", "FILES_PORT=3002"} <= set(config["Env"]))
        self.assertIsNone(config.get("Healthcheck"))

    def test_serves_closed_and_open_and_stops_at_once(self) -> None:
        for auth_disabled, status in (("false", 401), ("true", 200)):
            container = self.start(WORKSPACE, "--env=SEAT=1", f"--env=AUTH_DISABLED={auth_disabled}")
            for port in (3001, 3002):
                self.eventually(container, port)
                self.assertEqual(self.get(container, port, "/"), status)
            self.assertLess(self.seconds_to_stop(container), 1.5)
            self.assertEqual(self.inspect(container)["State"]["ExitCode"], 0)

    def test_stops_at_once_even_while_it_starts(self) -> None:
        for pause in (0.03, 0.06, 0.1):
            container = self.start(WORKSPACE)
            time.sleep(pause)
            self.assertLess(self.seconds_to_stop(container), 1.5, f"told to stop after {pause}s")

    def test_the_former_command_changes_nothing(self) -> None:
        container = docker(
            "run", "--detach", *HARDENED, WORKSPACE, "node", "/home/learner/server/dist/index.js"
        ).strip()
        self.addCleanup(docker, "rm", "--force", container)
        self.eventually(container, 3001)

    def test_a_new_volume_belongs_to_the_learner_and_keeps_its_files(self) -> None:
        mount = f"--volume={self.volume()}:/workspace"
        docker("run", "--rm", *HARDENED, mount, WORKSPACE, "sh", "-c", "echo kept >note")
        seen = docker("run", "--rm", *HARDENED, mount, WORKSPACE, "sh", "-c", "cat note; stat -c %u:%g . note")
        self.assertEqual(seen.split(), ["kept", "1000:1000", "1000:1000"])

    def test_tools_and_user(self) -> None:
        script = "id -un; pwd; for t in bash git python3 less nano ps; do command -v $t >/dev/null || echo no $t; done"
        self.assertEqual(
            docker("run", "--rm", *HARDENED, WORKSPACE, "sh", "-c", script).split(), ["learner", "/workspace"]
        )

    def test_no_orphan_stays_a_zombie(self) -> None:
        container = self.start(WORKSPACE)
        self.eventually(container, 3001)
        docker("exec", container, "sh", "-c", "(sleep 0.1 &) ; (true &)")
        time.sleep(0.5)
        self.assertNotIn("Z", docker("exec", container, "ps", "-eo", "stat="))

    def test_nothing_of_the_building_machine_is_inside(self) -> None:
        script = "cat /etc/apt/sources.list; ls /etc/apt/apt.conf.d; ls -A /tmp /var/tmp"
        inside = docker("run", "--rm", WORKSPACE, "sh", "-c", script)
        self.assertNotIn("mmdebstrap", inside)
        self.assertNotIn("@", inside)


class Testbed(ImagesCase):
    image = TESTBED

    def test_serves_and_stops_at_once(self) -> None:
        container = self.start(TESTBED)
        self.eventually(container, 3001)
        self.eventually(container, 3002)
        self.assertLess(self.seconds_to_stop(container), 1.5)

    def test_exits(self) -> None:
        container = self.start(f"{TESTBED}:exits")
        self.assertEqual(docker("wait", container).strip(), "3")
        self.assertEqual(docker("logs", container, check=False), "boom: no licence file\n")

    def test_silent_ones_run_and_stop_at_once(self) -> None:
        for tag, exposed in (("mute", True), ("noport", False)):
            container = self.start(f"{TESTBED}:{tag}")
            time.sleep(0.3)
            state = self.inspect(container)
            self.assertTrue(state["State"]["Running"])
            self.assertEqual(bool(state["Config"].get("ExposedPorts")), exposed)
            self.assertEqual(self.get(container, 3001), 0)
            self.assertLess(self.seconds_to_stop(container), 1.5)

    def test_slow(self) -> None:
        container = self.start(f"{TESTBED}:slow")
        time.sleep(3)
        self.assertEqual(self.get(container, 3001), 0)
        self.eventually(container, 3001)
        self.assertLess(self.seconds_to_stop(self.start(f"{TESTBED}:slow")), 1.5)

    def test_health_checks(self) -> None:
        checked = {self.start(f"{TESTBED}:{tag}"): tag for tag in ("healthcheck", "unhealthy")}
        for container, tag in checked.items():
            wanted = "healthy" if tag == "healthcheck" else "unhealthy"
            deadline = time.monotonic() + 15
            while self.inspect(container)["State"]["Health"]["Status"] != wanted:
                self.assertLess(time.monotonic(), deadline, f"{tag} never became {wanted}")
                time.sleep(0.1)

    def test_stubborn(self) -> None:
        container = self.start(f"{TESTBED}:stubborn")
        self.eventually(container, 3001)
        docker("kill", "--signal=TERM", container)
        time.sleep(0.5)
        self.assertTrue(self.inspect(container)["State"]["Running"])

    def test_a_new_volume_belongs_to_the_user(self) -> None:
        mount = f"--volume={self.volume()}:/workspace"
        seen = docker("run", "--rm", *HARDENED, mount, TESTBED, "sh", "-c", "touch a; stat -c %u:%g . a")
        self.assertEqual(seen.split(), ["1000:1000", "1000:1000"])


if __name__ == "__main__":
    unittest.main()
