"""The images that the cluster runs: what goes into each, and getting them into the cluster.

An image is built again only when something that goes into it has changed.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lab import base, runtime, scanners
from lab.archive import build, fingerprint
from lab.home import SOURCES, TREE
from lab.node import PAUSE_IMAGE
from lab.package import download

if TYPE_CHECKING:
    from lab.archive import Archive
    from lab.home import Home
    from lab.report import Report

OPERATOR_IMAGE = "localhost/upkeep:dev"
SHOP_IMAGE = "localhost/upkeep-shop:dev"


def pause(home: Home, report: Report) -> Archive:
    """Return the archive of the image that every Pod's first container runs."""
    dockerfile = SOURCES / "images" / "pause" / "Dockerfile"
    program = Path(shutil.which("catatonit") or "/usr/bin/catatonit")
    with tempfile.TemporaryDirectory() as context:
        shutil.copy2(program, context)
        key = fingerprint([dockerfile, program])
        return build(home, report, image=PAUSE_IMAGE, dockerfile=dockerfile, context=Path(context), key=key)


def operator(home: Home, report: Report) -> Archive:
    """Return the archive of Upkeep's own image."""
    lock = TREE / "operator" / "requirements.lock"
    inputs = [TREE / "Dockerfile", TREE / ".dockerignore", lock, TREE / "operator" / "upkeep", scanners.SOURCE]
    return build(
        home,
        report,
        image=OPERATOR_IMAGE,
        dockerfile=TREE / "Dockerfile",
        context=TREE,
        key=fingerprint(inputs, words=[base.OPERATOR.key]),
        arguments=lambda: dict.fromkeys(("BASE_IMAGE", "GO_IMAGE"), base.prepare(home, report, base.OPERATOR)),
        volumes=lambda: {wheels(home, report, lock): "/wheels", scanners.folder(home, report): "/scanners"},
    )


def shop(home: Home, report: Report) -> Archive:
    """Return the archive of the image that the demo's shop runs."""
    dockerfile = SOURCES / "images" / "shop" / "Dockerfile"
    return build(
        home,
        report,
        image=SHOP_IMAGE,
        dockerfile=dockerfile,
        context=dockerfile.parent,
        key=fingerprint([dockerfile], words=[base.SHOP.key]),
        arguments=lambda: {"BASE_IMAGE": base.prepare(home, report, base.SHOP)},
    )


def wheels(home: Home, report: Report, lock: Path) -> Path:
    """Return a folder with the wheel of every library in `lock`, downloaded once for every version of the lock file."""
    folder = home.images / f"wheels-{fingerprint([lock])[:16]}"
    return download(lock, folder, report, what="the operator's libraries")


def load_all(home: Home, report: Report) -> None:
    """Build every image that has changed, and hand those that the home-built cluster lacks to its containerd.

    Raises:
        LabError: an image could not be built or loaded.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(make, home, report) for make in (operator, shop)]
    for archive in (done.result() for done in waiting):
        if runtime.label(home, archive.image) != archive.key:
            with report.step(f"Loading {archive.image}"):
                runtime.load(home, archive)
