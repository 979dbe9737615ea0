"""An api key arrives as it was given, whatever is in it, and no process list, output or log shows it."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from engine import HANG, environment, objects
from harness import FOLDER, WrapperCase, found, program, shims

# What a shell, a file format or an option parser could mangle; a workshop has room for ten.
KEYS = (
    "sk-canary-\"double\" 'single' `back`",
    " sk-canary-blanks  at\tboth ends ",
    "sk-canary-$HOME ${PATH} $(id) $1 $$",
    "sk-canary-two\nlines\n",
    "\n\nsk-canary-lines around\r\n",
    "sk-canary-\\n \\\\ %s %% & ; | < > * ? [a] ~ !",
    "--api-key=sk-canary-option",
    "-n sk-canary-\x7f-\x01",
    "sk-canary-ключ-鍵-🔑",
    "sk-canary-" + "k" * 4086,
)

# Stands before a program: notes its arguments, whether its environment has the key, and every process of the machine
# whose arguments have it, while the caller waits for it. Then it becomes the program.
RECORDER = f"""#!{sys.executable} -I
import glob, json, os, sys
needle = open(os.path.join(os.path.dirname(__file__), "needle"), "rb").read()
seen = []
for path in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        with open(path, "rb") as file:
            arguments = file.read()
    except OSError:
        continue
    if needle in arguments:
        seen.append(arguments.decode(errors="replace"))
given = any(needle in value for value in os.environb.values())
with open(os.path.join(os.path.dirname(__file__), "record"), "a") as file:
    print(json.dumps({{"arguments": sys.argv, "seen": seen, "given": given}}), file=file)
os.execv({{real}}, sys.argv)
"""


class Keys(WrapperCase):
    def test_every_key_arrives_unchanged_as_an_argument(self) -> None:
        workshop = self.workshop()
        for seat, key in enumerate(KEYS, start=1):
            made = self.create(workshop, seat, key)
            self.assertEqual(environment(made["name"])["ANTHROPIC_API_KEY"], key)
        self.assertNotIn("sk-canary", self.good("list-containers", workshop, "--json"))

    def test_every_key_arrives_unchanged_from_the_environment(self) -> None:
        workshop = self.workshop()
        for seat, key in enumerate(KEYS, start=1):
            made = self.create(workshop, seat, ORCHESTRATOR_API_KEY=key)
            self.assertEqual(environment(made["name"])["ANTHROPIC_API_KEY"], key)

    def test_every_seat_of_a_workshop_gets_it(self) -> None:
        for arguments, variables in (([KEYS[0] + KEYS[3]], {}), ([], {"ORCHESTRATOR_API_KEY": KEYS[0] + KEYS[3]})):
            workshop = self.workshop()
            self.good("create-workshop", workshop, "2", *arguments, **variables)
            for name in objects("ps", workshop):
                self.assertEqual(environment(name)["ANTHROPIC_API_KEY"], KEYS[0] + KEYS[3])

    def test_an_argument_comes_before_the_environment_and_an_empty_one_is_none(self) -> None:
        workshop = self.workshop()
        for seat, (argument, variable, expected) in enumerate(
            (
                ("sk-canary-argument", "sk-canary-variable", "sk-canary-argument"),
                ("", "sk-canary-variable", "sk-canary-variable"),
                ("", "", None),
            ),
            start=1,
        ):
            made = self.create(workshop, seat, argument, ORCHESTRATOR_API_KEY=variable)
            self.assertEqual(environment(made["name"]).get("ANTHROPIC_API_KEY"), expected)

    def test_a_key_that_cannot_be_is_refused_without_being_quoted(self) -> None:
        workshop = self.workshop()
        done = self.wrapper("create-container", workshop, "1", "sk-canary-" + "k" * 5000)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("an api key has at most 4096 bytes", done.stderr)
        self.assertNotIn("sk-canary", done.stderr)
        self.assertEqual(objects("ps", workshop), [])

    def test_no_output_and_no_log_shows_it(self) -> None:
        workshop = self.workshop()
        said = ""
        for name, *arguments in (
            ("create-container", workshop, "1", "sk-canary-said"),
            ("create-container", workshop, "1", "sk-canary-said"),
            ("create-workshop", workshop, "2", "sk-canary-said"),
            ("create-container", workshop, "0", "sk-canary-said"),
            ("create-container", workshop, "3", "sk-canary-said", "sk-canary-said"),
            ("list-containers", workshop, "--json"),
            ("list-containers", workshop),
            ("destroy-container", workshop, "1"),
            ("destroy-workshop", workshop),
        ):
            done = self.wrapper(name, *arguments)
            said += done.stdout + done.stderr
        self.assertIn(f"clarateach-{workshop}-1", said)
        self.assertNotIn("sk-canary", said)
        self.assertIn(workshop, self.service.log())
        self.assertNotIn("sk-canary", self.service.log())


class ProcessList(WrapperCase):
    """Every program that a wrapper starts is found in a folder of recorders, and in no other: what it is given is noted
    before it runs, so that nothing depends on looking at the right moment."""

    needle = "sk-canary-process-list"

    def setUp(self) -> None:
        super().setUp()
        if not os.path.exists("/proc/self/cmdline"):
            self.skipTest("no /proc to read the process list from")
        directory = tempfile.TemporaryDirectory(prefix="recorders-")
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        (self.folder / "needle").write_text(self.needle)
        programs = {name: found(name) for name in ("cut", "sed", "tr")} | {"orchestrator": program()}
        self.recorders = [str(path) for path in shims(self.folder, programs, RECORDER)]

    def records(self) -> list[dict[str, Any]]:
        path = self.folder / "record"
        if not path.exists():
            return []
        noted = [json.loads(line) for line in path.read_text().splitlines()]
        path.unlink()
        return noted

    def call(self, name: str, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        """Runs a wrapper that finds nothing but recorders, and returns what they noted."""
        bash = os.environ.get("WRAPPER_BASH") or found("bash")
        env = self.environment(**variables) | {"PATH": str(self.folder)}
        del env["ORCHESTRATOR_BIN"]
        done = self.run_command([bash, str(FOLDER / f"{name}.sh"), *arguments], env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.records()

    def test_the_recorders_see_a_key_where_there_is_one(self) -> None:
        subprocess.run([self.recorders[0], self.needle], capture_output=True, check=False)
        (noted,) = self.records()
        self.assertIn(self.needle, noted["arguments"])
        self.assertTrue(noted["seen"])
        # And in a process that is nothing of theirs.
        with subprocess.Popen(
            [found("bash"), "-c", "echo ready; read -r line", self.needle],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        ) as other:
            assert other.stdin is not None and other.stdout is not None
            other.stdout.readline()
            subprocess.run([self.recorders[0], "--version"], capture_output=True, env={"A": self.needle}, check=False)
            other.stdin.close()
            other.wait(HANG)
        (noted,) = self.records()
        self.assertEqual(len(noted["seen"]), 1, noted)
        self.assertTrue(noted["given"])

    def test_no_process_has_the_key_in_its_arguments(self) -> None:
        key = f"{self.needle} \"$HOME\"\n'x'"
        for name, number in (("create-container", "1"), ("create-workshop", "2")):
            for arguments, variables in (([key], {}), ([], {"ORCHESTRATOR_API_KEY": key})):
                workshop = self.workshop()
                noted = self.call(name, workshop, number, *arguments, **variables)
                self.assertTrue(noted)
                for one in noted:
                    self.assertNotIn(self.needle, "\0".join(one["arguments"]))
                    self.assertEqual(one["seen"], [], f"while {one['arguments']} starts")
                # It goes, in the environment, to the one command that needs it.
                (given,) = [one["arguments"] for one in noted if one["given"]]
                self.assertEqual([word for word in given if word in ("class", "up")], ["class", "up"])
                self.assertEqual(environment(f"clarateach-{workshop}-1")["ANTHROPIC_API_KEY"], key)

    def test_the_recorders_are_all_that_the_wrappers_find(self) -> None:
        workshop = self.workshop()
        self.call("create-container", workshop, "1")
        for name, *arguments in (
            ("list-containers",),
            ("list-containers", workshop, "--json"),
            ("destroy-container", workshop, "1"),
            ("destroy-workshop", workshop),
        ):
            self.assertTrue(self.call(name, *arguments, ORCHESTRATOR_API_KEY=self.needle))
