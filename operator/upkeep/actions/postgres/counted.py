"""The extension pg_stat_statements of a database: where it is, and why it may not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from upkeep.actions.contract import UncheckableError
from upkeep.actions.postgres.session import Session

if TYPE_CHECKING:
    from psycopg.sql import Identifier

_UNUSABLE: Final = {
    "55000": "does not load pg_stat_statements: add it to shared_preload_libraries and restart the server",
    "42703": "has an old pg_stat_statements: ALTER EXTENSION pg_stat_statements UPDATE in this database",
    "42P01": "has an old pg_stat_statements: ALTER EXTENSION pg_stat_statements UPDATE in this database",
}
"""By SQLSTATE; an upgrade of the server leaves the extension as it was."""
_EXTENSION: Final = """
SELECT n.nspname AS schema
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
"""


@dataclass(frozen=True, slots=True)
class _Schema:
    schema: str


async def extension(opened: Session) -> "Identifier":
    """The schema that the extension is in.

    Raises:
        UncheckableError: this database does not have it.
    """
    from psycopg.sql import Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    schemas = await opened.fetch(_Schema, _EXTENSION)
    if not schemas:
        msg = (
            f"database {opened.database!r} of PostgreSQL {opened.server} has no extension pg_stat_statements: add "
            "it to shared_preload_libraries, restart the server, and CREATE EXTENSION pg_stat_statements there"
        )
        raise UncheckableError(msg)
    return Identifier(schemas[0].schema)


@contextmanager
def answering(opened: Session) -> Iterator[None]:
    """Ask the extension something.

    Raises:
        UncheckableError: it cannot answer; says what to do.
    """
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    try:
        yield
    except psycopg.Error as error:
        why = _UNUSABLE.get(error.sqlstate or "")
        if why is None:
            raise
        msg = f"PostgreSQL {opened.server} {why}"
        raise UncheckableError(msg) from error
