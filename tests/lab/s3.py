"""A server that speaks S3, for tests of backups: versitygw, built once from its Go module.

Neither the cluster nor the demo may need it: it is built when a test first asks for it.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from lab.home import SOURCES, Home
from lab.report import Report
from lab.state import alone
from lab.toolchain import Module, install

if TYPE_CHECKING:
    from pathlib import Path

MODULE = Module(directory=SOURCES / "s3", programs=("versitygw",), what="versitygw", minutes=2)


def versitygw(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the lab's versitygw.

    Raises:
        LabError: Go is missing, or it cannot be built.
    """
    found = home or Home.from_environment()
    with Report() if report is None else nullcontext(report) as shown, alone(found, shown):
        install(found, shown, MODULE)
    return found.bin / "versitygw"
