"""The files of the workspace over HTTP.

    GET /files/{path}   a directory: its entries as JSON; a file: its bytes
    PUT /files/{path}   writes a file (and makes its directories), at most MAX_FILE_BYTES

Paths are relative to the workspace, percent-encoded, and may not lead out of it, neither by `..` nor through a symbolic
link. The server runs as the learner, so this guards against mistakes and curious URLs; what the learner may not read,
the kernel refuses anyway.
"""

import errno
import os
import stat
from contextlib import suppress
from http import HTTPStatus
from itertools import islice
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from web import Handler, Refusal, method_not_allowed, not_found

MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_ENTRIES = 2000
CHUNK = 64 * 1024

# What the file system may answer, and how that is told to the client.
OS_ERRORS: dict[int, tuple[HTTPStatus, str, str]] = {
    errno.ENOENT: (HTTPStatus.NOT_FOUND, "not_found", "There is no such file."),
    errno.EACCES: (HTTPStatus.FORBIDDEN, "forbidden", "The file's permissions don't allow this."),
    errno.EPERM: (HTTPStatus.FORBIDDEN, "forbidden", "The file's permissions don't allow this."),
    errno.EROFS: (HTTPStatus.FORBIDDEN, "forbidden", "The workspace is read-only."),
    errno.ENOTDIR: (HTTPStatus.CONFLICT, "not_a_directory", "A part of the path is a file."),
    errno.EEXIST: (HTTPStatus.CONFLICT, "not_a_directory", "A part of the path is a file."),
    errno.EISDIR: (HTTPStatus.CONFLICT, "is_a_directory", "The path is a directory."),
    errno.ELOOP: (HTTPStatus.BAD_REQUEST, "bad_path", "The path's symbolic links run in a circle."),
    errno.ENAMETOOLONG: (HTTPStatus.BAD_REQUEST, "bad_path", "The path is too long."),
    errno.ENXIO: (HTTPStatus.CONFLICT, "not_a_file", "The path is neither a file nor a directory."),
    errno.ENOSPC: (HTTPStatus.INSUFFICIENT_STORAGE, "disk_full", "The workspace's disk is full."),
    errno.EDQUOT: (HTTPStatus.INSUFFICIENT_STORAGE, "disk_full", "The workspace's quota is used up."),
}


class FilesHandler(Handler):
    service = "files"

    def trouble(self) -> str | None:
        workspace = self.server.settings.workspace
        if not os.access(workspace, os.R_OK | os.W_OK | os.X_OK):
            return f"{workspace} is missing or not writable by uid {os.getuid()}"
        return None

    def route(self, method: str, path: str) -> None:
        if path == "/" and method == "GET":
            self.answer_info(files="/files/", max_file_bytes=MAX_FILE_BYTES)
            return
        if path != "/files" and not path.startswith("/files/"):
            not_found()
        try:
            target = resolve(self.server.settings.workspace, path.removeprefix("/files"))
            if method == "PUT":
                self.write(target)
            elif method == "GET":
                self.read(target)
            else:
                method_not_allowed()
        except (ConnectionError, TimeoutError):
            raise  # about the client, not about a file
        except OSError as error:
            raise refusal_for(error) from error

    def read(self, target: str) -> None:
        if os.path.isdir(target):
            self.answer_json(HTTPStatus.OK, listing(self.server.settings.workspace, target))
            return
        # Without waiting: opening a named pipe would block until somebody writes into it.
        with open(target, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ENXIO, "not a regular file")
            # Never a type that a browser would run: a learner's page must not act under this origin.
            self.answer(HTTPStatus.OK, "application/octet-stream", status.st_size)
            if self.command != "HEAD":
                self.copy_out(file, status.st_size)

    def copy_out(self, file: BinaryIO, size: int) -> None:
        while size > 0 and (chunk := file.read(min(size, CHUNK))):
            self.wfile.write(chunk)
            size -= len(chunk)

    def write(self, target: str) -> None:
        size = self.body_size()
        if os.path.isdir(target):
            raise OSError(errno.EISDIR, "is a directory")
        existed = os.path.lexists(target)
        if existed and not os.path.isfile(target):
            raise OSError(errno.ENXIO, "not a regular file")
        parent = os.path.dirname(target)
        os.makedirs(parent, exist_ok=True)

        # Written beside the target and renamed: a reader sees the old file or the new one, never a half.
        temporary = os.path.join(parent, f".upload-{os.urandom(8).hex()}")
        try:
            with open(temporary, "xb") as file:
                if existed:
                    os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
                self.copy_in(file, size)
            os.replace(temporary, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        self.answer_json(
            HTTPStatus.OK if existed else HTTPStatus.CREATED,
            {"path": shown(os.path.relpath(target, self.server.settings.workspace)), "size": size},
        )

    def body_size(self) -> int:
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdecimal()):
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "length_required", "Send the file with a Content-Length.")
        # Cut before converting: a number of a million digits is not worth parsing.
        if len(text) > 18 or int(text) > MAX_FILE_BYTES:
            message = f"A file may have at most {MAX_FILE_BYTES} bytes."
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", message)
        return int(text)

    def copy_in(self, file: BinaryIO, size: int) -> None:
        while size > 0:
            chunk = self.read_body(min(size, CHUNK))
            if not chunk:
                raise Refusal(HTTPStatus.BAD_REQUEST, "short_body", "The body ended before its Content-Length.")
            file.write(chunk)
            size -= len(chunk)


def resolve(workspace: str, encoded: str) -> str:
    """The real path that a URL's path means, proven to lie inside the (real) path of the workspace."""
    raw = unquote_to_bytes(encoded)
    if b"\0" in raw:
        raise Refusal(HTTPStatus.BAD_REQUEST, "bad_path", "The path contains a NUL.")
    real = os.path.realpath(os.path.join(workspace, os.fsdecode(raw).lstrip("/")))
    if os.path.commonpath([workspace, real]) != workspace:
        raise Refusal(HTTPStatus.FORBIDDEN, "outside_workspace", "The path leads out of the workspace.")
    return real


def listing(workspace: str, directory: str) -> dict[str, Any]:
    with os.scandir(directory) as found:
        some = list(islice(found, MAX_ENTRIES + 1))
    entries = sorted((describe(entry) for entry in some[:MAX_ENTRIES]), key=lambda entry: entry["name"])
    return {
        "path": shown(os.path.relpath(directory, workspace)),
        "entries": entries,
        "truncated": len(some) > MAX_ENTRIES,
    }


def describe(entry: os.DirEntry[str]) -> dict[str, Any]:
    about: dict[str, Any] = {"name": shown(entry.name), "type": "other"}
    with suppress(FileNotFoundError):  # it may have gone since
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            about["type"] = "symlink"
        elif stat.S_ISDIR(status.st_mode):
            about["type"] = "directory"
        elif stat.S_ISREG(status.st_mode):
            about["type"] = "file"
        about |= {"size": status.st_size, "modified": int(status.st_mtime)}
    return about


def shown(name: str) -> str:
    """A file name as valid Unicode: Linux allows any bytes in one, JSON does not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def refusal_for(error: OSError) -> Refusal:
    known = OS_ERRORS.get(error.errno or 0)
    if known is None:
        return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "io_error", os.strerror(error.errno or errno.EIO))
    return Refusal(*known)
