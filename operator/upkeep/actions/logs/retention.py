"""Archives log files that are old, and deletes those that are older still.

It must never remove a file whose archived copy was not read back from the disk and found to be the same; and without
`dryRun: false` it only counts.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName, Rule, format_duration
from upkeep.actions.logs.copying import CHANGED, put_away, same
from upkeep.actions.volume.tree import (
    Entry,
    FilePattern,
    InnerPath,
    Tree,
    advice,
    directory,
    matches,
    named,
    work_in,
)

_MEBIBYTE: Final = 1024 * 1024
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAST: Final = timedelta(hours=1)
_NOTHING: Final = "set archiveAfter, deleteAfter, or both"
_TOO_FRESH: Final = "archiveAfter and deleteAfter must be at least 1h: what is younger may still be written"
_ORDER: Final = "deleteAfter must be longer than archiveAfter: nothing would be left to archive"


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was found and done; `problems` has what could not be, safe to show."""

    to_archive: int = 0
    to_delete: int = 0
    archived: int = 0
    deleted: int = 0
    before: int = 0
    after: int = 0
    problems: list[str] = field(default_factory=list)


class LogsRetention(Action):
    """Archives log files after a time and deletes them after another; by default it only counts them.

    The age is the time since a file was last written. To archive is to compress a file (gzip) into the directory
    `archiveTo` next to it, where it keeps its time; the copy is read back and compared before the file is removed. What
    is in such a directory already is only deleted when its time has come. Symbolic links are never touched.
    Locks: none. Privileges: group 65532 may read the files and change their directories.
    """

    action_name: ClassVar[str] = "logsRetention"
    finds: ClassVar[Mapping[str, str]] = {
        "logs.retention.archive": "a dry run would archive files",
        "logs.retention.delete": "a dry run would delete files",
        "logs.retention.failed": "a file that was neither archived nor deleted although its time has come",
    }

    connection: LabelName
    """Name of a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are worked through too."""
    files: Annotated[list[FilePattern], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: ["*.log[-.]*"]
    )
    """Names of files; `*` stands for any characters, `?` for one, `[-.]` for one of these. Left out: rotated ones."""
    archive_after: Duration | None = None
    """Age from which on files are archived; at least 1h. Left out: none are."""
    archive_to: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")] = (
        "archive"
    )
    """Name of the directory, next to the files; it is made where it is missing."""
    delete_after: Duration | None = None
    """Age from which on files are deleted, with archiveAfter only archived ones; at least 1h. Left out: none are."""
    dry_run: bool = True
    """Only count what would be archived and deleted. Set it to false to do it."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """There is something to do."""
        return ({"rule": "has(self.archiveAfter) || has(self.deleteAfter)", "message": _NOTHING},)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        ages = [age for age in (self.archive_after, self.delete_after) if age is not None]
        if not ages:
            raise ValueError(_NOTHING)
        if min(ages) < _LEAST:
            raise ValueError(_TOO_FRESH)
        if ages != sorted(set(ages)):
            raise ValueError(_ORDER)
        return self

    async def run(self, context: Context) -> Result:
        """Go through all files once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        tally = await work_in(context, self.connection, self.path, self._work_through)
        metrics = {
            "archived_files": float(tally.archived),
            "deleted_files": float(tally.deleted),
            "to_archive_files": float(tally.to_archive),
            "to_delete_files": float(tally.to_delete),
            "bytes_before": float(tally.before),
            "bytes_after": float(tally.after),
        }
        sizes = f"{tally.before / _MEBIBYTE:.1f} MiB → {tally.after / _MEBIBYTE:.1f} MiB"
        message = f"{tally.archived} files archived ({sizes}), {tally.deleted} deleted"
        if self.dry_run:
            message = f"dry run: would archive {tally.to_archive} files and delete {tally.to_delete}"
        outcome = Outcome.CHANGED if tally.archived or tally.deleted else Outcome.OK
        findings = [*self._problems(tally), *(self._preview(tally) if self.dry_run else ())]
        if tally.problems:
            outcome = Outcome.FAILED
            message = (
                f"{len(tally.problems)} files or directories left as they were: {named(tally.problems)}; {message}"
            )
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)

    def _preview(self, tally: _Tally) -> Iterator[Finding]:
        for what, count, age in (
            ("archive", tally.to_archive, self.archive_after),
            ("delete", tally.to_delete, self.delete_after),
        ):
            if count and age is not None:
                yield Finding(
                    check_id=f"logs.retention.{what}",
                    severity=Severity.INFO,
                    object=f"{self.connection} {self.path or '.'}",
                    observed=count,
                    threshold=1,
                    unit="files",
                    recommendation=f"older than {format_duration(age)}: set dryRun: false to {what} them",
                )

    def _problems(self, tally: _Tally) -> Iterator[Finding]:
        for problem in tally.problems:
            where, _, why = problem.partition(": ")
            yield Finding(
                check_id="logs.retention.failed",
                severity=Severity.WARNING,
                object=f"{self.connection} {where}",
                observed=1,
                threshold=1,
                unit="",
                recommendation=why,
            )

    def _work_through(self, tree: Tree) -> _Tally:
        tally, now = _Tally(), time.time()
        for entry in tree.walk():
            if not entry.regular or not matches(entry.name, self.files):
                continue
            age = now - entry.status.st_mtime
            archived = self._in_archive(entry)
            try:
                # What has an archive to go to is never deleted before it was there, however old it is.
                if self.archive_after is not None and not archived:
                    if age >= self.archive_after.total_seconds():
                        self._archive(tree, entry, tally)
                elif self.delete_after is not None and age >= self.delete_after.total_seconds():
                    self._delete(entry, tally)
            except FileNotFoundError:
                continue
            except OSError as error:
                tally.problems.append(f"{entry.path}: {advice(error)}")
        tally.problems += [f"{directory}: let the group 65532 read it" for directory in tree.unreadable]
        return tally

    def _in_archive(self, entry: Entry) -> bool:
        return self.archive_to in f"{self.path}/{entry.path}".split("/")[:-1]

    def _delete(self, entry: Entry, tally: _Tally) -> None:
        tally.to_delete += 1
        if self.dry_run:
            return
        if not same(os.stat(entry.name, dir_fd=entry.parent, follow_symlinks=False), entry.status):
            tally.problems.append(f"{entry.path}: {CHANGED}")
            return
        os.unlink(entry.name, dir_fd=entry.parent)
        tally.deleted += 1

    def _archive(self, tree: Tree, entry: Entry, tally: _Tally) -> None:
        tally.to_archive += 1
        if self.dry_run:
            return
        with directory(self.archive_to, entry.parent) as archive:
            problem, after = put_away(tree, entry, archive)
        if problem:
            tally.problems.append(f"{entry.path}: {problem}")
            return
        tally.archived += 1
        tally.before += entry.status.st_size
        tally.after += after
