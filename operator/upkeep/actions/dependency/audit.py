"""Looks up what lock files name in a database of known weaknesses.

Lock files are read, never resolved or executed. What cannot be read, or not be looked up, makes the result `unknown`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from upkeep.actions.contract import (
    Action,
    Context,
    Finding,
    Grade,
    Outcome,
    Result,
    Severity,
    UncheckableError,
)
from upkeep.actions.dependency.cvss import FLOOR
from upkeep.actions.dependency.node import read_npm, read_pnpm, read_yarn
from upkeep.actions.dependency.osv import Advisory, advisories
from upkeep.actions.dependency.package import Locked, LockFileError, Package
from upkeep.actions.dependency.python import is_requirements, read_pipfile, read_requirements, read_toml
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.text import readable
from upkeep.actions.volume.tree import Entry, InnerPath, Tree, work_in

_READERS: Final[Mapping[str, Callable[[str], Locked]]] = {
    "poetry.lock": read_toml,
    "pdm.lock": read_toml,
    "uv.lock": read_toml,
    "pylock.toml": read_toml,
    "pylock.*.toml": read_toml,
    "Pipfile.lock": read_pipfile,
    "package-lock.json": read_npm,
    "npm-shrinkwrap.json": read_npm,
    "yarn.lock": read_yarn,
    "pnpm-lock.yaml": read_pnpm,
}
_OTHERS: Final = frozenset({"node_modules", "site-packages", "dist-packages", ".git", ".venv", "venv", ".tox"})
"""Directories with the code of others, whose lock files say nothing about the application."""
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIMIT_BYTES: Final = 32 * 1024 * 1024
_MOST_PACKAGES: Final = 50_000
_NAMED: Final = 3
_SEVERITIES: Final = {
    Grade.CRITICAL: Severity.CRITICAL,
    Grade.HIGH: Severity.WARNING,
    Grade.MEDIUM: Severity.WARNING,
    Grade.LOW: Severity.INFO,
}


class FailsAt(StrEnum):
    """From which grade on a weakness lets the step fail."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEVER = "never"


def _a_day(text: str) -> str:
    date.fromisoformat(text)
    return text


class Ignored(Model):
    """A weakness that does not count for the time being."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    """Its id, for example CVE-2026-1234 or GHSA-xxxx-xxxx-xxxx."""
    until: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_a_day)]
    """The last day (UTC) on which it does not count, for example 2027-01-31."""
    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Why it does no harm here, or what is waited for."""


@dataclass(slots=True)
class _Read:
    """What the lock files say: packages by the files that name them, and what is wrong."""

    packages: dict[Package, list[str]] = field(default_factory=dict)
    files: int = 0
    problems: list[str] = field(default_factory=list)


class DependencyAudit(Action):
    """Looks up the packages in lock files of a volume in a database of known weaknesses; each is a finding.

    Read are requirements with pins, poetry.lock, pdm.lock, uv.lock, pylock.toml and Pipfile.lock of Python,
    package-lock.json, npm-shrinkwrap.json, yarn.lock and pnpm-lock.yaml of Node. Nothing is resolved or executed. The
    database is OSV or a mirror of it; it learns names and versions. It is `unknown`, and not `ok`, where there is no
    lock file, one cannot be read, a package is not pinned or comes from elsewhere, or the database does not answer.
    Locks: none. Privileges: group 65532 may read the files.
    Source of the grades: the advisory's database, or else CVSS v3.1, section 5; what nobody has graded counts as high.
    """

    action_name: ClassVar[str] = "dependencyAudit"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {"dependency.vulnerable": "a weakness is known of a package in this version"}

    volume: LabelName
    """Name of a volume connection, with the lock files."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are looked at too."""
    database: LabelName
    """Name of an http connection to https://api.osv.dev or a mirror of it."""
    fails_at: FailsAt = FailsAt.HIGH
    """The grade from which on a weakness lets the step fail."""
    ignore: Annotated[list[Ignored], Field(max_length=64)] = Field(default_factory=list)
    """Weaknesses that do not count for the time being."""

    def connection_names(self) -> Sequence[str]:
        """The volume's and the database's."""
        return [self.volume, self.database]

    async def run(self, context: Context) -> Result:
        """Read, look up, compare.

        Raises:
            ActionError: no such connection or directory.
            UncheckableError: there is no lock file, or the database does not answer.
        """
        read = await work_in(context, self.volume, self.path, _read)
        if not read.files:
            msg = f"there is no lock file in {self.volume!r}: check path, and that the lock files are there"
            raise UncheckableError(msg)
        known = await advisories(context, self.database, sorted(read.packages))
        today = datetime.now(UTC).date()
        findings, failing, ignored = [], 0, 0
        for package, found in known.items():
            for advisory in found:
                exception = next((each for each in self.ignore if each.id in advisory.names), None)
                if exception and date.fromisoformat(exception.until) >= today:
                    ignored += 1
                    continue
                failing += self._fails(advisory)
                findings.append(_finding(package, advisory, read.packages[package], exception))
        metrics = {
            "lock_files": float(read.files),
            "packages": float(len(read.packages)),
            "vulnerable": float(len(findings)),
            "ignored": float(ignored),
        }
        return Result(
            outcome=self._outcome(failing, read.problems),
            message="; ".join([self._summary(read, len(findings), failing), *read.problems[:_NAMED]]),
            findings=findings,
            metrics=metrics,
        )

    def _fails(self, advisory: Advisory) -> bool:
        if self.fails_at is FailsAt.NEVER:
            return False
        grades = list(Grade)
        return grades.index(advisory.grade or Grade.HIGH) <= grades.index(Grade(self.fails_at.value))

    def _outcome(self, failing: int, problems: Sequence[str]) -> Outcome:
        if failing:
            return Outcome.FAILED
        return Outcome.UNKNOWN if problems else Outcome.OK

    def _summary(self, read: _Read, found: int, failing: int) -> str:
        where = f"in {len(read.packages)} packages of {read.files} lock files"
        if not found:
            return f"no weakness is known {where}"
        grave = f", {failing} of them {self.fails_at} or worse" if failing and self.fails_at is not FailsAt.LOW else ""
        return f"{found} weaknesses are known {where}{grave}"


def _read(tree: Tree) -> _Read:
    read = _Read()
    for entry in tree.walk():
        path = PurePosixPath(entry.path)
        reader = _reader(path)
        if reader is None or not entry.regular or _OTHERS.intersection(path.parts[:-1]):
            continue
        read.files += 1
        try:
            locked = reader(_text(entry))
        except LockFileError as error:
            read.problems.append(f"{entry.path} cannot be read: {readable(str(error))}: make it anew")
            continue
        for package in locked.packages:
            read.packages.setdefault(package, []).append(entry.path)
        if locked.doubtful:
            names = ", ".join(readable(name) for name in sorted(locked.doubtful)[:_NAMED])
            more = ", …" if locked.doubtful - set(sorted(locked.doubtful)[:_NAMED]) else ""
            read.problems.append(f"{entry.path} does not pin what can be looked up: {names}{more}")
        if len(read.packages) > _MOST_PACKAGES:
            msg = f"the lock files name more than {_MOST_PACKAGES} packages: name a directory in path"
            raise UncheckableError(msg)
    read.problems += [f"{path} cannot be opened: let the group 65532 read it" for path in tree.unreadable]
    return read


def _reader(path: PurePosixPath) -> Callable[[str], Locked] | None:
    """What reads a file of this name; None where it is no lock file."""
    if is_requirements(path):
        return read_requirements
    return next((reader for pattern, reader in _READERS.items() if fnmatchcase(path.name, pattern)), None)


def _text(entry: Entry) -> str:
    """The content of a file.

    Raises:
        LockFileError: it cannot be opened, is too large or no text.
    """
    if entry.status.st_size > _LIMIT_BYTES:
        msg = f"it has more than {_LIMIT_BYTES // 1024**2} MiB"
        raise LockFileError(msg)
    try:
        descriptor = os.open(
            entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=entry.parent
        )
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise LockFileError(error.strerror or type(error).__name__) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = "it is not UTF-8 text"
        raise LockFileError(msg) from None


def _finding(package: Package, advisory: Advisory, files: Sequence[str], exception: Ignored | None) -> Finding:
    graded = advisory.grade or Grade.HIGH
    fixes = advisory.remedies(package)
    remedy = f"update to {' or '.join(map(readable, fixes))}" if fixes else "no version without it is known: replace it"
    where = ", ".join(files[:_NAMED]) + (", …" if files[_NAMED:] else "")
    late = f"; was ignored until {exception.until}" if exception else ""
    return Finding(
        check_id="dependency.vulnerable",
        severity=_SEVERITIES[graded],
        object=f"{package.ecosystem} {readable(package.name)} {readable(advisory.id)}",
        observed=advisory.score,
        threshold=FLOOR[graded],
        unit="CVSS",
        recommendation=f"{readable(package.version)} in {where}: {remedy} ({advisory.summary}){late}",
        grade=graded,
        since=advisory.published,
    )
