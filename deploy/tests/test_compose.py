"""The compose files, really up: images built without a registry, a class of two through the Portal API, nothing left.

images/workspace/build.sh && python3 -B -m unittest discover -s deploy/tests

Needs an engine, docker-compose, Node.js with npm, nft, and cargo (or ORCHESTRATOR_BIN, a static binary). The first run
compiles the service and fetches the portal's packages, and keeps both below target/. docs: deploy/README.md.
"""

import atexit
import io
import json
import re
import subprocess
import tarfile
import unittest

from portal import Portal
from stack import Stack
from stack_case import BASES, RUN, StackCase
from support import DEPLOY, ROOT, docker, lines, missing_stack, run

MISSING = missing_stack()
IMAGES = [f"ctdeploy-orchestrator:{RUN}", f"ctdeploy-portal:{RUN}"]


def setUpModule() -> None:
    if MISSING:
        return  # each test says why
    atexit.register(remove_images)
    unittest.addModuleCleanup(remove_images)
    BASES.build()
    stack = Stack(RUN, "build", BASES)
    unittest.addModuleCleanup(stack.down)
    stack.build()


def remove_images() -> None:
    atexit.unregister(remove_images)
    docker("image", "rm", "--force", *IMAGES, check=False)
    BASES.remove()
    left = BASES.left()
    assert not left, f"images left: {left}"


@unittest.skipIf(MISSING, MISSING)
class OnLinux(StackCase):
    name = "l"

    def test_both_are_confined(self) -> None:
        self.check_hardening(["NET_ADMIN"])
        self.check_loopback_only()
        for container in self.containers_of_stack().values():
            self.assertEqual(container["HostConfig"]["NetworkMode"], "host")

    def test_nobody_gets_in_without_a_token_or_a_sign_in(self) -> None:
        stranger = Portal(self.stack.portal_port)
        self.assertEqual(stranger.call("GET", "/api/health")[0], 200)
        self.assertEqual(stranger.call("GET", "/api/workshops")[0], 401)
        service = Portal(self.stack.service_port)
        self.assertEqual(service.call("GET", "/readyz")[0], 200)
        self.assertEqual(service.call("GET", "/workshops")[0], 401)

    def test_a_class_outlives_the_containers_of_service_and_portal(self) -> None:
        self.bring_up(api_key="sk-canary-the-key-of-a-class")
        before = self.lives()
        steps = (
            ("restart", "orchestrator"),
            ("restart", "portal"),
            ("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "orchestrator"),
            ("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "portal"),
        )
        for step in steps:
            with self.subTest(" ".join(step)):
                replaced = self.stack.inspect(step[-1])["State"]["StartedAt"]
                self.stack.compose(*step)
                self.stack.wait_healthy(step[-1])
                self.assertNotEqual(self.stack.inspect(step[-1])["State"]["StartedAt"], replaced)
                found = self.portal.wait_for(self.stack.workshop, "running")
                self.assertEqual([seat["status"] for seat in found["instances"]], ["running", "running"], found)
                self.assertEqual(self.lives(), before)
        self.delete_class()

    def test_seats_reach_neither_the_service_nor_the_portal(self) -> None:
        seats = self.bring_up()
        self.check_seats_reach_neither(seats[0])
        self.delete_class()

    def test_the_service_reaches_its_engine_and_guards_the_seats(self) -> None:
        doctor = ("orchestrator", "doctor", "--output=json")
        report = json.loads(docker("exec", self.stack.container("orchestrator"), *doctor))
        levels = {check["name"]: check["level"] for check in report["checks"]}
        wanted = ("engine", "image", "reach", "metadata", "service")
        self.assertEqual({name: levels.get(name) for name in wanted}, dict.fromkeys(wanted, "ok"), report)

    def test_secrets_are_in_files_only(self) -> None:
        told = json.dumps(self.containers_of_stack()) + self.stack.logs() + self.stack.compose("config")
        self.assertIn("orchestrator_token", told)
        self.assertNotIn("sk-canary-", told)
        for name in ("orchestrator_token", "portal_secret", "portal_password_hash"):
            secret = (self.stack.folder / "secrets" / name).read_text().strip()
            self.assertGreater(len(secret), 20)
            self.assertNotIn(secret, told)


@unittest.skipIf(MISSING, MISSING)
class DownAndUp(StackCase):
    name = "d"

    def test_down_leaves_the_class_alone_and_after_it_nothing(self) -> None:
        self.bring_up()
        before = self.lives()
        self.stack.compose("down")
        self.assertEqual(self.stack.containers(), [])
        self.assertEqual(self.lives(), before)
        # The portal's volume is still there: it knows its workshop, and who is signed in.
        self.stack.up_again()
        found = self.portal.wait_for(self.stack.workshop, "running")
        self.assertEqual(len(found["instances"]), 2)
        self.assertEqual(self.lives(), before)
        self.delete_class()
        self.stack.compose("down", "--volumes")
        self.assertEqual(self.stack.left(), [])


@unittest.skipIf(MISSING, MISSING)
class AsOnMacos(StackCase):
    """docker-compose.macos.yml with one thing changed. On Linux host.docker.internal is the gateway of Docker's own
    bridge instead of the Mac, so that is where the seats publish their ports; macOS itself is not tried here."""

    file = "docker-compose.macos.yml"
    name = "m"

    @classmethod
    def setUpClass(cls) -> None:
        gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
        cls.settings = {"CLARATEACH_SEATS_PUBLISH": gateway or "172.17.0.1"}
        super().setUpClass()

    def reachable(self, endpoint: str) -> str:
        self.assertIn("//host.docker.internal:", endpoint)
        return endpoint.replace("host.docker.internal", self.settings["CLARATEACH_SEATS_PUBLISH"])

    def test_a_class_of_two_and_seats_reach_neither_the_service_nor_the_portal(self) -> None:
        self.check_hardening([])
        self.check_loopback_only()
        seats = self.bring_up()
        self.check_seats_reach_neither(seats[0])
        self.delete_class()


@unittest.skipIf(MISSING, MISSING)
class Images(unittest.TestCase):
    def test_the_services_image_holds_the_binary_and_nft_alone(self) -> None:
        container = docker("create", IMAGES[0])
        self.addCleanup(docker, "rm", "--force", container)
        exported = subprocess.run(["docker", "export", container], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
            files = {f"/{member.name}" for member in archive if member.isfile() and member.size > 0}
        own = {name for name in files if not re.search(r"/(ld-linux|lib)[^/]*\.so[^/]*$", name)}
        self.assertEqual(own, {"/usr/local/bin/orchestrator", "/usr/sbin/nft"})

    def test_the_plain_target_is_one_static_binary(self) -> None:
        tag = f"ctdeploy-plain:{RUN}"
        self.addCleanup(docker, "image", "rm", "--force", tag, check=False)
        docker(
            "build", "--quiet", "--target=orchestrator", f"--build-arg=RUST_IMAGE={BASES.rust}", f"--tag={tag}",
            "--file", DEPLOY / "docker/orchestrator.Dockerfile", ROOT, timeout=1800,
        )  # fmt: skip
        layers = json.loads(docker("image", "inspect", tag))[0]["RootFS"]["Layers"]
        self.assertEqual(len(layers), 1)
        self.assertIn("orchestrator", docker("run", "--rm", "--network=none", "--read-only", tag, "--version"))

    def test_a_service_that_is_not_ready_is_unhealthy(self) -> None:
        done = run("docker", "run", "--rm", "--network=none", IMAGES[0], "healthcheck", check=False)
        self.assertEqual(done.returncode, 5, done)
        self.assertIn("not ready", done.stderr)
        done = run("docker", "run", "--rm", "--network=none", IMAGES[1], "healthcheck.mjs", check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("not healthy", done.stderr)

    def test_nothing_but_what_the_portal_needs_is_in_its_image(self) -> None:
        def found(*arguments: str) -> set[str]:
            search = ("run", "--rm", "--network=none", "--entrypoint=find", IMAGES[1], "/srv/portal", *arguments)
            return {line.removeprefix("/srv/portal/") for line in lines(docker(*search))}

        top = found("-mindepth", "1", "-maxdepth", "1")
        self.assertEqual(top, {"package.json", "node_modules", "src", "dist", "healthcheck.mjs"})
        packages = found("-path", "/srv/portal/node_modules/*", "-maxdepth", "3", "-name", "package.json")
        names = {name.removeprefix("node_modules/").removesuffix("/package.json") for name in packages}
        self.assertIn("fastify", names)
        tools = set(json.loads((ROOT / "portal/package.json").read_text())["devDependencies"])
        self.assertEqual(names & tools, set())

    def test_every_setting_of_the_example_is_known(self) -> None:
        example = (DEPLOY / ".env.example").read_text()
        pairs = dict(re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", example, re.MULTILINE))
        compose = (DEPLOY / "docker-compose.yml").read_text()
        portal = docker("run", "--rm", "--network=none", IMAGES[1], "dist/cli/config-reference.js")
        for name in pairs:
            if name.startswith("CLARATEACH_"):
                self.assertIn(f"${{{name}:-", compose)
            elif name.startswith("PORTAL_"):
                self.assertIn(f"| `{name}` |", portal)
        ours = [f"--env={name}={value}" for name, value in pairs.items() if name.startswith("ORCHESTRATOR_")]
        self.assertGreater(len(ours), 3)
        docker("run", "--rm", "--network=none", *ours, IMAGES[0], "serve", "--print-config")


if __name__ == "__main__":
    unittest.main()
