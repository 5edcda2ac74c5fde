"""Packs an image for containerd with only the layers that containerd lacks.

Importing a whole archive again costs seconds however little has changed; layers that are there need not travel. It must
never leave out a layer that the receiver did not say it has.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from lab.archive import Archive


def index(image: str, manifest: bytes) -> bytes:
    """Return the index of an OCI layout that holds one image."""
    entry = {
        "mediaType": json.loads(manifest)["mediaType"],
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": image},
    }
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()


def digest(data: bytes) -> str:
    """Return the name that the OCI specification gives to a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blobs(manifest: bytes) -> Iterator[str]:
    """Return the digests of configuration and layers that a manifest refers to."""
    content = json.loads(manifest)
    yield content["config"]["digest"]
    for layer in content["layers"]:
        yield layer["digest"]


def write(archive: Archive, target: Path, *, present: Collection[str]) -> None:
    """Write `archive` to the tar file `target` as an OCI layout, without the blobs that are `present` already."""
    manifest = archive.manifest
    with tarfile.open(target, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", index(archive.image, manifest))
        _add(tar, _place(digest(manifest)), manifest)
        for name in dict.fromkeys(blobs(manifest)):
            if name not in present:
                tar.add(archive.folder / name.removeprefix("sha256:"), arcname=_place(name))


def _place(name: str) -> str:
    return f"blobs/{name.replace(':', '/')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
