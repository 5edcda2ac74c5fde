"""Where the dumps of a backup stand: that of one database by itself, those of several in a directory for each.

Names of databases are whatever somebody chose, so that no directory is ever called as one is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pydantic import ValidationError

from upkeep.actions.backup.archive import Record, read_record
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.databases import listed
from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model

_SEVERAL: Final = "databases"
_LIST: Final = "databases.json"


class _Listed(Model):
    """What `databases.json` says."""

    databases: Sequence[str]
    """Names of the databases that were dumped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The dump of one database in a backup.

    Attributes:
        directory: where it stands, with its record.
        record: what was dumped.
    """

    directory: Path
    record: Record


def place(directory: Path, database: str) -> Path:
    """Where the dump of one of several databases stands: at most 195 characters, none of which has a meaning in a path.

    Args:
        directory: of the whole backup.
        database: name of the database.
    """
    return directory / _SEVERAL / quote(database, safe="").replace(".", "%2E")


def write_list(directory: Path, databases: Iterable[str]) -> None:
    """Write down of which databases a backup is, so that one that is missing is missed."""
    (directory / _LIST).write_text(_Listed(databases=sorted(databases)).model_dump_json(by_alias=True))


def kept(directory: Path) -> Mapping[str, Kept]:
    """The dumps in a backup, by the names of their databases.

    Raises:
        ActionError: a record is not there, or is something else.
        DamagedError: a dump is not there.
    """
    if not (directory / _LIST).exists():
        record = read_record(directory)
        return {record.database: Kept(directory=directory, record=record)}
    found = {name: _one(directory, name) for name in _names(directory)}
    if not found:
        msg = f"the backup has an empty {_LIST}: make a new backup, then verify that"
        raise DamagedError(msg)
    return found


def meant(dumps: Mapping[str, Kept], *, wanted: str | None, alike: frozenset[str], of: str) -> Kept:
    """The dump that is to be restored.

    Args:
        dumps: those of the backup.
        wanted: name of the database, where somebody said it.
        alike: names by one of which it goes, where nobody did.
        of: what they are of, for messages.

    Raises:
        ActionError: there is none of that name; or there are several, and nobody said which.
    """
    names = [name for name in dumps if name in ({wanted} if wanted else alike)]
    if not names and not wanted and len(dumps) == 1:
        names = list(dumps)
    if len(names) == 1:
        return dumps[names[0]]
    what = f"no database {wanted!r}, only" if wanted else "several databases:"
    msg = f"{of} has {what} {listed(dumps)}: say in sourceDatabase which one is restored"
    raise ActionError(msg)


def _one(directory: Path, name: str) -> Kept:
    where = place(directory, name)
    if not where.is_dir():
        msg = f"the dump of {name!r} is missing from the backup: make a new backup at once"
        raise DamagedError(msg)
    record = read_record(where)
    if record.database != name:
        msg = f"the dump of {name!r} is one of {record.database!r}: make a new backup at once"
        raise DamagedError(msg)
    return Kept(directory=where, record=record)


def _names(directory: Path) -> Sequence[str]:
    try:
        return _Listed.model_validate_json((directory / _LIST).read_bytes()).databases
    except (OSError, ValidationError):
        msg = f"the backup has no {_LIST} that can be read: make a new backup, then verify that"
        raise DamagedError(msg) from None
