"""What both servers share: the settings, the HTTP handler with /health and authentication, and the listening socket.

Standard library only. One request per connection: nothing is reused, so a body that was never read can't be taken for
the next request by a proxy in front.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any, NoReturn

REQUEST_TIMEOUT_S = 30
# How much of an unwanted body is read and thrown away, so that the client sees our answer instead of a reset.
DRAIN_LIMIT = 16 * 1024 * 1024
DRAIN_TIMEOUT_S = 2

Json = Mapping[str, Any]


class SettingsError(Exception):
    """An environment variable holds something that can't be used."""


class Refusal(Exception):
    """A request that is answered with an error instead of a result."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Settings:
    """What the orchestrator tells a seat through its environment."""

    seat: str
    container_id: str
    workspace: str
    terminal_port: int
    files_port: int
    auth_disabled: bool

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "Settings":
        return cls(
            seat=env.get("SEAT", ""),
            container_id=env.get("CONTAINER_ID", ""),
            workspace=os.path.realpath(env.get("WORKSPACE_DIR") or "/workspace"),
            terminal_port=_port(env, "TERMINAL_PORT", 3001),
            files_port=_port(env, "FILES_PORT", 3002),
            # Only this exact word opens the servers: a typing error leaves them closed.
            auth_disabled=env.get("AUTH_DISABLED") == "true",
        )


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535):
        raise SettingsError(f"{name} must be a port number from 1 to 65535, not {text!r}")
    return int(text)


def listen(port: int) -> socket.socket:
    """A listening socket on every address, IPv6 included where the kernel has it."""
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    except (OSError, ValueError):
        return socket.create_server(("", port), backlog=128)


class Server(ThreadingMixIn, TCPServer):
    """Serves a socket that the supervisor has bound already, one thread per request."""

    daemon_threads = True

    def __init__(self, sock: socket.socket, handler: type[BaseRequestHandler], settings: Settings) -> None:
        super().__init__(sock.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.settings = settings

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            log("server", f"request failed: {error!r}")


class Handler(BaseHTTPRequestHandler):
    """GET /health for everyone; everything else goes to `route`, once authentication allows it."""

    service = "server"
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "clarateach-workspace"
    sys_version = ""
    timeout = REQUEST_TIMEOUT_S
    disable_nagle_algorithm = True
    # A request that can't be parsed sets neither.
    command = ""
    path = ""
    awaits_continue = False
    body_read = False

    # To be provided by a server.

    def route(self, method: str, path: str) -> None:
        """Answers one authorised request, or raises Refusal."""
        raise NotImplementedError

    def trouble(self) -> str | None:
        """Why this server can't do its work right now."""
        return None

    # Requests.

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("GET")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        path = self.path.partition("?")[0]
        try:
            if path == "/health" and method == "GET":
                self._health()
                return
            self._authorise()
            self.route(method, path)
        except Refusal as refusal:
            self.refuse(refusal)

    def _health(self) -> None:
        reason = self.trouble()
        body = {"status": "error", "reason": reason} if reason else {"status": "ok"}
        self.answer_json(
            HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK,
            {**body, "service": self.service, "seat": self.server.settings.seat},
        )

    def _authorise(self) -> None:
        # Checking a token's signature against JWKS_URL takes a cryptography library, which this small image does not
        # have. A token that can't be checked is no token, so the answer is the same with and without one.
        if not self.server.settings.auth_disabled:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "token_not_verifiable",
                "This reference image can't verify tokens; the full workspace image does. "
                "Only GET /health is open. For development, AUTH_DISABLED=true opens the rest.",
            )

    def handle_expect_100(self) -> bool:
        # The client is told to go on only when its body is wanted: see read_body.
        self.awaits_continue = True
        return True

    def read_body(self, size: int) -> bytes:
        if self.awaits_continue:
            self.awaits_continue = False
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        self.body_read = True
        return self.rfile.read(size)

    # Answers.

    def answer(
        self,
        status: HTTPStatus,
        kind: str,
        size: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def answer_bytes(self, status: HTTPStatus, kind: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.answer(status, kind, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, status: HTTPStatus, body: Json, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.answer_bytes(status, "application/json", json.dumps(body).encode() + b"\n", headers)

    def answer_info(self, **more: Any) -> None:
        settings = self.server.settings
        body = {"service": self.service, "seat": settings.seat, "container_id": settings.container_id}
        self.answer_json(HTTPStatus.OK, {**body, "workspace": settings.workspace, **more})

    def refuse(self, refusal: Refusal) -> None:
        headers = [("WWW-Authenticate", "Bearer")] if refusal.status == HTTPStatus.UNAUTHORIZED else []
        self.answer_json(refusal.status, {"error": {"code": refusal.code, "message": refusal.message}}, headers)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The base class calls this for requests that it can't parse or has no method for."""
        self.command = self.command or ""
        status = HTTPStatus(code)
        self.refuse(Refusal(status, status.name.lower(), message or status.phrase))

    # The end of a request.

    def finish(self) -> None:
        if not self.body_read and self._declares_body():
            with suppress(OSError):  # the client has gone: nobody to be polite to
                self._drain()
        super().finish()

    def _declares_body(self) -> bool:
        headers = getattr(self, "headers", None)
        return headers is not None and ("content-length" in headers or "transfer-encoding" in headers)

    def _drain(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(DRAIN_TIMEOUT_S)
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        left = DRAIN_LIMIT
        while left > 0 and time.monotonic() < deadline and (chunk := self.connection.recv(65536)):
            left -= len(chunk)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.path.partition("?")[0] != "/health":
            status = code.value if isinstance(code, HTTPStatus) else code
            log(self.service, f"{self.command} {self.path.partition('?')[0]!r} {status}")

    def log_message(self, format: str, *args: Any) -> None:
        log(self.service, (format % args).encode("unicode_escape").decode())


def log(who: str, text: str) -> None:
    print(f"{who}: {text}", file=sys.stderr, flush=True)


def method_not_allowed() -> NoReturn:
    raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "This route has no such method.")


def not_found() -> NoReturn:
    raise Refusal(HTTPStatus.NOT_FOUND, "not_found", "There is nothing here.")
