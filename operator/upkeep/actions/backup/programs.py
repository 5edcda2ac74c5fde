"""PostgreSQL's programs in this image: several versions side by side, as Debian lays them out.

A dump must never be made, nor read, by programs that are older than its server.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upkeep.actions.contract import ActionError

ROOT_VARIABLE: Final = "UPKEEP_POSTGRES_ROOT"
"""Names another directory than Debian's."""
_ROOT: Final = "/usr/lib/postgresql"
_NEEDED: Final = "pg_dump"
_REMEDY: Final = "use an image that has them (docs/install)"


class MissingProgramsError(ActionError):
    """This image does not have the programs that a version of PostgreSQL needs; the message says which it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of one version.

    Attributes:
        major: its major version.
        directory: where they are.
    """

    major: int
    directory: Path

    def path(self, program: str) -> str:
        """Where this one is, for example `pg_dump`."""
        return str(self.directory / program)


def installed() -> Sequence[Programs]:
    """Those of all versions, the oldest first."""
    root = Path(os.environ.get(ROOT_VARIABLE, _ROOT))
    found = (path.parent for path in root.glob(f"*/bin/{_NEEDED}") if path.parts[-3].isdecimal())
    return sorted(
        (Programs(major=int(directory.parent.name), directory=directory) for directory in found),
        key=lambda programs: programs.major,
    )


def programs_for(server: int) -> Programs:
    """The oldest that are not older than a server of this major version: they read what it has, and write the same.

    Raises:
        MissingProgramsError: all are older.
    """
    known = installed()
    for programs in known:
        if programs.major >= server:
            return programs
    msg = f"this image has {_versions(known)}, and {server} or newer is needed: {_REMEDY}"
    raise MissingProgramsError(msg)


def same_as(server: int) -> Programs:
    """Those of exactly this major version, for files that no other version can read.

    Raises:
        MissingProgramsError: there are none.
    """
    known = installed()
    for programs in known:
        if programs.major == server:
            return programs
    msg = f"this image has {_versions(known)}, and {server} itself is needed: {_REMEDY}"
    raise MissingProgramsError(msg)


def newest() -> Programs:
    """Those that read every dump that this image can read at all.

    Raises:
        MissingProgramsError: there are none at all.
    """
    known = installed()
    if not known:
        msg = f"this image has {_versions(known)}: {_REMEDY}"
        raise MissingProgramsError(msg)
    return known[-1]


def _versions(known: Sequence[Programs]) -> str:
    majors = ", ".join(str(each.major) for each in known)
    return f"the programs of PostgreSQL {majors}" if known else "no programs of PostgreSQL"
