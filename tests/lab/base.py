"""Base images from Debian packages, for machines that reach no image registry.

A base is kept by the hash of its package list. It must never be used where the official images can be had: what is
released is built on those.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.archive import buildah
from lab.command import follow, run, succeeds
from lab.home import SOURCES

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report

RELEASE = "bookworm"
SOURCE_LISTS = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")
"""Where the machine says which Debian mirror it can reach; others of its lists may not answer for Debian."""
DOCKERFILE = SOURCES / "images" / "base" / "Dockerfile"
LEFT_OUT = ("man", "info", "locale", "doc")
"""Folders of /usr/share that no container reads."""


@dataclass(frozen=True, slots=True)
class Base:
    """A Debian system with some packages."""

    name: str
    packages: tuple[str, ...]
    removed: tuple[str, ...] = ()
    """Patterns of paths that the packages make and nobody needs."""

    @property
    def key(self) -> str:
        """Hash of all that decides what is in it."""
        words = (RELEASE, *LEFT_OUT, *sorted(self.packages), *self.removed)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]

    @property
    def image(self) -> str:
        """Name for `FROM`."""
        return f"localhost/upkeep-base-{self.name}:{self.key}"


OPERATOR = Base(
    name="operator",
    packages=("ca-certificates", "postgresql-15", "python3", "python3-venv", "redis-tools", "restic", "tzdata"),
    removed=("/var/lib/postgresql/15", "/usr/lib/*/libLLVM-*"),
)
SHOP = Base(
    name="shop",
    packages=("postgresql-15", "python3", "redis-server", "tzdata"),
    removed=("/var/lib/postgresql/15",),
)


def command(base: Base, *, target: Path, sources: Path | None) -> list[str | Path]:
    """Return the mmdebstrap command that packs `base` into the archive `target`."""
    words: list[str | Path] = ["mmdebstrap", "--variant=minbase", f"--include={','.join(base.packages)}"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    words += [f'--customize-hook=rm -rf "$1"{path}' for path in base.removed]
    return [*words, RELEASE, target, *([sources] if sources else [])]


def prepare(home: Home, report: Report, base: Base) -> str:
    """Return the name of the base image, made if buildah does not have it.

    Raises:
        LabError: the packages could not be had, or buildah failed.
    """
    if succeeds([*buildah(home), "inspect", "--type", "image", base.image]):
        return base.image
    system = home.images / f"base-{base.name}-{base.key}.tar"
    home.images.mkdir(parents=True, exist_ok=True)
    if not system.exists():
        sources = next((Path(name) for name in SOURCE_LISTS if Path(name).exists()), None)
        draft = system.with_suffix(".part.tar")
        with report.step(f"Packing Debian for the {base.name} image") as step:
            follow(
                ["nice", *command(base, target=draft, sources=sources)],
                doing=f"Packing a Debian system with {', '.join(base.packages)}",
                on_line=lambda line: step.advance(detail=line),
            )
        draft.replace(system)
    with report.step(f"Making the {base.name} image's base"), tempfile.TemporaryDirectory(dir=home.images) as context:
        os.link(system, Path(context) / "system.tar")
        run(
            [*buildah(home), "bud", "--isolation", "chroot", "--tag", base.image, "--file", DOCKERFILE, context],
            doing=f"Making the base image {base.image}",
        )
    return base.image
