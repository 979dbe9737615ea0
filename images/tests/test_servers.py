"""The workspace's servers, run straight from the source tree: no Docker needed.

python3 -m unittest discover -s images/tests
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVERS = Path(__file__).parents[1] / "workspace/rootfs/usr/local/lib/clarateach-workspace"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


class Seat:
    """A running supervisor with its two servers."""

    def __init__(self, workspace: str, **env: str) -> None:
        self.terminal, self.files = free_port(), free_port()
        settings = {
            "SEAT": "7",
            "CONTAINER_ID": "c-07",
            "WORKSPACE_DIR": workspace,
            "TERMINAL_PORT": str(self.terminal),
            "FILES_PORT": str(self.files),
        }
        command = [sys.executable, "-I", "-B", str(SERVERS)]
        self.process = subprocess.Popen(command, env=settings | env, stderr=subprocess.PIPE, text=True)
        for port in (self.terminal, self.files):
            self.wait_for(port)

    def wait_for(self, port: int) -> None:
        """Waits for an answer: a connection alone says only that the supervisor listens, not that a server runs."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.request(port, "GET", "/health")
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("the servers did not start")

    def request(
        self, port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def raw(self, port: int, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile("rb") as answer:
                return answer.read()

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)[1]


class ServersCase(unittest.TestCase):
    env: Mapping[str, str] = {}

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)
        self.workspace = self.scratch / "workspace"
        self.workspace.mkdir()
        self.seat = Seat(str(self.workspace), **self.env)
        self.addCleanup(self.seat.stop)

    def get(self, path: str) -> tuple[int, bytes]:
        return self.seat.request(self.seat.files, "GET", path)

    def put(self, path: str, body: bytes) -> tuple[int, bytes]:
        return self.seat.request(self.seat.files, "PUT", path, body)

    def error_code(self, answer: tuple[int, bytes]) -> tuple[int, Any]:
        return answer[0], json.loads(answer[1])["error"]["code"]


class Closed(ServersCase):
    """Without AUTH_DISABLED=true."""

    env: Mapping[str, str] = {"AUTH_DISABLED": "True"}

    def test_health_is_open(self) -> None:
        for port, service in ((self.seat.terminal, "terminal"), (self.seat.files, "files")):
            status, body = self.seat.request(port, "GET", "/health?probe=1")
            self.assertEqual((status, json.loads(body)), (200, {"status": "ok", "service": service, "seat": "7"}))

    def test_everything_else_is_refused_with_and_without_a_token(self) -> None:
        for port in (self.seat.terminal, self.seat.files):
            for method, path in (
                ("GET", "/"),
                ("GET", "/files"),
                ("PUT", "/files/a"),
                ("PUT", "/health"),
                ("GET", "/x"),
            ):
                for headers in ({}, {"Authorization": "Bearer abc.def.ghi"}):
                    with self.subTest(port=port, method=method, path=path, headers=headers):
                        answer = self.seat.request(port, method, path, b"x", headers)
                        self.assertEqual(self.error_code(answer), (401, "token_not_verifiable"))
        self.assertEqual(list(self.workspace.iterdir()), [])

    def test_a_refused_upload_gets_its_answer(self) -> None:
        answer = self.put("/files/big", b"x" * 8_000_000)
        self.assertEqual(answer[0], 401)


class Open(ServersCase):
    """With AUTH_DISABLED=true."""

    env: Mapping[str, str] = {"AUTH_DISABLED": "true"}

    def test_info(self) -> None:
        for port in (self.seat.terminal, self.seat.files):
            status, body = self.seat.request(port, "GET", "/")
            self.assertEqual(status, 200)
            self.assertEqual(json.loads(body)["container_id"], "c-07")
        page = self.seat.request(self.seat.terminal, "GET", "/", headers={"Accept": "text/html"})[1]
        self.assertIn(b"<h1>Seat 7</h1>", page)

    def test_write_list_read_replace(self) -> None:
        self.assertEqual(self.put("/files/lesson%201/a.py", b"print(1)\n")[0], 201)
        (self.workspace / "lesson 1/a.py").chmod(0o755)
        self.assertEqual(self.put("/files/lesson%201/a.py", b"print(2)\n")[0], 200)
        self.assertEqual(self.get("/files/lesson%201/a.py"), (200, b"print(2)\n"))
        self.assertEqual((self.workspace / "lesson 1/a.py").stat().st_mode & 0o777, 0o755)

        listed = json.loads(self.get("/files/")[1])
        self.assertEqual([(e["name"], e["type"]) for e in listed["entries"]], [("lesson 1", "directory")])
        self.assertEqual(json.loads(self.get("/files/lesson%201")[1])["entries"][0]["size"], 9)

    def test_no_way_out_of_the_workspace(self) -> None:
        secret = self.scratch / "secret"
        secret.write_text("s3cret")
        (self.workspace / "link").symlink_to(secret)
        (self.workspace / "up").symlink_to("..")
        (self.scratch / "workspace-2").mkdir()
        for path in (
            "/files/../secret",
            "/files/%2e%2e/secret",
            "/files/..%2fsecret",
            "/files/link",
            "/files/up",
            "/files/up/secret",
            "/files/../workspace-2",
        ):
            with self.subTest(path=path):
                self.assertEqual(self.error_code(self.get(path)), (403, "outside_workspace"))
                self.assertEqual(self.error_code(self.put(path, b"x")), (403, "outside_workspace"))
        # An absolute path is taken as relative.
        self.assertEqual(self.get(f"/files/{secret}")[0], 404)
        self.assertEqual(secret.read_text(), "s3cret")

    def test_things_that_are_no_files(self) -> None:
        os.mkfifo(self.workspace / "pipe")
        (self.workspace / "loop").symlink_to("loop")
        (self.workspace / "dir").mkdir()
        (self.workspace / "file").touch()
        for path, status in (
            ("pipe", 409),
            ("loop", 400),
            ("none", 404),
            ("file/x", 409),
            ("%00", 400),
            ("a" * 300, 400),
        ):
            with self.subTest(path=path):
                self.assertEqual(self.get(f"/files/{path}")[0], status)
        for path, status in (("pipe", 409), ("dir", 409), ("", 409), ("file/x", 409), ("%00", 400)):
            with self.subTest(put=path):
                self.assertEqual(self.put(f"/files/{path}", b"x")[0], status)

    def test_uploads_are_bounded_and_leave_nothing_half_done(self) -> None:
        too_large = self.put("/files/big", b"x" * (10 * 1024 * 1024 + 1))
        self.assertEqual(self.error_code(too_large), (413, "too_large"))
        head = b"PUT /files/a HTTP/1.1\r\nHost: x\r\n"
        files = self.seat.files
        self.assertIn(b" 411 ", self.seat.raw(files, head + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))
        self.assertIn(b" 411 ", self.seat.raw(files, head + b"Content-Length: -1\r\n\r\n"))
        self.assertIn(b" 413 ", self.seat.raw(files, head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"))
        self.assertIn(b" 400 ", self.seat.raw(files, head + b"Content-Length: 10\r\n\r\nshort"))
        self.assertEqual(list(self.workspace.iterdir()), [])

    def test_a_client_that_asks_first_is_told_to_go_on_once(self) -> None:
        head = b"PUT /files/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
        answer = self.seat.raw(self.seat.files, head + b"x" * 100_000)
        self.assertEqual(answer.count(b"100 Continue"), 1)
        self.assertIn(b" 201 ", answer)

    def test_names_that_are_not_unicode_are_listed(self) -> None:
        (Path(os.fsdecode(bytes(self.workspace) + b"/caf\xe9"))).touch()
        status, body = self.get("/files")
        self.assertEqual((status, json.loads(body)["entries"][0]["name"]), (200, "caf\\xe9"))
        self.assertEqual(self.get("/files/caf%E9")[0], 200)

    def test_bad_requests_get_json_and_harm_nothing(self) -> None:
        for request in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9\r\n\r\n",
            b"\x16\x03\x01\x02",
            b"DELETE / HTTP/1.1\r\n\r\n",
        ):
            with self.subTest(request=request):
                answer = self.seat.raw(self.seat.files, request)
                self.assertTrue(not answer or b'{"error": {"code": ' in answer, answer)
        # A body never passes for a second request.
        smuggled = b"GET /health HTTP/1.1\r\nContent-Length: 40\r\n\r\nGET /files HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(self.seat.raw(self.seat.files, smuggled).count(b"HTTP/1.1 "), 1)
        self.assertEqual(self.get("/health")[0], 200)
        self.assertNotIn("Traceback", self.seat.stop())

    @unittest.skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_health_tells_when_the_workspace_is_not_writable(self) -> None:
        self.workspace.chmod(0o555)
        self.assertEqual(self.get("/health")[0], 503)

    def test_health_tells_when_the_workspace_is_gone(self) -> None:
        self.workspace.rmdir()
        self.assertEqual(self.get("/health")[0], 503)


class Supervision(ServersCase):
    def children(self) -> list[int]:
        pid = self.seat.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def test_sigterm_ends_everything(self) -> None:
        servers = self.children()
        self.assertEqual(len(servers), 2)
        self.seat.stop()
        self.assertEqual(self.seat.process.returncode, 0)
        self.assertFalse([pid for pid in servers if Path(f"/proc/{pid}").exists()])

    def test_a_dead_server_comes_back(self) -> None:
        servers = self.children()
        self.assertEqual(len(servers), 2)
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        # The supervisor holds the sockets: a request made meanwhile waits.
        for port in (self.seat.terminal, self.seat.files):
            self.assertEqual(self.seat.request(port, "GET", "/health")[0], 200)
        self.assertIn("SIGKILL", self.seat.stop())

    def test_a_server_that_keeps_dying_ends_the_seat(self) -> None:
        deadline = time.monotonic() + 30
        while self.seat.process.poll() is None and time.monotonic() < deadline:
            for pid in self.children()[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        self.assertEqual(self.seat.process.wait(30), 1)
        self.assertIn("giving up", self.seat.stop())


class Starting(unittest.TestCase):
    def run_once(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-I", "-B", str(SERVERS), *command]
        return subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=30, check=False)

    def test_an_unusable_port_is_told(self) -> None:
        for port in ("http", "0", "65536", "-1", "1" * 5000, "٣"):
            done = self.run_once(TERMINAL_PORT=port)
            self.assertEqual((done.returncode, "TERMINAL_PORT must be" in done.stderr), (2, True), port[:10])

    def test_a_taken_port_is_told(self) -> None:
        with socket.create_server(("", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = self.run_once(TERMINAL_PORT=port, FILES_PORT=str(free_port()))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"can't listen on port {port}", done.stderr)

    def test_another_command_takes_the_place_of_the_servers(self) -> None:
        done = self.run_once("/bin/sh", "-c", "echo hello; exit 4")
        self.assertEqual((done.returncode, done.stdout), (4, "hello\n"))
        self.assertEqual(self.run_once("/no/such/program").returncode, 127)


if __name__ == "__main__":
    unittest.main()
