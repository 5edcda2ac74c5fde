"""A real Redis server for tests, on a free loopback port."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis

from integration.certificate import Certificate
from integration.loopback import free_port

PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - of servers that live for one test session
_READY: Final = "Ready to accept connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A running server that wants `PASSWORD`."""

    host: str
    port: int

    def command(self, *words: str) -> Any:  # noqa: ANN401 - every command answers something else
        """Run one command as the default user."""
        with redis.Redis(host=self.host, port=self.port, password=PASSWORD, decode_responses=True) as client:
            return client.execute_command(*words)


@contextmanager
def running_redis(certificate: Certificate | None = None) -> Iterator[RedisServer]:
    """A fresh server, stopped and removed afterwards; with a certificate it speaks only TLS."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="upkeep-redis-") as directory:
        options = ["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "", "--dir", directory]
        if certificate is None:
            options += ["--port", str(port)]
        else:
            files = ["--tls-key-file", str(certificate.key), "--tls-cert-file", str(certificate.certificate)]
            options += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *files]
        process = subprocess.Popen(["redis-server", *options], stdout=subprocess.PIPE, text=True)
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
