"""Which GRANT the user of a connection lacks, asked of the catalogue: what a server says is in its own language."""

from dataclasses import dataclass
from typing import Final

from upkeep.actions.postgres.catalogue import Table
from upkeep.actions.postgres.session import Session

_RIGHTS: Final = """
SELECT pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owns, {maintains} AS maintains,
       has_schema_privilege(c.relnamespace, 'CREATE') AS creates
FROM pg_class c
WHERE c.oid = %(oid)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rights:
    """What the user may do with a table, and make in its schema."""

    owner: str
    owns: bool
    maintains: bool
    creates: bool


async def maintenance_grant(opened: Session, table: Table) -> str:
    """The GRANT without which the user may not VACUUM, ANALYZE or REINDEX the table; empty where it may."""
    rights = await _read(opened, table)
    if rights is None or rights.maintains:
        return ""
    user = opened.connection.info.user
    return opened.version.maintenance_grant(table.identifier, owner=rights.owner, user=user)


async def index_grant(opened: Session, table: Table) -> str:
    """The GRANT without which the user may not make or drop indexes of the table; empty where it may."""
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    rights = await _read(opened, table)
    if rights is None or (rights.owns and rights.creates):
        return ""
    user = Identifier(opened.connection.info.user)
    if rights.owns:
        return SQL("GRANT CREATE ON SCHEMA {} TO {}").format(Identifier(table.schema), user).as_string()
    return SQL("GRANT {} TO {}").format(Identifier(rights.owner), user).as_string()


async def _read(opened: Session, table: Table) -> _Rights | None:
    from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

    query = SQL(_RIGHTS).format(maintains=SQL(opened.version.may_maintain))
    found = await opened.fetch(_Rights, query, {"oid": table.oid})
    return found[0] if found else None
