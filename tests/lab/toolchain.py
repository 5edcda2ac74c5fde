"""Builds the cluster's programs from the Go module in `tools/`, once for every version of it.

It must never build inside the source tree, nor again while nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import follow, run
from lab.home import SOURCES

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report

MODULE = SOURCES / "tools"
PROGRAMS = (
    "contour",
    "coredns",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "server",
)
"""What `go install tool` leaves behind; etcd's package is called `server`."""
VERSIONS = "k8s.io/component-base/version"


def linker_flags(module: str) -> str:
    """Return the linker's flags: without its version, a Kubernetes program says v0.0.0.

    Raises:
        ValueError: go.mod does not require k8s.io/kubernetes.
    """
    found = re.search(r"\sk8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", module)
    if found is None:
        message = f"{MODULE / 'go.mod'} requires no k8s.io/kubernetes"
        raise ValueError(message)
    version, major, minor = found.groups()
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s -w", *(f"-X {VERSIONS}.{name}={value}" for name, value in values.items())])


def fingerprint(*, go_version: str) -> str:
    """Return a hash of all that decides what the programs are."""
    digest = hashlib.sha256(go_version.encode())
    for name in ("go.mod", "go.sum"):
        digest.update((MODULE / name).read_bytes())
    return digest.hexdigest()


def build(home: Home, report: Report) -> None:
    """Build the programs into the cache unless they are there in this version.

    Raises:
        LabError: Go is missing, or the build failed.
    """
    stamp = home.bin / "tools.sha256"
    wanted = fingerprint(go_version=run(["go", "env", "GOVERSION"], doing="Asking Go (1.26 or later) for its version"))
    if stamp.exists() and stamp.read_text() == wanted and all((home.bin / name).exists() for name in PROGRAMS):
        return
    report.say("The cluster's programs are built once, which takes about ten minutes on two cores.")
    home.bin.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(home.bin), "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    with report.step("Downloading Go modules") as step:
        listing = "Listing the packages of the cluster's programs"
        packages: list[str] = []

        def listed(line: str) -> None:
            if line.startswith("go: "):
                step.advance(detail=line)
            else:
                packages.append(line)

        follow(["go", "list", "-deps", "tool"], doing=listing, on_line=listed, cwd=MODULE, env=environment)
    with report.step("Building Kubernetes", total=len(packages)) as step:
        command = [
            "nice",
            "go",
            "install",
            "-v",
            "-trimpath",
            "-ldflags",
            linker_flags((MODULE / "go.mod").read_text()),
        ]
        follow(
            [*command, "tool"],
            doing="Building the cluster's programs",
            on_line=lambda line: step.advance(detail=line),
            cwd=MODULE,
            env=environment,
        )
    name_etcd(home.bin)
    stamp.write_text(wanted)


def module_directory(module: str) -> Path:
    """Return where the sources of a required Go module lie, downloaded if they are not there.

    Raises:
        LabError: Go is missing, or the module cannot be had.
    """
    doing = f"Downloading the Go module {module}"
    return Path(json.loads(run(["go", "mod", "download", "-json", module], doing=doing, cwd=MODULE))["Dir"])


def name_etcd(directory: Path) -> None:
    """Give etcd its usual name beside the one that Go gave it."""
    named = directory / "etcd"
    named.unlink(missing_ok=True)
    named.symlink_to("server")
