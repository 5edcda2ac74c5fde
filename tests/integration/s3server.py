"""A real S3 server for tests (versitygw), on a free loopback port; its buckets are directories."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from integration.certificate import Certificate
from lab.port import free_port
from lab.s3 import versitygw

ACCESS_KEY: Final = "upkeep-in-tests"
SECRET_KEY: Final = "p%'a\"$/:x`y;#z=é"  # noqa: S105 - of servers that live for one test session
REGION: Final = "eu-test-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server.

    Attributes:
        url: where it answers.
        directory: its buckets.
        trust: the certificate that it shows; None where it speaks plain HTTP.
    """

    url: str
    directory: Path
    trust: Path | None = None

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self.url.rpartition(":")[2])

    def bucket(self, name: str) -> Path:
        """A new bucket; its objects are the files in the directory."""
        made = self.directory / name
        made.mkdir()
        return made

    def location(self, bucket: str, /, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of any type
        """What a policy says to use a bucket."""
        declared = {"endpoint": self.url, "bucket": bucket, "prefix": "of/shop", "secretRef": {"name": "s3-keys"}}
        return {**declared, **changes}


@contextmanager
def running_s3(certificate: Certificate | None = None) -> Iterator[S3Server]:
    """A fresh server, stopped and removed afterwards; with a certificate it speaks only TLS."""
    port = free_port()
    program = versitygw()
    with tempfile.TemporaryDirectory(prefix="upkeep-s3-") as made:
        directory = Path(made)
        options = ["--port", f"127.0.0.1:{port}", "--quiet", "--region", REGION]
        if certificate:
            options += ["--cert", str(certificate.certificate), "--key", str(certificate.key)]
        environment = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command = [str(program), *options, "posix", "--nometa", str(directory)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
            _wait(process, url)
            yield S3Server(url=url, directory=directory, trust=certificate.certificate if certificate else None)
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    # Only whether it answers matters here.
    transport = httpx.HTTPTransport(retries=10, verify=False)
    with httpx.Client(transport=transport, timeout=10) as client:
        client.get(url)
    assert process.poll() is None


@asynccontextmanager
async def answering(status: str, body: str) -> AsyncIterator[str]:
    """What gives one answer to everything, for example of status `200 OK`; yields its endpoint."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
