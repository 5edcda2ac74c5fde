"""The demo's web shop: a page with live numbers from PostgreSQL and Redis, by the standard library alone."""  # noqa: INP001 - one file, mounted into a container

import html
import os
import signal
import socket
import string
import subprocess
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

PORT: Final = 8000
FRESH_SECONDS: Final = 5.0
CHALLENGES: Final = "/.well-known/acme-challenge/"
PAGE: Final = string.Template(Path(__file__).with_name("page.html").read_text())
NEWEST_ORDER: Final = "SELECT coalesce(max(id), 0) FROM orders"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the page shows."""

    newest_order: int
    carts: int


class BackendError(Exception):
    """The database or the cache did not answer; the message names it."""


def newest_order() -> int:
    """Number of the newest order, by psql, since the standard library speaks no PostgreSQL."""
    login = Path("/run/secrets/shop")
    environment = {
        **os.environ,
        "PGUSER": (login / "username").read_text(),
        "PGPASSWORD": (login / "password").read_text(),
        "PGCONNECT_TIMEOUT": "2",
    }
    command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", NEWEST_ORDER]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, env=environment, capture_output=True, text=True, timeout=4, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        msg = f"PostgreSQL does not answer: {detail}"
        raise BackendError(msg) from error
    return int(done.stdout)


def carts() -> int:
    """Number of shopping carts, which are the only keys in Redis."""
    password = Path("/run/secrets/redis/password").read_text()
    try:
        with socket.create_connection((os.environ["REDIS_HOST"], 6379), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nDBSIZE\r\nQUIT\r\n".encode())
            replies = connection.makefile("rb").read().decode().splitlines()
    except OSError as error:
        msg = f"Redis does not answer: {error}"
        raise BackendError(msg) from error
    number = next((reply[1:] for reply in replies if reply.startswith(":")), None)
    if number is None:
        msg = f"Redis refuses: {replies}"
        raise BackendError(msg)
    return int(number)


class Desk:
    """Asks both servers at most every few seconds, however many people look at the page."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = Numbers(newest_order=0, carts=0)
        self._read_at = float("-inf")

    def numbers(self) -> Numbers:
        """The numbers, at most a few seconds old.

        Raises:
            BackendError: a server does not answer.
        """
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_SECONDS:
                self._numbers = Numbers(newest_order=newest_order(), carts=carts())
                self._read_at = time.monotonic()
            return self._numbers


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    desk = Desk()

    def do_GET(self) -> None:
        """The page at `/`, the health of everything behind it at `/healthz`."""
        path = self.path.partition("?")[0]
        if path.startswith(CHALLENGES):
            self._answer(HTTPStatus.OK, "text/plain", f"{path.removeprefix(CHALLENGES)}.shop\n")
        elif path in {"/", "/healthz"}:
            self._answer_live(path)
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here\n")

    do_HEAD = do_GET  # noqa: N815 - the standard library's name

    def _answer_live(self, path: str) -> None:
        try:
            numbers = self.desk.numbers()
        except BackendError as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n")
            return
        if path == "/healthz":
            self._answer(HTTPStatus.OK, "text/plain", "ok\n")
            return
        shown = {"orders": f"{numbers.newest_order:,}", "carts": f"{numbers.carts:,}"}
        page = PAGE.substitute({name: html.escape(value) for name, value in shown.items()})
        self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page)

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Probes ask every few seconds: a log of requests would bury everything else."""


def main() -> None:
    """Serve until SIGTERM; as the first process of its container it would otherwise ignore the signal."""
    server = ThreadingHTTPServer(("", PORT), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
