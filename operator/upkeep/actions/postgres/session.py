"""One connection to PostgreSQL for one step: safe settings, and errors that say what to do.

Every session commits each statement by itself, has an empty search_path (a function that somebody put into
`public` can never stand in for a built-in one) and timeouts at the server, so that nothing outlives the Job.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeVar

from upkeep.actions.connections import PostgresTarget, SSLMode
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.postgres.errors import connect_error, query_error
from upkeep.actions.postgres.version import Version

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composable, Composed

CONNECT_SECONDS: Final = 3
"""How long one address may take to answer, so that a wrong host shows within five seconds."""

_LOOK_UP_SECONDS: Final = 1.5
_GRACE_SECONDS: Final = 2.0
_DEFAULT_LOCK_TIMEOUT: Final = timedelta(seconds=5)
_VERIFIED: Final = frozenset({SSLMode.VERIFY_CA, SSLMode.VERIFY_FULL})

_SETTINGS: Final = """
SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version,
       pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.set_config('search_path', '', false),
       pg_catalog.set_config('statement_timeout', %(statement)s, false),
       pg_catalog.set_config('lock_timeout', %(lock)s, false)
"""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open connection and what was learnt of its server.

    Attributes:
        connection: psycopg's connection, in autocommit mode.
        server: `host:port`, for messages.
        database: name of the database.
        version: of the server.
        standby: whether the server is in recovery and takes no writes.
    """

    connection: "AsyncConnection[Any]"
    server: str
    database: str
    version: Version
    standby: bool

    async def fetch(
        self, row: type[Row], query: "LiteralString | Composed", parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """All rows of a query as instances of `row`, whose fields are the columns."""
        from psycopg.rows import class_row  # noqa: PLC0415 - a driver is loaded only when an action runs

        whole = query if parameters is None or isinstance(query, str) else _beside_parameters(query)
        async with self.connection.cursor(row_factory=class_row(row)) as cursor:
            await cursor.execute(whole, parameters)
            return await cursor.fetchall()


@asynccontextmanager
async def session(
    context: Context, name: str, *, lock_timeout: timedelta = _DEFAULT_LOCK_TIMEOUT
) -> AsyncIterator[Session]:
    """Connect, set the timeouts, and close afterwards.

    Connect to the server itself, not to a pooler in transaction mode: the settings belong to the session.

    Args:
        context: the runner's context.
        name: name of the connection.
        lock_timeout: how long a statement waits for a lock before it gives up.

    Raises:
        ActionError: no such connection or Secret, no connection, or a query of the caller failed.
        UncheckableError: a query of the caller lacked a privilege.
    """
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    target = context.target(name, PostgresTarget)
    server = f"{target.host}:{target.port}"
    connection = await _connect(context, name, target)
    try:
        async with connection.cursor() as cursor:
            await cursor.execute(
                _SETTINGS,
                {
                    "statement": _milliseconds(context.remaining + _GRACE_SECONDS),
                    "lock": _milliseconds(lock_timeout.total_seconds()),
                },
            )
            found = await cursor.fetchone()
        version, standby = found[:2] if found else (0, False)
        yield Session(
            connection=connection,
            server=server,
            database=target.database,
            version=Version(version),
            standby=standby,
        )
    except psycopg.Error as error:
        raise query_error(error, server=server) from error
    finally:
        await connection.close()


def _beside_parameters(query: "Composed") -> "Composed":
    """The query with the percent signs of its names doubled: in one with parameters they would be taken for those."""
    from psycopg.sql import SQL, Composed, Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    def part(found: "Composable") -> "Composable":
        if isinstance(found, Composed):
            return Composed([part(each) for each in found])
        return SQL(found.as_string().replace("%", "%%")) if isinstance(found, Identifier) else found

    return Composed([part(each) for each in query])


async def _connect(context: Context, name: str, target: PostgresTarget) -> "AsyncConnection[Any]":
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    parameters = connection_parameters(context, name, target)
    password = context.secret(name, "password")

    explain = partial(
        connect_error,
        server=f"{target.host}:{target.port}",
        connection=name,
        secret=context.secret_name(name),
    )
    try:
        async with asyncio.timeout(CONNECT_SECONDS + _LOOK_UP_SECONDS):
            return await psycopg.AsyncConnection.connect(**parameters, password=password, autocommit=True)
    except TimeoutError:
        raise explain(reason="timeout expired") from None
    except psycopg.OperationalError as error:
        raise explain(reason=str(error)) from error


def demand_primary(opened: Session, what: str) -> None:
    """Refuse to change anything at a server that takes no changes.

    Raises:
        ActionError: the server is a standby.
    """
    if opened.standby:
        msg = (
            f"PostgreSQL {opened.server} is a standby (in recovery) and cannot run {what}: "
            "let the connection point to the primary"
        )
        raise ActionError(msg)


def connection_parameters(context: Context, name: str, target: PostgresTarget) -> dict[str, Any]:
    """What libpq needs to connect, by its parameter names and without the password.

    Raises:
        ActionError: the Secret or one of its keys is missing.
    """
    parameters = {
        "host": target.host,
        "port": str(target.port),
        "dbname": target.database,
        "user": context.secret(name, "username"),
        "sslmode": target.ssl_mode.value,
        "gssencmode": "disable",
        "connect_timeout": str(CONNECT_SECONDS),
        "application_name": "upkeep",
        "client_encoding": "UTF8",
    }
    if target.ssl_mode in _VERIFIED:
        authority = context.secret_file(name, "ca.crt", holder=f"connection {name!r}", secret=context.secret_name(name))
        parameters["sslrootcert"] = str(authority)
    return parameters


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))
