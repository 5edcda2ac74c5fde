"""Prometheus and its Alertmanager are started alike: where they listen, how they are secured, when they are ready."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from integration.certificate import Certificate

USER: Final = "upkeep"
PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - of a server that lives for one test
_HASH: Final = "$2b$04$oJSkWWgmG7YukH5h8ycd5.vJV9VSEcGhpZGEKUr8pMnkL4jDmF3Em"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How one of them is started.

    Attributes:
        name: of its executable.
        options: those besides where it listens and how it is secured.
        ready: what it says as soon as it answers.
    """

    name: str
    options: Sequence[str]
    ready: str


@contextmanager
def started(program: Program, place: str, directory: Path, certificate: Certificate | None) -> Iterator[str]:
    """Runs it at `host:port` as long as the block lasts; yields its URL without a path.

    With a certificate it speaks TLS and wants a password. The directory is for its files.
    """
    options = [*program.options, f"--web.listen-address={place}"]
    if certificate:
        pair = f"{{cert_file: {certificate.certificate}, key_file: {certificate.key}}}"
        (directory / "web.yml").write_text(f"tls_server_config: {pair}\nbasic_auth_users: {{{USER}: '{_HASH}'}}\n")
        options.append(f"--web.config.file={directory / 'web.yml'}")
    process = subprocess.Popen([program.name, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if program.ready in line:
                break
        assert any(program.ready in line for line in said[-1:]), "".join(said)
        yield f"{'https' if certificate else 'http'}://{place}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
