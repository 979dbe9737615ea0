"""The wrappers list and destroy seats as the former scripts did, those that the scripts made included.

ORCHESTRATOR_BIN=target/debug/orchestrator python3 -m unittest discover -s deploy/compat/tests
"""

import json
import time
import unittest
from typing import Any

from engine import HANG, IMAGE, as_the_scripts_did, docker, environment, inspect, leftovers, objects
from harness import WrapperCase


class List(WrapperCase):
    def test_nothing(self) -> None:
        workshop = self.workshop()
        self.assertEqual(self.good("list-containers", workshop, "--json"), "[]\n")
        self.assertEqual(self.good("list-containers", workshop), "No containers found\n")

    def test_one_workshop_or_all_as_json(self) -> None:
        one, other = self.workshop(), self.workshop()
        first, second = self.create(one, 1), self.create(one, 2)
        third = self.create(other, 1)
        docker("stop", second["name"])
        expected: list[dict[str, Any]] = [
            {"seat": 1, "state": "running", "ip": first["ip"], "status": "running"},
            {"seat": 2, "state": "stopped", "ip": "", "status": "stopped"},
        ]
        for made, more in zip((first, second), expected, strict=True):
            more |= {"name": made["name"], "id": made["id"][:12], "workshop": one}
        self.assertEqual(self.listed(one), expected)
        self.assertEqual(list(self.listed(one)[0]), ["name", "id", "workshop", "seat", "state", "ip", "status"])
        # The argument and the option in either order.
        self.assertEqual(json.loads(self.good("list-containers", "--json", one)), expected)
        everything = self.listed()
        self.assertEqual([entry for entry in everything if entry["workshop"] == one], expected)
        self.assertEqual([e["id"] for e in everything if e["workshop"] == other], [third["id"][:12]])

    def test_the_table(self) -> None:
        workshop = self.workshop()
        made, stopped = self.create(workshop, 1), self.create(workshop, 10)
        docker("stop", stopped["name"])
        header, rule, *rows = self.good("list-containers", workshop).splitlines()
        self.assertEqual(header.split(), ["NAME", "ID", "WORKSHOP", "SEAT", "IP", "STATUS"])
        self.assertEqual(set(rule), {"-"})
        self.assertEqual(rows[0].split(), [made["name"], made["id"][:12], workshop, "1", made["ip"], "running"])
        self.assertEqual(rows[1].split(), [stopped["name"], stopped["id"][:12], workshop, "10", "-", "stopped"])
        self.assertEqual(len(rows), 2)
        self.assertIn(rows[0], self.good("list-containers").splitlines())

    def test_what_a_learner_prints_cannot_break_the_json(self) -> None:
        workshop = self.workshop()
        says = 'printf \'%s\\n\' \'say "hi" \\ {"a": [1]}\' >&2; exit 3'
        name = as_the_scripts_did(workshop, 1, "sh", "-c", says)
        deadline = time.monotonic() + HANG
        while 'say "hi" \\ {"a": [1]}' not in (entry := self.listed(workshop)[0])["status"]:
            self.assertLess(time.monotonic(), deadline, entry)
            time.sleep(0.2)
        self.assertEqual((entry["name"], entry["state"]), (name, "unknown"))


class Destroy(WrapperCase):
    def test_one_and_its_data(self) -> None:
        workshop = self.workshop()
        self.create(workshop, 1)
        kept = self.create(workshop, 2)
        output = self.good("destroy-container", workshop, "1")
        self.assertIn(f"clarateach-{workshop}-1", output)
        self.assertEqual(leftovers(workshop), [kept["name"], kept["volume"], kept["network"]])
        self.good("destroy-container", workshop, "2")
        self.assertEqual(leftovers(workshop), [])

    def test_one_and_its_data_is_kept_for_the_next(self) -> None:
        workshop = self.workshop()
        made = self.create(workshop, 1)
        docker("exec", made["name"], "sh", "-c", "echo homework >/workspace/file")
        self.assertIn("kept", self.good("destroy-container", workshop, "1", "--keep-data"))
        self.assertEqual((objects("ps", workshop), objects("volume", workshop)), ([], [made["volume"]]))
        # What is not there is not destroyed: the kept data neither.
        done = self.wrapper("destroy-container", workshop, "1")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn(f"Warning: Container {made['name']} does not exist", done.stderr)
        self.assertEqual(objects("volume", workshop), [made["volume"]])
        self.create(workshop, 1)
        self.assertEqual(docker("exec", made["name"], "cat", "/workspace/file"), "homework")

    def test_a_workshop(self) -> None:
        workshop = self.workshop()
        self.good("create-workshop", workshop, "3")
        self.good("destroy-workshop", workshop, "--keep-data")
        volumes = [f"clarateach-{workshop}-{seat}-data" for seat in (1, 2, 3)]
        self.assertEqual(leftovers(workshop), volumes)
        done = self.wrapper("destroy-workshop", workshop)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn(f"No containers found for workshop: {workshop}", done.stderr)
        self.assertEqual(leftovers(workshop), volumes)
        self.good("create-workshop", workshop, "1")
        self.good("destroy-workshop", workshop)
        self.assertEqual(leftovers(workshop), [])

    def test_what_is_not_there_is_a_warning(self) -> None:
        workshop = self.workshop()
        # A workshop may begin with a dash; it is no option.
        for name, *arguments in (
            ("destroy-container", workshop, "1"),
            ("destroy-container", workshop, "9999", "--keep-data"),
            ("destroy-container", "-x-", "1"),
            ("destroy-workshop", workshop, "--keep-data"),
            ("destroy-workshop", "---"),
        ):
            done = self.wrapper(name, *arguments)
            self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
            self.assertIn("Warning: ", done.stderr)


class MadeByTheScripts(WrapperCase):
    def test_listed_refused_and_destroyed(self) -> None:
        workshop = self.workshop()
        first = as_the_scripts_did(workshop, 1, "serve", key="sk-canary-old")
        second = as_the_scripts_did(workshop, 2, "serve")
        network = f"clarateach-{workshop}"
        deadline = time.monotonic() + HANG
        seen = self.listed(workshop)
        while {entry["status"] for entry in seen} != {"running"}:
            self.assertLess(time.monotonic(), deadline, seen)
            time.sleep(0.1)
            seen = self.listed(workshop)
        for seat, (entry, name) in enumerate(zip(seen, (first, second), strict=True), start=1):
            there = inspect(name)
            address = there["NetworkSettings"]["Networks"][network]["IPAddress"]
            expected = {"name": name, "id": there["Id"][:12], "workshop": workshop, "seat": seat}
            self.assertEqual(entry, expected | {"state": "running", "ip": address, "status": "running"})
        self.assertIn(first, self.good("list-containers"))

        identity = inspect(first)["Id"]
        for key in (["sk-canary-old"], ["sk-canary-new"], []):
            self.assertIn("already exists", self.bad("create-container", workshop, "1", *key))
        self.assertEqual(inspect(first)["Id"], identity)
        # A class counts what is there as the scripts did, and adds what is missing.
        self.assertIn("already exists", self.bad("create-workshop", workshop, "3"))
        self.assertEqual(objects("ps", workshop), [first, second, f"clarateach-{workshop}-3"])

        docker("exec", first, "sh", "-c", "echo homework >/workspace/file")
        self.good("destroy-container", workshop, "1", "--keep-data")
        self.create(workshop, 1, "sk-canary-new")
        self.assertEqual(docker("exec", first, "cat", "/workspace/file"), "homework")
        self.good("destroy-container", workshop, "2")
        self.assertNotIn(f"{second}-data", objects("volume", workshop))
        self.good("destroy-workshop", workshop)
        self.assertEqual(leftovers(workshop), [])

    def test_a_container_that_runs_is_running_before_it_answers(self) -> None:
        workshop = self.workshop()
        # This one never listens; the service gives it a minute.
        as_the_scripts_did(workshop, 1, "idle", image=f"{IMAGE}:mute")
        (seen,) = self.listed(workshop)
        self.assertEqual(seen["state"], "running")
        self.assertRegex(seen["status"], "^starting: ")
        self.assertIn("already exists", self.bad("create-container", workshop, "1"))

    def test_the_scripts_find_what_the_wrappers_made(self) -> None:
        workshop = self.workshop()
        made = self.create(workshop, 7)
        found = docker(
            "ps",
            "--all",
            "--filter=label=clarateach.type=learner-workspace",
            f"--filter=label=clarateach.workshop={workshop}",
            "--format={{.Names}} {{.Label \"clarateach.seat\"}}",
        )
        self.assertEqual(found, f"{made['name']} 7")
        variables = environment(made["name"])
        self.assertEqual((variables["SEAT"], variables["CONTAINER_ID"]), ("7", "c-07"))


if __name__ == "__main__":
    unittest.main()
