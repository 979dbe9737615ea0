"""The Portal API as an instructor's client sees it: a cookie, a CSRF token, JSON."""

import http.cookiejar
import json
import urllib.error
import urllib.request
from typing import Any

from support import eventually


class Portal:
    """A session with the portal at this port of loopback."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # No proxy: the portal is on this machine.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        self.csrf = ""

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer; 0 and what went wrong when there is none."""
        headers = {"x-csrf-token": self.csrf} if self.csrf else {}
        data = None
        if body is not None:
            headers["content-type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data=data, headers=headers, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, parse(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, parse(error.read())
        except OSError as error:
            return 0, str(error)

    def demand(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that must be a good one."""
        status, answer = self.call(method, path, body)
        assert 200 <= status < 300, f"{method} {path} answered {status}: {answer}"
        return answer

    def sign_in(self, name: str, password: str) -> None:
        self.csrf = self.demand("POST", "/api/session", {"name": name, "password": password})["csrf_token"]

    def bring_up(self, workshop: str, seats: int, **more: Any) -> Any:
        """Makes a workshop and waits until its seats run."""
        self.demand("POST", "/api/workshops", {"id": workshop, "seats": seats, **more})
        self.demand("POST", f"/api/workshops/{workshop}/start")
        return self.wait_for(workshop, "running")

    def wait_for(self, workshop: str, state: str) -> Any:
        def arrived() -> Any:
            found = self.demand("GET", f"/api/workshops/{workshop}")
            assert found["state"] in ("provisioning", "stopping", state), found
            return found if found["state"] == state else None

        return eventually(f"workshop {workshop} is {state}", arrived)

    def delete(self, workshop: str) -> None:
        """Deletes a workshop and waits until the portal does not know it any more."""
        self.demand("DELETE", f"/api/workshops/{workshop}")
        eventually(f"workshop {workshop} is gone", lambda: self.call("GET", f"/api/workshops/{workshop}")[0] == 404)


def parse(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
