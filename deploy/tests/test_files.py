"""What can be said about the files without an engine."""

import difflib
import re
import unittest

from support import DEPLOY


def essence(name: str) -> list[str]:
    """A compose file without comments and blank lines."""
    text = (DEPLOY / name).read_text()
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


class ComposeFiles(unittest.TestCase):
    def test_they_differ_in_networks_alone(self) -> None:
        difference = difflib.ndiff(essence("docker-compose.yml"), essence("docker-compose.macos.yml"))
        changed = [line for line in difference if line[0] in "+-"]
        about_networks = re.compile(
            r"network|ports:|extra_hosts|_LISTEN: |DOCKER_PUBLISH|ENDPOINT_HOST|ORCHESTRATOR_URL|NET_ADMIN"
            r"|_TARGET:-|^\+   (front|back|out):$|^\+     internal: true$"
        )
        self.assertGreater(len(changed), 10)
        self.assertEqual([line for line in changed if not about_networks.search(line)], [])

    def test_ports_are_published_on_loopback_alone(self) -> None:
        for name in ("docker-compose.yml", "docker-compose.macos.yml"):
            for line in essence(name):
                if "ports:" in line:
                    self.assertRegex(line, r'ports: \["127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+"\]$')
            addresses = re.findall(r"_LISTEN: ([^\s:]+):", "\n".join(essence(name)))
            wanted = "0.0.0.0" if "macos" in name else "127.0.0.1"
            self.assertEqual(addresses, [wanted, wanted])


if __name__ == "__main__":
    unittest.main()
