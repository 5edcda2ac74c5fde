from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from lab import bundle
from lab.archive import Archive, fingerprint
from lab.runtime import noted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "inner").mkdir(parents=True)
    (folder / "main.py").write_text("print('hello')")
    (folder / "inner" / "part.py").write_text("x = 1")
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An image of a configuration and two layers."""
    folder = tmp_path / "image"
    folder.mkdir()
    digests = []
    for content in (b"configuration", b"old layer", b"new layer"):
        name = hashlib.sha256(content).hexdigest()
        (folder / name).write_bytes(content)
        digests.append(f"sha256:{name}")
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": digests[0]},
        "layers": [{"digest": digests[1]}, {"digest": digests[2]}],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Archive(folder=folder, image="localhost/thing:dev", key="0")


def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(sources: Path, tmp_path: Path) -> None:
    elsewhere = sources.rename(tmp_path / "elsewhere")
    before = fingerprint([elsewhere])

    assert fingerprint([elsewhere.rename(tmp_path / "package")]) == before


@pytest.mark.parametrize("change", ["content", "name", "addition", "word"])
def test_whatever_goes_into_an_image_changes_its_fingerprint(sources: Path, change: str) -> None:
    before = fingerprint([sources], words=["base"])
    words = ["base"]
    match change:
        case "content":
            (sources / "inner" / "part.py").write_text("x = 2")
        case "name":
            (sources / "main.py").rename(sources / "other.py")
        case "addition":
            (sources / "empty.py").touch()
        case "word":
            words = ["another base"]

    assert fingerprint([sources], words=words) != before


def test_bytecode_beside_the_sources_does_not_count(sources: Path) -> None:
    before = fingerprint([sources])
    (sources / "__pycache__").mkdir()
    (sources / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"bytecode")

    assert fingerprint([sources]) == before


def test_an_image_travels_without_the_layers_that_are_there(archive: Archive, tmp_path: Path) -> None:
    config, old, new = bundle.blobs(archive.manifest)

    bundle.write(archive, tmp_path / "image.tar", present={old})

    with tarfile.open(tmp_path / "image.tar") as tar:
        names = set(tar.getnames())
        member = tar.extractfile("index.json")
        assert member is not None
        index = json.loads(member.read())
    manifest = bundle.digest(archive.manifest)
    assert names == {
        "oci-layout",
        "index.json",
        *(f"blobs/{name.replace(':', '/')}" for name in (config, new, manifest)),
    }
    assert index["manifests"] == [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest,
            "size": len(archive.manifest),
            "annotations": {"io.containerd.image.name": "localhost/thing:dev"},
        }
    ]


def test_the_note_on_a_loaded_image_is_read_from_containerds_listing() -> None:
    listing = (
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "localhost/thing:dev application/vnd.oci.image.manifest.v1+json sha256:1 405 MiB linux/amd64 "
        "io.cri-containerd.image=managed,upkeep.dev/made-from=abc123\n"
    )

    assert noted(listing) == "abc123"
    assert noted("REF TYPE DIGEST SIZE PLATFORMS LABELS\n") is None
