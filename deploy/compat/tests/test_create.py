"""The wrappers make seats as the former scripts did, on a real engine."""

import json
import subprocess

from engine import HANG, IMAGE, docker, environment, inspect, leftovers, objects
from harness import WrapperCase


class Create(WrapperCase):
    def test_the_last_line_describes_the_container(self) -> None:
        workshop = self.workshop()
        made = self.create(workshop, 1)
        name, network = f"clarateach-{workshop}-1", f"clarateach-{workshop}"
        self.assertEqual(list(made), ["name", "id", "ip", "network", "volume", "port"])
        self.assertRegex(made["id"], "^[0-9a-f]{64}$")
        seen = inspect(name)
        expected = {"name": name, "network": network, "volume": f"{name}-data", "port": 3001}
        expected |= {"id": seen["Id"], "ip": seen["NetworkSettings"]["Networks"][network]["IPAddress"]}
        self.assertEqual(made, expected)
        self.assertEqual(leftovers(workshop), [name, f"{name}-data", network])
        self.assertEqual(seen["Config"]["Image"], IMAGE)
        self.assertNotIn("ANTHROPIC_API_KEY", environment(name))

    def test_a_duplicate_is_refused_and_changes_nothing(self) -> None:
        workshop = self.workshop()
        made = self.create(workshop, 1, "sk-canary-1")
        # Another one says so, whether it asks for the same or not.
        for arguments in (["sk-canary-1"], ["sk-canary-2"], []):
            done = self.wrapper("create-container", workshop, "1", *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(f"Container {made['name']} already exists", done.stderr)
        # Nor is one started that somebody has stopped.
        docker("stop", made["name"])
        self.assertIn("already exists", self.bad("create-container", workshop, "1", "sk-canary-1"))
        seen = inspect(made["name"])
        self.assertEqual((seen["Id"], seen["State"]["Running"]), (made["id"], False))

    def test_of_many_at_once_one_makes_it(self) -> None:
        workshop = self.workshop()
        command, env = self.command("create-container", workshop, "3"), self.environment()
        running = [
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(5)
        ]
        outputs = [process.communicate(timeout=HANG) for process in running]
        codes = sorted(process.returncode for process in running)
        self.assertEqual(codes, [0, 1, 1, 1, 1], outputs)
        for process, (output, errors) in zip(running, outputs, strict=True):
            if process.returncode == 0:
                self.assertEqual(json.loads(output.splitlines()[-1])["id"], inspect(f"clarateach-{workshop}-3")["Id"])
            else:
                self.assertIn("already exists", errors)
                self.assertEqual(output.count("{"), 0, output)

    def test_the_image_is_the_one_that_is_asked_for(self) -> None:
        workshop = self.workshop()
        made = self.create(workshop, 10, WORKSPACE_IMAGE=f"{IMAGE}:healthcheck")
        self.assertEqual(inspect(made["name"])["Config"]["Image"], f"{IMAGE}:healthcheck")
        # An empty variable is none, as it was for the scripts.
        made = self.create(workshop, 1, WORKSPACE_IMAGE="", JWKS_URL="", AUTH_DISABLED="")
        self.assertEqual(inspect(made["name"])["Config"]["Image"], IMAGE)
        self.assertEqual(environment(made["name"])["AUTH_DISABLED"], "false")
        self.assertNotIn("JWKS_URL", environment(made["name"]))

    def test_how_learners_are_let_in_is_said_per_call(self) -> None:
        workshop = self.workshop()
        address = "http://127.0.0.1:9/jwks?a=b c&d='$HOME'"
        made = self.create(workshop, 1, AUTH_DISABLED="true", JWKS_URL=address)
        variables = environment(made["name"])
        self.assertEqual((variables["AUTH_DISABLED"], variables["JWKS_URL"]), ("true", address))
        workshop = self.workshop()
        self.good("create-workshop", workshop, "2", AUTH_DISABLED="true")
        for name in objects("ps", workshop):
            self.assertEqual(environment(name)["AUTH_DISABLED"], "true")
            self.assertNotIn("JWKS_URL", environment(name))

    def test_an_image_that_is_not_there_leaves_nothing(self) -> None:
        workshop = self.workshop()
        errors = self.bad("create-container", workshop, "1", WORKSPACE_IMAGE="127.0.0.1:1/no/such:image")
        self.assertIn("cannot be pulled", errors)
        self.assertEqual(leftovers(workshop), [])
        # The service remembers why for a while. That is no container: not in a list, and in nobody's way.
        self.assertEqual(self.listed(workshop), [])
        self.assertIn("does not exist", self.wrapper("destroy-container", workshop, "1").stderr)
        self.create(workshop, 1)

    def test_a_workspace_that_does_not_work_is_a_failure_that_can_be_seen(self) -> None:
        workshop = self.workshop()
        done = self.wrapper("create-container", workshop, "1", WORKSPACE_IMAGE=f"{IMAGE}:exits")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("the workspace exits with code 3", done.stderr)
        self.assertIn(f"Container clarateach-{workshop}-1 is there and does not work", done.stderr)
        (seen,) = self.listed(workshop)
        self.assertEqual((seen["name"], seen["state"]), (f"clarateach-{workshop}-1", "unknown"))
        self.assertRegex(seen["status"], "^error: the workspace exits with code 3")
        self.good("destroy-container", workshop, "1")
        self.assertEqual(leftovers(workshop), [])


class CreateWorkshop(WrapperCase):
    def test_a_class_and_again_with_one_more(self) -> None:
        workshop = self.workshop()
        output = self.good("create-workshop", workshop, "3", "sk-canary-class")
        made = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        self.assertEqual([one["name"] for one in made], [f"clarateach-{workshop}-{seat}" for seat in (1, 2, 3)])
        for one in made:
            self.assertEqual(inspect(one["name"])["Id"], one["id"])
            self.assertEqual(environment(one["name"])["ANTHROPIC_API_KEY"], "sk-canary-class")
        self.assertEqual(output.splitlines()[-1], f"Workshop {workshop}: 3 of 3 containers created")

        done = self.wrapper("create-workshop", workshop, "4", "sk-canary-class")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("already exists"), 3)
        self.assertEqual(len(done.stderr.splitlines()), 6, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1], f"Workshop {workshop}: 1 of 4 containers created")
        self.assertEqual([inspect(one["name"])["Id"] for one in made], [one["id"] for one in made])
        self.assertEqual(len(objects("ps", workshop)), 4)

    def test_ten_are_the_most_and_a_failed_one_fails_the_call(self) -> None:
        workshop = self.workshop()
        # A container that belongs to somebody else has the name of seat 2.
        foreign = docker("create", f"--name=clarateach-{workshop}-2", IMAGE)
        self.addCleanup(docker, "rm", "--force", foreign)
        done = self.wrapper("create-workshop", workshop, "10")
        self.assertEqual(done.returncode, 1)
        self.assertIn("seat 2", done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1], f"Workshop {workshop}: 9 of 10 containers created")
        self.assertEqual(inspect(f"clarateach-{workshop}-2")["Id"], foreign)
