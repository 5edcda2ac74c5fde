"""A package as a lock file names it."""

from dataclasses import dataclass, field
from enum import StrEnum


class Ecosystem(StrEnum):
    """Where a package comes from, as the OSV schema names it."""

    PYPI = "PyPI"
    NPM = "npm"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package in one version."""

    ecosystem: Ecosystem
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(slots=True)
class Locked:
    """What a lock file says.

    Attributes:
        packages: those with a version that can be looked up.
        doubtful: those without: not pinned, or from a place of which no advisories are known; safe to show after
            `readable`.
    """

    packages: set[Package] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)


class LockFileError(Exception):
    """A lock file cannot be read; the message says what is wrong with it."""
