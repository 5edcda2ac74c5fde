"""A PostgreSQL server for one step: made in the scratch directory, reached by a socket only there, gone afterwards.

It must never be reachable from outside the Pod and never hold anything but what was restored. What it is careless about
(it syncs nothing, and trusts everybody who reaches its socket) is only right for data that nobody needs any more.
"""

import asyncio
import re
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.backup.process import run, serving
from upkeep.actions.backup.programs import Programs
from upkeep.actions.contract import ActionError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SUPERUSER: Final = "postgres"
READER: Final = "upkeep_reader"
"""A role that may read every row and do nothing else: queries of users run as this one."""

_DIRECTORY: Final = "throwaway"
_LOG: Final = "throwaway.log"
_START_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.05
SETTINGS: Final = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=1GB",
    "autovacuum=off",
    "jit=off",
    "shared_buffers=64MB",
    "maintenance_work_mem=64MB",
    "dynamic_shared_memory_type=mmap",
    "max_connections=20",
    "logging_collector=off",
)
"""What such a server is told, whatever it holds."""

_UNICODE: Final = "UTF8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throwaway:
    """The server, while it runs.

    Attributes:
        socket: directory of its socket.
        programs: those of its version.
        superuser: name of its superuser.
    """

    socket: Path
    programs: Programs
    superuser: str = SUPERUSER

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of libpq for programs that restore into it."""
        return {"PGHOST": str(self.socket), "PGUSER": self.superuser, "PGAPPNAME": "upkeep"}

    @asynccontextmanager
    async def connected(self, database: str, *, user: str = "") -> "AsyncIterator[AsyncConnection[Any]]":
        """A connection with autocommit, of the superuser unless another is named."""
        connection = await _connect(self.socket, database, user or self.superuser)
        try:
            yield connection
        finally:
            await connection.close()

    async def prepare(self, roles: Iterable[str]) -> None:
        """Make the roles that own what comes into it, and the role that reads it.

        Args:
            roles: names of roles, without passwords and rights.
        """
        from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

        async with self.connected("template1") as connection:
            for role in {*roles} - {SUPERUSER, READER}:
                await connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
            await connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS IN ROLE pg_read_all_data").format(sql.Identifier(READER))
            )

    async def make(self, database: str, *, encoding: str) -> None:
        """Make an empty database.

        Args:
            database: its name.
            encoding: as the source's server names it. Texts are ordered by their bytes, whatever the source does: its
                locales may not be in this image.

        Raises:
            ActionError: the server does not know the encoding.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs
        from psycopg import sql  # noqa: PLC0415 - likewise

        name, locale = sql.Identifier(database), "C.UTF-8" if encoding == _UNICODE else "C"
        make = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE {}"
        async with self.connected("template1") as connection:
            if database == SUPERUSER:
                await connection.execute(sql.SQL("DROP DATABASE {}").format(name))
            try:
                await connection.execute(sql.SQL(make).format(name, encoding, locale))
            except psycopg.Error as error:
                msg = (
                    f"the throw-away PostgreSQL {self.programs.major} cannot hold a database like {database!r}: {error}"
                )
                raise ActionError(msg) from error

    async def apply(self, statements: Iterable[str]) -> list[str]:
        """Execute statements, each by itself; returns what the server says to those that it refuses."""
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        refused = []
        async with self.connected("template1") as connection:
            for statement in statements:
                try:
                    await connection.execute(statement.encode())
                except psycopg.Error as error:
                    refused.append(error.diag.message_primary or str(error).partition("\n")[0])
        return refused


@asynccontextmanager
async def throwaway(programs: Programs, scratch: Path) -> AsyncIterator[Throwaway]:
    """A server of the version of these programs, for as long as the block.

    Raises:
        ActionError: it does not start.
    """
    data, log = scratch / _DIRECTORY, scratch / _LOG
    shutil.rmtree(data, ignore_errors=True)
    try:
        await _initialise(programs, data, scratch)
        settings = [f"-c{setting}" for setting in (*SETTINGS, f"unix_socket_directories={data}")]
        command = [programs.path("postgres"), f"-D{data}", *settings]
        async with serving(command, environment={}, directory=scratch, log=log, stop=signal.SIGQUIT) as process:
            await _started(process, data, log)
            yield Throwaway(socket=data, programs=programs)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        log.unlink(missing_ok=True)


async def _initialise(programs: Programs, data: Path, scratch: Path) -> None:
    command = [
        programs.path("initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
        "--no-instructions",
    ]
    finished = await run(command, environment={}, directory=scratch)
    if finished.code:
        msg = f"cannot make a throw-away PostgreSQL in the scratch directory: {finished.complaint}: raise scratchSize"
        raise ActionError(msg)


async def _started(process: Process, socket: Path, log: Path) -> None:
    """Wait until it answers."""
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    what = "it did not answer in time"
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            while process.returncode is None:
                try:
                    connection = await _connect(socket, "template1", SUPERUSER)
                except psycopg.OperationalError:
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    continue
                await connection.close()
                return
        what = last_line(log)
    msg = f"the throw-away PostgreSQL does not start: {what}: look into the log of the Pod, and at its memory limit"
    raise ActionError(msg)


async def _connect(socket: Path, database: str, user: str) -> "AsyncConnection[Any]":
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    return await psycopg.AsyncConnection.connect(
        host=str(socket), user=user, dbname=database, application_name="upkeep", client_encoding="UTF8", autocommit=True
    )


def last_line(log: Path) -> str:
    """What a server's log says of its end: the first fatal line, else the last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line] or lines[-1:] or ["it said nothing"]
    return re.sub(r"^.*?(?:FATAL|PANIC):\s+", "", telling[0])
