"""Kubeconfig files, as JSON (which every YAML reader takes), with the credentials inside.

It must never merge into a file of the user's.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def document(*, context: str, server: str, authority: bytes, certificate: bytes, key: bytes) -> dict[str, object]:
    """Return a kubeconfig with one context for one client certificate (all in PEM)."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {"name": context, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [
            {
                "name": context,
                "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }


def write(path: Path, *, context: str, server: str, authority: Path, pair: tuple[Path, Path]) -> Path:
    """Write a kubeconfig that only its owner can read, at once or not at all, and return its path."""
    certificate, key = pair
    text = json.dumps(
        document(
            context=context,
            server=server,
            authority=authority.read_bytes(),
            certificate=certificate.read_bytes(),
            key=key.read_bytes(),
        ),
        indent=1,
    )
    draft = path.with_name(f"{path.name}.tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
    return path


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
