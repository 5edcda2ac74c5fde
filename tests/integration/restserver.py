"""A real REST server of restic for tests (`rclone serve restic`), on a free loopback port."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from integration.certificate import Certificate
from lab.port import free_port

USER: Final = "upkeep"
PASSWORD: Final = "p%'a\"$/:x@ü#?"  # noqa: S105 - of servers that live for one test


@dataclass(frozen=True, slots=True, kw_only=True)
class RestServer:
    """A running server that wants `PASSWORD`.

    Attributes:
        url: where it answers.
        directory: its repositories.
    """

    url: str
    directory: Path


@contextmanager
def running_rest(certificate: Certificate | None = None) -> Iterator[RestServer]:
    """A fresh server, stopped and removed afterwards; with a certificate it speaks only TLS."""
    place = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="upkeep-rest-") as made:
        directory = Path(made)
        options = [f"--addr={place}", f"--user={USER}", f"--config={directory / 'none'}"]
        if certificate:
            options += [f"--cert={certificate.certificate}", f"--key={certificate.key}"]
        environment = {**os.environ, "RCLONE_PASS": PASSWORD}
        command = ["rclone", "serve", "restic", *options, str(directory / "repositories")]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            assert any("Serving restic REST API on" in line for line in process.stderr), "it does not start"
            url = f"{'https' if certificate else 'http'}://{place}"
            yield RestServer(url=url, directory=directory / "repositories")
        finally:
            process.terminate()
            process.communicate(timeout=10)
