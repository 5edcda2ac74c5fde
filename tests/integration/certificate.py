"""Certificates for servers on loopback."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key and the certificate for 127.0.0.1 that it signed itself."""

    key: Path
    certificate: Path

    @classmethod
    def make(cls, directory: Path) -> "Certificate":
        """A new pair in the directory."""
        made = cls(directory / "server.key", directory / "server.crt")
        algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(made.key), "-out", str(made.certificate)]
        subprocess.run(["openssl", "req", "-x509", *algorithm, *subject, *files], check=True, capture_output=True)
        return made
