"""The address of an API server and the credentials for it, out of a kubeconfig."""

import base64
import ssl
from pathlib import Path
from typing import Any

import yaml


def server_of(kubeconfig: Path, folder: Path) -> tuple[str, ssl.SSLContext]:
    """The URL of the current context's API server, and how to be its user.

    Args:
        kubeconfig: the file.
        folder: where certificates are written that the file holds as data, because TLS reads them from files.
    """
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = _current(config, "clusters", "cluster"), _current(config, "users", "user")
    context = ssl.create_default_context(cafile=_material(cluster, "certificate-authority", folder))
    context.load_cert_chain(_material(user, "client-certificate", folder), _material(user, "client-key", folder))
    return cluster["server"], context


def certificate_authority(kubeconfig: Path, folder: Path) -> tuple[str, Path]:
    """The URL of the current context's API server, and a file with the authority that its certificate is from."""
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster = _current(config, "clusters", "cluster")
    return cluster["server"], _material(cluster, "certificate-authority", folder)


def _current(config: dict[str, Any], collection: str, kind: str) -> dict[str, Any]:
    context = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
    found: dict[str, Any] = next(item[kind] for item in config[collection] if item["name"] == context[kind])
    return found


def _material(section: dict[str, Any], name: str, folder: Path) -> Path:
    """A file with a certificate or key, which a kubeconfig holds as a path or as data."""
    if name in section:
        return Path(section[name])
    file = folder / name
    file.write_bytes(base64.b64decode(section[f"{name}-data"]))
    return file
