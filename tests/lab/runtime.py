"""What is asked of containerd directly, past the kubelet: which images it has, and to forget every container.

It must never reach another containerd of this machine than the lab's own.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lab import bundle
from lab.command import run
from lab.failure import LabError
from lab.waiting import until

if TYPE_CHECKING:
    from lab.archive import Archive
    from lab.home import Home

NAMESPACE = "k8s.io"
"""Where containerd keeps what the kubelet runs."""
LABEL = "upkeep.dev/made-from"
POD_STATE = "io.containerd.grpc.v1.cri"


def ask(home: Home, *words: str | Path, doing: str) -> str:
    """Return what `ctr` prints."""
    return run(["ctr", "--address", home.containerd_socket, "--namespace", NAMESPACE, *words], doing=doing)


def load(home: Home, archive: Archive) -> None:
    """Take an image in and note the hash of what it was made from."""
    doing = f"Loading {archive.image} into containerd"
    present = ask(home, "content", "list", "--quiet", doing=doing).split()
    with tempfile.TemporaryDirectory(dir=home.images) as folder:
        bundled = Path(folder) / "image.tar"
        bundle.write(archive, bundled, present=present)
        ask(home, "images", "import", bundled, doing=doing)
    ask(home, "images", "label", archive.image, f"{LABEL}={archive.key}", doing=doing)


def label(home: Home, image: str) -> str | None:
    """Return the hash that `load` noted for `image`; None if containerd does not have it."""
    return noted(ask(home, "images", "list", f"name=={image}", doing="Listing the cluster's images"))


def noted(listing: str) -> str | None:
    """Return the hash in containerd's line about one image."""
    found = re.search(rf"{re.escape(LABEL)}=(\w+)", listing)
    return found[1] if found else None


def forget_containers(home: Home) -> None:
    """Drop every container, whose processes have ended, and keep the images.

    Where containerd cannot, its whole store goes instead: the images are loaded again from their archives.
    """
    try:
        until(lambda: _forgotten(home), doing="Removing the containers", seconds=15)
    except LabError:
        shutil.rmtree(home.layers, ignore_errors=True)
    shutil.rmtree(home.layers / POD_STATE, ignore_errors=True)


def _forgotten(home: Home) -> bool:
    """Delete what there is; containerd itself is tidying up after the same deaths, so anything may be gone already."""
    doing = "Removing the containers"
    for kind, options in (("tasks", ["--force"]), ("containers", [])):
        for name in ask(home, kind, "list", "--quiet", doing=doing).split():
            with suppress(LabError):
                ask(home, kind, "delete", *options, name, doing=doing)
    return not ask(home, "containers", "list", "--quiet", doing=doing).split()
