"""Serves a few files to this computer, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from xnorcore.errors import UsageError

__all__ = ["HOST", "Server", "serve"]

HOST = "127.0.0.1"
_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json", "wasm": "application/wasm"}


class Server(ThreadingHTTPServer):
    """Gives files out of memory, and no others.

    Parameters
    ----------
    files : mapping of str to bytes
        By name; ``index.html`` is also the address without one.
    port : int
        0 picks a free one.

    Raises
    ------
    UsageError
        If the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], port: int) -> None:
        self.files = files
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on port {port} of {HOST}: {error.strerror}; choose another --port"
            ) from None

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://{HOST}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        data = self.server.files.get(name)
        if data is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        for key, value in (
            ("Content-Type", _TYPES.get(name.rpartition(".")[2], "application/octet-stream")),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for the address."""


def serve(server: Server, announce: Callable[[], None]) -> None:
    """Run a server until Ctrl-C; `announce` is called when it answers."""
    with server:
        announce()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            return
