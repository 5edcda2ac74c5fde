"""Where messages arrive in tests: an SMTP server and an HTTP server on the loopback, which can be told to refuse."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from lab.port import free_port


@dataclass
class Mailbox:
    """An SMTP server.

    Attributes:
        port: where it listens.
        mails: what it has taken, with the recipients.
        refused: recipients that it refuses.
        reply: what it answers to the content of a mail.
    """

    port: int
    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    reply: str = "250 OK"

    def url(self, *recipients: str) -> str:
        """A channel to it, as Apprise writes it."""
        to = ",".join(recipients)
        return f"mailto://127.0.0.1:{self.port}?from=upkeep@shop.example&to={to}&mode=insecure"

    async def handle_RCPT(  # noqa: N802 - the name that the library calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """One recipient."""
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """The content of a mail."""
        assert isinstance(envelope.content, bytes)
        if self.reply.startswith("250"):
            self.mails.append(([*envelope.rcpt_tos], message_from_bytes(envelope.content)))
        return self.reply


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server; it ends with the context."""
    box = Mailbox(free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


class Hook:
    """An HTTP server.

    Attributes:
        status: what it answers; 0: it hangs up instead of answering.
        bodies: all that it was sent, also what it refused.
        patience: set by the test to let answers go that are held back.
    """

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[dict[str, Any]] = []
        self.answers = threading.Event()
        self.answers.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.bodies.append(json.loads(body))
                hook.answers.wait()
                if hook.status:
                    self.send_response(hook.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def url(self, path: str = "/") -> str:
        """A channel to it, as Apprise writes it."""
        return f"json://127.0.0.1:{self.port}{path}"

    @property
    def subjects(self) -> list[str]:
        """The subjects of all that it was sent."""
        return [body["title"] for body in self.bodies]


@contextmanager
def hook() -> Iterator[Hook]:
    """An HTTP server; it ends with the context."""
    made = Hook()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.answers.set()
        made.server.shutdown()
        thread.join()
        made.server.server_close()
