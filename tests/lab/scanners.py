"""The scanners that Upkeep's image brings, built once from their Go module: gitleaks."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from typing import TYPE_CHECKING

from lab.home import TREE, Home
from lab.report import Report
from lab.state import alone
from lab.toolchain import Module, install

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = TREE / "operator" / "scanners"
MODULE = Module(directory=SOURCE, programs=("gitleaks",), what="gitleaks", minutes=2)


def folder(home: Home, report: Report) -> Path:
    """Return a folder with them and nothing else.

    Raises:
        LabError: Go is missing, or they cannot be built.
    """
    install(home, report, MODULE)
    found = home.bin / MODULE.directory.name
    found.mkdir(exist_ok=True)
    for program in MODULE.programs:
        shutil.copy2(home.bin / program, found)
    return found


def gitleaks(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the folder with gitleaks, for tests.

    Raises:
        LabError: Go is missing, or it cannot be built.
    """
    found = home or Home.from_environment()
    with Report() if report is None else nullcontext(report) as shown, alone(found, shown):
        return folder(found, shown)
