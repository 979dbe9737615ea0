"""Wrong arguments change nothing and say what is right; trouble ends with 1 and says what to do."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from engine import HANG, objects
from harness import FOLDER, WrapperCase, found, shims

USAGE = {
    "create-container": "create-container.sh WORKSHOP SEAT [API_KEY]",
    "create-workshop": "create-workshop.sh WORKSHOP SEATS [API_KEY]",
    "destroy-container": "destroy-container.sh WORKSHOP SEAT [--keep-data]",
    "destroy-workshop": "destroy-workshop.sh WORKSHOP [--keep-data]",
    "list-containers": "list-containers.sh [WORKSHOP] [--json]",
}
NO_WORKSHOPS = ("", "ab", "a" * 21, "Abc", "a_c", "a/c", "a c", "abc\n", "àbc", "a.c", "*", "..\n")
NO_SEATS = ("", "0", "11", "01", "-1", "+1", "1.0", "1e0", "one", " 1", "1\n", "100", "99999999999999999999", "١")


class Arguments(WrapperCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix="wrappers-")
        self.addCleanup(directory.cleanup)
        self.called = pathlib.Path(directory.name) / "called"
        # In the program's place: whoever gets here has not checked the arguments.
        script = f"#!/bin/sh\necho called >>{self.called}\n"
        (self.instead,) = shims(pathlib.Path(directory.name), {"orchestrator": ""}, script)

    def refused(self, name: str, *arguments: str) -> None:
        done = self.wrapper(name, *arguments, ORCHESTRATOR_BIN=str(self.instead))
        with self.subTest(name=name, arguments=arguments):
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, "^Error: ")
            self.assertIn(f"Usage: {USAGE[name]}\n", done.stderr)
            self.assertFalse(self.called.exists())

    def test_too_few_and_too_many(self) -> None:
        for name in ("create-container", "create-workshop", "destroy-container"):
            for arguments in ([], ["abc"], ["--help"], ["abc", "1", "x", "y"]):
                self.refused(name, *arguments)
        for arguments in ([], ["-h"], ["abc", "--keep-data", "x"]):
            self.refused("destroy-workshop", *arguments)
        for arguments in (["abc", "abd"], ["--help"], ["abc", "--json", "abd"]):
            self.refused("list-containers", *arguments)

    def test_what_is_no_workshop(self) -> None:
        for workshop in NO_WORKSHOPS:
            self.refused("create-container", workshop, "1")
            self.refused("create-workshop", workshop, "1")
            self.refused("destroy-container", workshop, "1")
            self.refused("destroy-workshop", workshop)
            self.refused("list-containers", workshop, "--json")

    def test_what_is_no_seat(self) -> None:
        for seat in NO_SEATS:
            self.refused("create-container", "abc", seat)
            self.refused("create-workshop", "abc", seat)
            if seat not in ("11", "100"):
                self.refused("destroy-container", "abc", seat)

    def test_what_is_no_option(self) -> None:
        for option in ("--keep", "--keep-data=yes", "keep-data", "-k", "--json"):
            self.refused("destroy-container", "abc", "1", option)
            self.refused("destroy-workshop", "abc", option)
        self.refused("list-containers", "--jsonl")

    def test_these_checks_let_good_arguments_pass(self) -> None:
        good = (("destroy-container", "abc", "1", ""), ("list-containers", "a-9"), ("list-containers",))
        for name, *arguments in good:
            self.wrapper(name, *arguments, ORCHESTRATOR_BIN=str(self.instead))
            self.assertTrue(self.called.exists(), name)
            self.called.unlink()


class Trouble(WrapperCase):
    def calls(self, workshop: str) -> list[list[str]]:
        return [
            ["create-container", workshop, "1", "sk-canary-1"],
            ["create-workshop", workshop, "2", "sk-canary-1"],
            ["destroy-container", workshop, "1"],
            ["destroy-workshop", workshop],
            ["list-containers", workshop, "--json"],
            ["list-containers", "--json"],
            ["list-containers"],
        ]

    def failing(self, call: list[str], expected: str, **variables: str) -> None:
        done = self.wrapper(*call, **variables)
        with self.subTest(call=call):
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(expected, done.stderr)

    def test_the_service_is_down(self) -> None:
        for call in self.calls(self.workshop()):
            # Port 1 needs root to listen on and nobody does.
            self.failing(call, "what to do: start it with", ORCHESTRATOR_URL="http://127.0.0.1:1")

    def test_the_token_is_wrong_or_missing(self) -> None:
        for token in ("sk-canary-wrong", ""):
            for call in self.calls(self.workshop()):
                self.failing(call, "what to do: give the service's token", ORCHESTRATOR_TOKEN=token)

    def test_the_program_is_not_there(self) -> None:
        for call in self.calls(self.workshop()):
            self.failing(call, "the program /no/where was not found", ORCHESTRATOR_BIN="/no/where")

    def test_the_service_goes_away_between_two_requests(self) -> None:
        # Lists, then finds nobody: what is there stays as it is.
        workshop = self.workshop()
        made = self.create(workshop, 1)
        directory = tempfile.TemporaryDirectory(prefix="wrappers-")
        self.addCleanup(directory.cleanup)
        script = '#!/bin/sh\ncase " $* " in *" list "*) ;; *) export ORCHESTRATOR_URL=http://127.0.0.1:1 ;; esac\n'
        script += 'exec {real} "$@"\n'
        real = {"orchestrator": self.environment()["ORCHESTRATOR_BIN"]}
        (breaks,) = shims(pathlib.Path(directory.name), real, script)
        for name, *arguments in (("create-container", "2"), ("destroy-container", "1"), ("destroy-workshop",)):
            self.failing([name, workshop, *arguments], "does not answer", ORCHESTRATOR_BIN=str(breaks))
        done = self.wrapper("create-workshop", workshop, "2", ORCHESTRATOR_BIN=str(breaks))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, f"Workshop {workshop}: 0 of 2 containers created\n")
        self.assertEqual(objects("ps", workshop), [made["name"]])


class Places(WrapperCase):
    def test_from_anywhere_and_by_any_path(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="a place ")
        self.addCleanup(directory.cleanup)
        place = pathlib.Path(directory.name)
        (place / "link").symlink_to(FOLDER)
        shutil.copytree(FOLDER, place / "a copy", ignore=shutil.ignore_patterns("tests"))
        bash = os.environ.get("WRAPPER_BASH") or found("bash")
        workshop = self.workshop()
        variables = self.environment()
        on_path = variables | {"PATH": f"{place / 'a copy'}:{variables['PATH']}"}
        for seat, (command, cwd, env) in enumerate(
            (
                ([str(place / "link/create-container.sh")], "/", variables),
                (["./a copy/create-container.sh"], str(place), variables),
                ([bash, "create-container.sh"], str(FOLDER), variables),
                ([found("env"), "create-container.sh"], "/", on_path),
            ),
            start=1,
        ):
            # With a key, so that the wrapper finds itself a second time.
            done = self.run_command([*command, workshop, str(seat), "sk-canary-place"], env, cwd)
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
        self.assertEqual(len(objects("ps", workshop)), 4)

    def test_other_output_settings_do_not_matter(self) -> None:
        workshop = self.workshop()
        self.create(workshop, 1, ORCHESTRATOR_OUTPUT="json")
        self.assertEqual(len(self.listed(workshop)), 1)


class Style(unittest.TestCase):
    def test_shellcheck_has_nothing_to_say(self) -> None:
        if shutil.which("shellcheck") is None:
            self.skipTest("shellcheck is not installed")
        scripts = sorted(str(path.relative_to(FOLDER.parent.parent)) for path in FOLDER.glob("*.sh"))
        self.assertEqual(len(scripts), 6)
        done = subprocess.run(
            ["shellcheck", "--external-sources", "--severity=style", *scripts],
            cwd=FOLDER.parent.parent,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
