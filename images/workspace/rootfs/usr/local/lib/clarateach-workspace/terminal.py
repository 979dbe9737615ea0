"""The terminal's place: says which seat this is.

It runs no commands. A terminal belongs to the full workspace image, behind verified tokens; the operator reaches a
shell in this one through the container engine.
"""

from html import escape
from http import HTTPStatus

from web import Handler, method_not_allowed, not_found

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Seat {seat}</title>
<h1>Seat {seat}</h1>
<p>This is <code>{container_id}</code>. Its files are in <code>{workspace}</code>.</p>
<p>The reference image has no terminal in the browser; the full workspace image does.</p>
</html>
"""


class TerminalHandler(Handler):
    service = "terminal"

    def route(self, method: str, path: str) -> None:
        if path != "/":
            not_found()
        if method != "GET":
            method_not_allowed()
        if "text/html" in self.headers.get("Accept", ""):
            settings = self.server.settings
            page = PAGE.format(
                seat=escape(settings.seat),
                container_id=escape(settings.container_id),
                workspace=escape(settings.workspace),
            )
            self.answer_bytes(HTTPStatus.OK, "text/html; charset=utf-8", page.encode())
        else:
            self.answer_info()
