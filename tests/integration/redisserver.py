"""A real Redis or Valkey server for tests, on a free loopback port."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Any, Final

import redis

from integration.certificate import Certificate
from lab import servers
from lab.port import free_port

PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - of servers that live for one test session
_TEXT: Final[dict[str, Any]] = {"decode_responses": True, "encoding_errors": "surrogateescape"}
_PATIENCE_SECONDS: Final = 20
_CLUSTER_SIZE: Final = 3
_SLOTS: Final = 16384
_READY: Final = "Ready to accept connections"


class Product(StrEnum):
    """Who made the server."""

    REDIS = "redis"
    VALKEY = "valkey"

    def program(self) -> str:
        """The server's program: Debian's Redis, or the lab's Valkey."""
        return "redis-server" if self is Product.REDIS else str(servers.valkey())


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running server that wants `PASSWORD`."""

    host: str
    port: int

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.host}:{self.port}"

    def command(self, *words: str | bytes) -> Any:  # noqa: ANN401 - every command answers something else
        """Run one command as the default user."""
        with redis.Redis(host=self.host, port=self.port, password=PASSWORD, **_TEXT) as client:
            return client.execute_command(*words)


@contextmanager
def running_redis(
    certificate: Certificate | None = None,
    *options_of_its_own: str,
    file: Path | None = None,
    product: Product = Product.REDIS,
) -> Iterator[RedisServer]:
    """A fresh server, stopped and removed afterwards; with a certificate it speaks only TLS."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="upkeep-redis-") as directory:
        options = ["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "", "--dir", directory]
        options += ["--repl-diskless-sync-delay", "0"]
        options += options_of_its_own
        if certificate is None:
            options += ["--port", str(port)]
        else:
            files = ["--tls-key-file", str(certificate.key), "--tls-cert-file", str(certificate.certificate)]
            options += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *files]
        configuration = [str(file)] if file else []
        process = subprocess.Popen([product.program(), *configuration, *options], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if _READY in line:
                    break
            assert process.poll() is None, "".join(said)
            yield RedisServer(host="127.0.0.1", port=port)
        finally:
            process.terminate()
            process.communicate(timeout=10)


@contextmanager
def running_replica(primary: RedisServer) -> Iterator[RedisServer]:
    """A replica that has copied its primary."""
    link = ["--replicaof", f"{primary.host} {primary.port}", "--masterauth", PASSWORD]
    with running_redis(None, *link) as replica:
        _until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up")
        yield replica


@contextmanager
def running_node(announced: str = "127.0.0.1", product: Product = Product.REDIS) -> Iterator[RedisServer]:
    """A node of a cluster that knows no other and has no slots yet; it tells others to reach it where announced."""
    own = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-ip", announced]
    with running_redis(None, *own, product=product) as node:
        yield node


@contextmanager
def running_cluster(product: Product = Product.REDIS) -> Iterator[list[RedisServer]]:
    """Three primaries that share the slots of a cluster; sorted by port, the slots too."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running_node(product=product)) for _ in range(_CLUSTER_SIZE)]
        servers.sort(key=lambda server: server.port)
        bounds = [number * _SLOTS // _CLUSTER_SIZE for number in range(_CLUSTER_SIZE + 1)]
        for server, first, end in zip(servers, bounds, bounds[1:], strict=False):
            server.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
            bus = server.command("CONFIG", "GET", "cluster-port")["cluster-port"]
            servers[0].command("CLUSTER", "MEET", server.host, str(server.port), bus)
        _until(lambda: all("cluster_state:ok" in str(server.command("CLUSTER", "INFO")) for server in servers))
        yield servers


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "the servers did not find each other"
        Event().wait(0.05)
