"""Certificates of every kind, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM form."""

    certificate: str
    key: str


class Issuer:
    """An authority in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._number = 0
        self._openssl(
            "req", "-x509", *_KEY, "-subj", "/O=Tests/CN=Test Authority", "-keyout", "ca.key", "-out", "ca.crt"
        )

    @property
    def certificate(self) -> str:
        """The authority's own, in PEM form."""
        return (self._directory / "ca.crt").read_text()

    def issue(self, *names: str, subject: str = "/CN=shop", days: int = 90) -> Pair:
        """A certificate for names such as `DNS:shop` and `IP:127.0.0.1`; with negative days one that has ended."""
        self._number += 1
        key, request, made = (f"{self._number}.{end}" for end in ("key", "csr", "crt"))
        self._openssl("req", *_KEY, "-utf8", "-subj", subject, "-keyout", key, "-out", request)
        (self._directory / "names").write_text(f"subjectAltName={','.join(names)}\n" if names else "")
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        self._openssl("x509", "-req", "-in", request, "-out", made, *signing, "-days", str(days))
        return Pair((self._directory / made).read_text(), (self._directory / key).read_text())

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._directory, check=True, capture_output=True)
