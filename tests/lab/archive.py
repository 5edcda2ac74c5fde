"""Images on disk: built by buildah from a Dockerfile, kept on disk.

It must never pass an image off as built from what it was not built from.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.command import follow, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lab.home import Home
    from lab.report import Report


@dataclass(frozen=True, slots=True)
class Archive:
    """A built image on disk."""

    folder: Path
    """Manifest, configuration and layers, each blob under its hash."""
    image: str
    key: str
    """Hash of what went in."""

    @property
    def manifest(self) -> bytes:
        """What the image consists of, as the OCI specification describes it."""
        return (self.folder / "manifest.json").read_bytes()


def fingerprint(paths: Sequence[Path], *, words: Sequence[str] = ()) -> str:
    """Return a hash of the files (folders: every file below, by name and content) and words that make an image."""
    digest = hashlib.sha256("\0".join(words).encode())
    for path in paths:
        files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
        for file in files:
            if "__pycache__" in file.parts:
                continue
            name = file.name if file is path else str(file.relative_to(path))
            digest.update(f"\0{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()


def buildah(home: Home) -> list[str | Path]:
    """Return the start of every buildah command: its own storage, no daemon, no user configuration."""
    store = home.images / "store"
    return ["buildah", "--root", store, "--runroot", home.images / "run", "--storage-driver", "overlay"]


def build(
    home: Home,
    report: Report,
    *,
    image: str,
    dockerfile: Path,
    context: Path,
    key: str,
    arguments: Callable[[], Mapping[str, str]] = dict,
    volumes: Callable[[], Mapping[Path, str]] = dict,
) -> Archive:
    """Build `image` unless an archive with the same `key` is there; return it.

    Build arguments and volumes (folder → path inside) are asked for only when there is something to build.

    Raises:
        LabError: buildah failed; the end of its output is quoted.
    """
    name = image.rpartition("/")[2].partition(":")[0]
    archive = Archive(folder=home.images / name, image=image, key=key)
    stamp = archive.folder / "made-from"
    if stamp.exists() and stamp.read_text() == key:
        return archive
    shutil.rmtree(archive.folder, ignore_errors=True)
    home.images.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [*buildah(home), "bud", "--isolation", "chroot", "--layers", "--tag", image]
    for argument, value in arguments().items():
        command += ["--build-arg", f"{argument}={value}"]
    for source, target in volumes().items():
        command += ["--volume", f"{source}:{target}:ro"]
    with report.step(f"Building {image}") as step:
        follow(
            [*command, "--file", dockerfile, context],
            doing=f"Building {image} from {dockerfile}",
            on_line=lambda line: step.advance(detail=line),
        )
        step.advance(detail="writing the archive")
        run(
            [*buildah(home), "push", "--disable-compression", image, f"dir:{archive.folder}"],
            doing=f"Writing {archive.folder}",
        )
    stamp.write_text(key)
    return archive
