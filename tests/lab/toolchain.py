"""Builds programs from the Go modules in this folder, once for every version of them: the cluster's from `tools/`.

It must never build inside the source tree, nor again while nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import follow, run
from lab.home import SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A Go module whose `tool` lines are built.

    Attributes:
        directory: where its go.mod is.
        programs: what `go install tool` leaves behind.
        what: these programs, in the words of a message.
        minutes: how long building them takes on two cores.
    """

    directory: Path
    programs: Sequence[str]
    what: str
    minutes: int


CLUSTER = Module(directory=MODULE, programs=PROGRAMS, what="Kubernetes", minutes=10)


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


def fingerprint(*, go_version: str, directory: Path = MODULE) -> str:
    """Return a hash of all that decides what the programs are."""
    digest = hashlib.sha256(go_version.encode())
    for path in (directory / "go.mod", directory / "go.sum", *sorted(directory.glob("*.go"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build(home: Home, report: Report) -> None:
    """Build the cluster's programs into the cache unless they are there in this version.

    Raises:
        LabError: Go is missing, or the build failed.
    """
    flags = linker_flags((MODULE / "go.mod").read_text())
    if install(home, report, CLUSTER, flags=flags):
        name_etcd(home.bin)


def install(home: Home, report: Report, module: Module, *, flags: str = "-s -w") -> bool:
    """Build a module's programs into the cache; return False where they are there in this version.

    Raises:
        LabError: Go is missing, or the build failed.
    """
    stamp = home.bin / f"{module.directory.name}.sha256"
    go_version = run(["go", "env", "GOVERSION"], doing="Asking Go (1.26 or later) for its version")
    wanted = fingerprint(go_version=go_version, directory=module.directory)
    there = all((home.bin / name).exists() for name in module.programs)
    if there and stamp.exists() and stamp.read_text() == wanted:
        return False
    report.say(f"{module.what} is built once, which takes about {module.minutes} minutes on two cores.")
    home.bin.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(home.bin), "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    with report.step("Downloading Go modules") as step:
        packages: list[str] = []

        def listed(line: str) -> None:
            if line.startswith("go: "):
                step.advance(detail=line)
            else:
                packages.append(line)

        listing = ["go", "list", "-deps", "tool"]
        doing = f"Listing the packages of {module.what}"
        follow(listing, doing=doing, on_line=listed, cwd=module.directory, env=environment)
    with report.step(f"Building {module.what}", total=len(packages)) as step:
        follow(
            ["nice", "go", "install", "-v", "-trimpath", "-ldflags", flags, "tool"],
            doing=f"Building {module.what}",
            on_line=lambda line: step.advance(detail=line),
            cwd=module.directory,
            env=environment,
        )
    stamp.write_text(wanted)
    return True


def module_directory(module: str, directory: Path = MODULE) -> Path:
    """Return where the sources of a Go module lie that the one in `directory` requires, downloaded if need be.

    Raises:
        LabError: Go is missing, or the module cannot be had.
    """
    doing = f"Downloading the Go module {module}"
    return Path(json.loads(run(["go", "mod", "download", "-json", module], doing=doing, cwd=directory))["Dir"])


def name_etcd(directory: Path) -> None:
    """Give etcd its usual name beside the one that Go gave it."""
    named = directory / "etcd"
    named.unlink(missing_ok=True)
    named.symlink_to("server")
