"""Keys and certificates of a home-built cluster, made with the openssl command.

One authority signs everything, for a cluster that lives hours on one machine. It must never be used for a cluster that
anyone but this machine can reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.command import run

if TYPE_CHECKING:
    from pathlib import Path

DAYS = "365"
AUTHORITY = (
    *("-days", DAYS),
    *("-subj", "/CN=upkeep-lab-ca"),
    *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate speaks for: a Kubernetes user with groups, or a server with addresses, or both."""

    name: str
    """File name of the pair, without ending."""
    user: str
    group: str | None = None
    addresses: tuple[str, ...] = ()
    """Subject alternative names as openssl spells them: `IP:…`, `DNS:…`."""


def subject(identity: Identity) -> str:
    """Return the distinguished name that Kubernetes reads: O is the group, CN the user."""
    group = f"/O={identity.group}" if identity.group else ""
    return f"{group}/CN={identity.user}"


def extensions(identity: Identity) -> str:
    """Return the X.509 extensions of the identity's certificate, as an openssl extension file."""
    lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
    lines.append("extendedKeyUsage=clientAuth,serverAuth" if identity.addresses else "extendedKeyUsage=clientAuth")
    if identity.addresses:
        lines.append(f"subjectAltName={','.join(identity.addresses)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a directory of its own."""

    directory: Path

    @property
    def certificate(self) -> Path:
        """What clients trust."""
        return self.directory / "ca.crt"

    @property
    def key(self) -> Path:
        """What signs."""
        return self.directory / "ca.key"

    def create(self) -> None:
        """Make the authority unless it is there."""
        if self.certificate.exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _key(self.key)
        run(
            ["openssl", "req", "-x509", "-new", *AUTHORITY, "-key", self.key, "-out", self.certificate],
            doing="Making the cluster's certificate authority",
        )

    def issue(self, identity: Identity) -> tuple[Path, Path]:
        """Return certificate and key of `identity`, made if they are not there."""
        certificate, key = self.directory / f"{identity.name}.crt", self.directory / f"{identity.name}.key"
        if certificate.exists() and key.exists():
            return certificate, key
        doing = f"Making the certificate of {identity.name}"
        _key(key)
        request, details = self.directory / f"{identity.name}.csr", self.directory / f"{identity.name}.ext"
        details.write_text(extensions(identity))
        signer: list[str | Path] = ["-CA", self.certificate, "-CAkey", self.key]
        run(["openssl", "req", "-new", "-key", key, "-out", request, "-subj", subject(identity)], doing=doing)
        run(
            [
                "openssl",
                "x509",
                "-req",
                "-in",
                request,
                "-out",
                certificate,
                "-days",
                DAYS,
                "-extfile",
                details,
                *signer,
            ],
            doing=doing,
        )
        request.unlink()
        details.unlink()
        return certificate, key

    def signing_pair(self, name: str) -> tuple[Path, Path]:
        """Return public and private key for signing ServiceAccount tokens."""
        public, private = self.directory / f"{name}.pub", self.directory / f"{name}.key"
        if not public.exists():
            _key(private)
            run(
                ["openssl", "pkey", "-in", private, "-pubout", "-out", public],
                doing="Making the key that signs ServiceAccount tokens",
            )
        return public, private


def _key(path: Path) -> None:
    run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
        doing=f"Making the key {path.name}",
    )
    path.chmod(0o600)
