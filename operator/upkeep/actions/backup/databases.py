"""Which databases of a server a backup is of: those that were chosen, by name or by pattern, of those that are there.

What was named and is not there is an error, and never a backup without it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Rule
from upkeep.actions.postgres.session import Session

DatabasePattern = Annotated[str, Field(min_length=1, max_length=63)]
"""Name of a database; `*` stands for any number of any characters in it, `?` for one."""
Jobs = Annotated[int, Field(ge=1, le=8)]
"""How many tables are dumped or loaded at a time."""
EXCLUDED_FROM_SOME: Final[Rule] = {
    "rule": "!has(self.excludeDatabases) || has(self.databases)",
    "message": "excludeDatabases leaves some of `databases` out: name those too, for example '*'",
}

_SHOWN: Final = 20
_KNOWN: Final = """
SELECT d.datname::pg_catalog.text AS name, pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text AS encoding,
       d.datallowconn AND d.datconnlimit <> -2 AS usable, d.datistemplate AS template,
       pg_catalog.has_database_privilege(d.oid, 'CONNECT') AS open
FROM pg_catalog.pg_database d ORDER BY d.datname::pg_catalog.text COLLATE "C"
"""
"""What was dropped by half has a limit of -2: nobody can connect to it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDatabase:
    """A database that is to be dumped.

    Attributes:
        name: its name.
        encoding: its encoding, as the server names it.
        named: whether it was chosen by its own name; one that only fits a pattern may be empty.
    """

    name: str
    encoding: str
    named: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    name: str
    encoding: str
    usable: bool
    template: bool
    open: bool


async def chosen(opened: Session, wanted: Sequence[str], excluded: Sequence[str]) -> Sequence[SourceDatabase]:
    """The databases that are wanted and not excluded, by their names.

    Templates, and those that allow no connections, are only found by their own name.

    Args:
        opened: a session at any database of the server.
        wanted: names and patterns.
        excluded: likewise.

    Raises:
        ActionError: one of those wanted is not there, or cannot be dumped; or none is left.
    """
    known = await _known(opened)
    names = {each.name for each in known}
    missing = [each for each in wanted if each not in names and not _fitting(each, known)]
    if missing:
        msg = (
            f"there is no database {listed(missing)} on PostgreSQL {opened.server}, only {listed(sorted(names))}: "
            "correct `databases` of the source"
        )
        raise ActionError(msg)
    fitting = {name for each in wanted for name in _fitting(each, known)}
    left_out = {name for name in names for each in excluded if _fits(each, name)}
    found = [each for each in known if each.name in fitting.union(wanted) - left_out]
    if not found:
        msg = f"excludeDatabases leaves none of `databases` on PostgreSQL {opened.server}: correct one of them"
        raise ActionError(msg)
    _refuse_closed(opened, found)
    return [SourceDatabase(name=each.name, encoding=each.encoding, named=each.name in wanted) for each in found]


def listed(names: Iterable[str]) -> str:
    """Names of databases in a sentence, the first of many."""
    all_of_them = [repr(name) for name in names]
    more = len(all_of_them) - _SHOWN
    return ", ".join(all_of_them[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


async def _known(opened: Session) -> Sequence[_Known]:
    try:
        return await opened.fetch(_Known, _KNOWN)
    except UnicodeDecodeError as error:
        msg = (
            f"a database of PostgreSQL {opened.server} has a name that is not UTF-8 ({error.object!r}): rename it, or "
            "leave `databases` of the source out"
        )
        raise ActionError(msg) from None


def _refuse_closed(opened: Session, found: Sequence[_Known]) -> None:
    unusable = [each.name for each in found if not each.usable]
    if unusable:
        msg = (
            f"nobody can connect to {listed(unusable)} on PostgreSQL {opened.server}: "
            "ALTER DATABASE … ALLOW_CONNECTIONS true, or take it out of `databases` of the source"
        )
        raise ActionError(msg)
    closed = [each.name for each in found if not each.open]
    if closed:
        msg = (
            f"the user of the connection may not connect to {listed(closed)} on PostgreSQL {opened.server}: "
            "GRANT CONNECT ON DATABASE … to it, or leave them out by excludeDatabases"
        )
        raise ActionError(msg)


def _fitting(pattern: str, known: Sequence[_Known]) -> Sequence[str]:
    return [each.name for each in known if each.usable and not each.template and _fits(pattern, each.name)]


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))
