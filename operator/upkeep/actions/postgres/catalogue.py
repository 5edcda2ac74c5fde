"""Which tables a list of names stands for: every name is looked up, none ever becomes part of a statement as text.

A name is compared with the catalogue's own spelling, so quotes, spaces and semicolons in it are just characters.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.session import Session

if TYPE_CHECKING:
    from psycopg.sql import Identifier

EVERY_TABLE: Final = "*"

TableName = Annotated[str, Field(min_length=1, max_length=127)]
"""`schema.table`, or `table` in whatever schema; `*` stands for any characters."""

_LEAF_KINDS: Final = frozenset({"r", "m"})
_CATALOGUE: Final = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       i.inhparent::bigint AS parent
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, materialized view or partitioned table.

    Attributes:
        oid: its identifier in this database.
        schema: schema, in the catalogue's spelling.
        name: name, in the catalogue's spelling.
        kind: `relkind`: r, m, or p for a partitioned table, which holds no rows itself.
        parent: the partitioned table that it is a partition of.
    """

    oid: int
    schema: str
    name: str
    kind: str
    parent: int | None

    @property
    def label(self) -> str:
        """`schema.table`, for people."""
        return f"{self.schema}.{self.name}"

    @property
    def partitioned(self) -> bool:
        """Whether its rows are in its partitions."""
        return self.kind == "p"

    @property
    def identifier(self) -> "Identifier":
        """The quoted name for a statement."""
        from psycopg.sql import Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

        return Identifier(self.schema, self.name)


class TableAction(Action):
    """What all actions on tables have in common."""

    connection: LabelName
    """Name of a PostgreSQL connection."""
    tables: Annotated[list[TableName], Field(min_length=1, max_length=256)] = Field(
        default_factory=lambda: [EVERY_TABLE]
    )
    """Tables as `schema.table`, or `table` in any schema, spelt as in the catalogue; `*` stands for any
    characters. Left out: every table. A name that matches nothing is an error."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tables of a database by oid; system tables and temporary tables of other sessions left out."""

    tables: Mapping[int, Table]

    @classmethod
    async def read(cls, session: Session) -> "Catalogue":
        """Read it. Takes no lock on any table."""
        found = await session.fetch(Table, _CATALOGUE)
        return cls({table.oid: table for table in found})

    def matching(self, names: Sequence[str]) -> list[Table]:
        """The tables that any of the names stands for, each once, sorted by schema and name.

        Raises:
            ActionError: one of the names stands for no table; names the nearest that exist. Only `*` may match none.
        """
        chosen: set[int] = set()
        for name in names:
            pattern = re.compile(".*".join(re.escape(part) for part in name.split("*")), re.DOTALL)
            matches = {
                table.oid
                for table in self.tables.values()
                if pattern.fullmatch(table.label) or pattern.fullmatch(table.name)
            }
            if not matches and name != EVERY_TABLE:
                raise ActionError(self._missing(name))
            chosen |= matches
        return [table for oid, table in self.tables.items() if oid in chosen]

    def exactly(self, name: str) -> Table:
        """The one table of this name; `*` is a character like any other here.

        Raises:
            ActionError: there is none, or several schemas have one.
        """
        found = [table for table in self.tables.values() if name in {table.label, table.name}]
        exact = [table for table in found if table.label == name] or found
        if not exact:
            raise ActionError(self._missing(name))
        if len(exact) > 1:
            msg = f"several schemas have a table {name!r}: write {' or '.join(table.label for table in exact)}"
            raise ActionError(msg)
        return exact[0]

    def topmost(self, tables: Iterable[Table]) -> list[Table]:
        """The tables without those whose partitioned parent is among them too."""
        given = {table.oid: table for table in tables}
        return [table for table in given.values() if not any(oid in given for oid in self._ancestors(table))]

    def leaves(self, tables: Iterable[Table]) -> list[Table]:
        """The tables that hold the rows: a partitioned table is replaced by its partitions, each once."""
        wanted = {table.oid for table in tables}
        return [
            table
            for table in self.tables.values()
            if table.kind in _LEAF_KINDS and (table.oid in wanted or not wanted.isdisjoint(self._ancestors(table)))
        ]

    def _ancestors(self, table: Table) -> list[int]:
        found = []
        parent = self.tables.get(table.parent) if table.parent else None
        while parent is not None:
            found.append(parent.oid)
            parent = self.tables.get(parent.parent) if parent.parent else None
        return found

    def _missing(self, name: str) -> str:
        what = f"no table matches {name!r}" if "*" in name else f"there is no table {name!r}"
        if not self.tables:
            return f"{what}: the database has no tables; check `database` of the connection"
        labels = {table.label: table.label for table in self.tables.values()}
        labels |= {table.name: table.label for table in self.tables.values()}
        near = [labels[spelling] for spelling in get_close_matches(name, labels, n=3, cutoff=0.5)]
        advice = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "check the spelling and the schema"
        return f"{what}: {advice}"
