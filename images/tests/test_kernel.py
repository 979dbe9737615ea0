"""The scripts of images/kernel, as far as they go without building a kernel.

python3 -m unittest discover -s images/tests
"""

import subprocess
import tempfile
import unittest
from pathlib import Path

KERNEL = Path(__file__).resolve().parents[1] / "kernel"

FRAGMENT = """# What it has. CONFIG_WORDS are no option.
CONFIG_EXT4_FS=y
CONFIG_LOCALVERSION="-a=b c"
# CONFIG_MODULES is not set
CONFIG_NR_CPUS=64
"""


class CheckTests(unittest.TestCase):
    def check(self, fragment: str, config: str) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "fragment"), Path(folder, "config")
            for file, text in zip(files, (fragment, config), strict=True):
                file.write_text(text)
            return subprocess.run([KERNEL / "check.sh", *files], capture_output=True, text=True, check=False)

    def test_what_has_everything_passes_without_a_word(self) -> None:
        config = FRAGMENT + "CONFIG_OTHER=y\n# CONFIG_THIRD is not set\n"
        done = self.check(FRAGMENT, config)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        # An option that is off may as well not be there.
        done = self.check(FRAGMENT, config.replace("# CONFIG_MODULES is not set\n", ""))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_each_option_that_is_lost_is_named(self) -> None:
        config = "CONFIG_MODULES=y\nCONFIG_NR_CPUS=8\n# CONFIG_EXT4_FS is not set\nCONFIG_FUSE_FS=m\n"
        done = self.check(FRAGMENT, config)
        self.assertEqual(done.returncode, 1)
        for line in (
            "CONFIG_EXT4_FS is not set, and shall be y",
            'CONFIG_LOCALVERSION is not set, and shall be "-a=b c"',
            "CONFIG_MODULES is y, and shall be not set",
            "CONFIG_NR_CPUS is 8, and shall be 64",
            "CONFIG_FUSE_FS is a module, and there are none",
        ):
            self.assertIn(f"\n  {line}\n", done.stderr)
        self.assertNotIn("CONFIG_WORDS", done.stderr)

    def test_a_fragment_that_cannot_be_meant_is_refused(self) -> None:
        done = self.check(FRAGMENT + "CONFIG_EXT4_FS=y\n", FRAGMENT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("CONFIG_EXT4_FS is in the fragment twice", done.stderr)
        done = self.check("# nothing\n", FRAGMENT)
        self.assertEqual(done.returncode, 1)
        self.assertIn("asks for nothing", done.stderr)

    def test_the_fragment_asks_for_each_option_once_and_for_no_module(self) -> None:
        fragment = (KERNEL / "seat.config").read_text()
        done = self.check(fragment, fragment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class BuildTests(unittest.TestCase):
    def build(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([KERNEL / "build.sh", *arguments], capture_output=True, text=True, check=False)

    def test_what_it_does_not_know_is_refused_before_anything_is_done(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = self.build("--cache", folder, "--bogus")
            self.assertEqual(done.returncode, 1)
            self.assertIn("--bogus", done.stderr)
            self.assertIn("usage", done.stderr)
            self.assertEqual(list(Path(folder).iterdir()), [])


if __name__ == "__main__":
    unittest.main()
