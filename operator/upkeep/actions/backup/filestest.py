"""Proves that a backup of files can be restored: brings the newest one back and looks for what has to be in it.

That what came back is what was stored, byte by byte, is compared with the repository's checksums while it is restored.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from upkeep.actions.backup.files import PATH_PATTERN
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.contract import Context, Finding, Severity
from upkeep.actions.fields import Duration, LabelName, Model, format_duration
from upkeep.actions.text import readable_size, several


class ExpectedFiles(Model):
    """Files that have to be there after a restore."""

    name: LabelName
    """Name of the expectation, for messages."""
    path: Annotated[str, Field(min_length=1, max_length=256, pattern=PATH_PATTERN)]
    """Which files: a path from the top of the volume, with `*`, `?` and `**`, for example `uploads/**/*.jpg`."""
    min: Annotated[int, Field(ge=1, le=2**53)] = 1
    """How many of them at least."""
    max_age: Duration | None = None
    """The newest of them was changed at most so long before the backup."""


class BackupFilesTest(RestoreTrial):
    """Restores the newest snapshot of a policy and looks for what has to be in it.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupFilesTest"
    internal: ClassVar[bool] = True

    files: Annotated[list[ExpectedFiles], Field(max_length=32)] = Field(default_factory=list)
    """What has to be there."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:  # noqa: ARG002 - nothing of the step is needed to look at files
        """Count, and look for what is expected."""
        usable = time.monotonic()
        count, size = await asyncio.to_thread(_counted, directory)
        lacking = await asyncio.to_thread(
            lambda: [finding for wanted in self.files for finding in _lacking(wanted, directory, snapshot)]
        )
        findings = lacking if count else [_empty()]
        praise = [f"{count} files, {readable_size(size)}"]
        number = len(self.files)
        praise += [f"{several(number, 'expectation')} met"] if number else []
        return Examination(usable=usable, findings=findings, praise=praise, metrics={"files": count, "bytes": size})


def _counted(directory: Path) -> tuple[int, int]:
    sizes = [path.lstat().st_size for path in directory.rglob("*") if path.is_symlink() or path.is_file()]
    return len(sizes), sum(sizes)


def _lacking(wanted: ExpectedFiles, directory: Path, snapshot: Stored) -> Iterator[Finding]:
    found = [path for path in directory.glob(wanted.path) if path.is_file() and not path.is_symlink()]
    if len(found) < wanted.min:
        what = f"{len(found)} files match {wanted.path!r}"
        yield _finding(wanted, len(found), wanted.min, "files", what)
    elif wanted.max_age is not None:
        newest = datetime.fromtimestamp(max(path.stat().st_mtime for path in found), UTC)
        age = (snapshot.time - newest).total_seconds()
        if age > wanted.max_age.total_seconds():
            limit = format_duration(wanted.max_age)
            what = f"the newest was changed at {newest:%Y-%m-%d %H:%M} UTC, more than {limit} before the backup"
            yield _finding(wanted, age, wanted.max_age.total_seconds(), "seconds", what)


def _finding(wanted: ExpectedFiles, observed: float, threshold: float, unit: str, what: str) -> Finding:
    return Finding(
        check_id="backup.restore.files",
        severity=Severity.CRITICAL,
        object=wanted.name,
        observed=round(observed, 1),
        threshold=threshold,
        unit=unit,
        recommendation=f"{what}: look at the source, and whether the right volume and paths are backed up",
    )


def _empty() -> Finding:
    return Finding(
        check_id="backup.restore.files",
        severity=Severity.CRITICAL,
        object="all",
        observed=0,
        threshold=1,
        unit="files",
        recommendation="the backup has no files: look at the source, and whether the right volume is backed up",
    )
