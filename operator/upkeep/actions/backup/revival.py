"""A PostgreSQL server on the files of a base backup, for one step: recovered to the moment that they are of, then read.

Nothing of what the source was told may hold: it must not listen, archive, replicate, subscribe, nor load libraries. It
trusts everybody who reaches its socket, which only this Pod does.
"""

import asyncio
import re
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.backup.archive import last_words
from upkeep.actions.backup.basebackup import ServerRecord
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.process import run, serving
from upkeep.actions.backup.programs import Programs
from upkeep.actions.backup.throwaway import READER, SETTINGS, Throwaway, last_line
from upkeep.actions.contract import ActionError, UncheckableError
from upkeep.actions.text import readable

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_PLACE: Final = "revival"
_LOG: Final = "revival.log"
_LOCALES: Final = "locales"
_KNOWN_LOCALES: Final = Path("/usr/lib/locale")
_PLAIN: Final = "C.utf8"
_LOOK_AGAIN_SECONDS: Final = 0.05
_EVENT_TRIGGERS_SINCE: Final = 17
_OWN_SETTINGS: Final = "postgresql.auto.conf"
_SIGNALS: Final = ("standby.signal", "recovery.signal")
_SETTINGS: Final = (
    "max_logical_replication_workers=0",
    "max_replication_slots=0",
    "max_locks_per_transaction=1024",
    "hot_standby=off",
)
_PREPARED: Final = re.compile(r"^max_prepared_xacts setting:\s+(?P<number>\d+)$", re.MULTILINE)
_FOREIGN_LOCALE: Final = re.compile(r'initialized with LC_(?:COLLATE|CTYPE) "(?P<name>[^"/]+)"')
_UNICODE: Final = re.compile(r"\.utf-?8$", re.IGNORECASE)
_NOT_YET: Final = ("the database system is", "No such file or directory", "Connection refused")
_ADVICE: Final[Sequence[tuple[str, type[ActionError], str]]] = (
    ("No space left on device", ActionError, "the scratch volume is full: raise verify.restoreTest.scratchSize"),
    ("memory", ActionError, "raise verify.restoreTest.memory"),
    ("incompatible with", UncheckableError, "this image's programs were built otherwise: use fitting ones"),
    ("could not access file", UncheckableError, "the image lacks an extension: build an image with it"),
    ("could not load library", UncheckableError, "the image lacks an extension: build an image with it"),
    ("not permitted to log in", UncheckableError, "let the role that the source's cluster was made with log in"),
)  # fmt: skip
_NO_ADVICE: Final = (DamagedError, "make a new backup at once, then verify that")

_DATABASES: Final = """
SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname
"""
_SIZE: Final = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
_HALF_DONE: Final = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revived:
    """The server, while it runs.

    Attributes:
        server: it.
        process: its process.
        log: what it writes.
        locales: where it finds them.
        lent: those of the source that this image does not have, and in whose place another one stands.
    """

    server: Throwaway
    process: Process
    log: Path
    locales: Path
    lent: set[str] = field(default_factory=set)

    async def databases(self, first: str) -> Sequence[str]:
        """Those that can be connected to; asked in one of them.

        Raises:
            DamagedError: the server does not start.
            UncheckableError: this image lacks what it needs.
        """
        async with self.reached(first) as connection:
            rows = await (await connection.execute(_DATABASES)).fetchall()
        return [row[0] for row in rows]

    async def read(self, database: str) -> int:
        """Read every row of a database; returns its size in bytes.

        Raises:
            DamagedError: something cannot be read.
            UncheckableError: this image lacks what it needs.
        """
        from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - likewise

        async with self.reached(database) as connection:
            for (name,) in await (await connection.execute(_HALF_DONE)).fetchall():
                await connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(name)))
            row = await (await connection.execute(_SIZE)).fetchone()
        command = ["--file=/dev/null", "--format=plain", "--no-sync", "--no-password"]
        finished = await run(
            [self.server.programs.path("pg_dump"), *command, f"--dbname={make_conninfo(dbname=database)}"],
            environment=self.server.environment,
            directory=self.log.parent,
        )
        if finished.code:
            msg = f"database {readable(database)} cannot be read to its last row: {last_words(finished)}"
            raise _explained(msg)
        return int(row[0]) if row else 0

    @asynccontextmanager
    async def reading(self, database: str) -> "AsyncIterator[AsyncConnection[Any]]":
        """A session of a role that may read every row and do nothing else."""
        from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

        role = sql.Identifier(READER)
        async with self.reached(database) as connection:
            found = await connection.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (READER,))
            if await found.fetchone() is None:
                make = "CREATE ROLE {} LOGIN BYPASSRLS IN ROLE pg_read_all_data"
                await connection.execute(sql.SQL(make).format(role))
            grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role)
            await connection.execute(grant)
        async with self.server.connected(database, user=READER) as connection:
            if self.lent:
                # The order in indexes is that of another locale: what is looked up by them may not be found.
                for way in ("indexscan", "indexonlyscan", "bitmapscan"):
                    await connection.execute("SELECT pg_catalog.set_config(%s, 'off', false)", (f"enable_{way}",))
            yield connection

    @asynccontextmanager
    async def reached(self, database: str) -> "AsyncIterator[AsyncConnection[Any]]":
        """A session of the superuser, as soon as there can be one.

        Raises:
            DamagedError: the server does not start.
            UncheckableError: this image lacks what it needs.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        while True:
            try:
                async with self.server.connected(database):
                    break
            except psycopg.OperationalError as error:
                self._consider(str(error), database)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        async with self.server.connected(database) as connection:
            await connection.execute("SELECT pg_catalog.set_config('search_path', '', false)")
            await connection.execute("SET default_transaction_read_only = off")
            yield connection

    def _consider(self, complaint: str, database: str) -> None:
        """Do what helps against it; raises what it means where nothing does, and waiting neither."""
        if self.process.returncode is not None:
            raise self._ended(self.process.returncode)
        if not self._lend(complaint) and not any(words in complaint for words in _NOT_YET):
            said = complaint.rpartition("FATAL:")[2].strip().partition("\n")[0]
            msg = f"database {readable(database)} cannot be opened: {said}"
            raise _explained(msg)

    def _lend(self, complaint: str) -> bool:
        """Let another locale stand in for one that the image does not have; False where that cannot help."""
        found = _FOREIGN_LOCALE.search(complaint)
        plain = _KNOWN_LOCALES / _PLAIN
        if found is None:
            return False
        name = found["name"]
        if name in self.lent or not _UNICODE.search(name) or not plain.is_dir():
            msg = f"the image has no locale {name}, which the backup needs: build an image with it"
            raise UncheckableError(msg)
        (self.locales / name).symlink_to(plain)
        self.lent.add(name)
        return True

    def _ended(self, code: int) -> ActionError:
        if code < 0:
            return ActionError(f"signal {-code} ended the throw-away PostgreSQL: raise verify.restoreTest.memory")
        return _explained(f"PostgreSQL does not start on the files of the backup: {last_line(self.log)}")


@asynccontextmanager
async def revived(programs: Programs, data: Path, record: ServerRecord, scratch: Path) -> AsyncIterator[Revived]:
    """A server on these files, which it changes, for as long as the block.

    Args:
        programs: of the very version that the files are of.
        data: directory of the server.
        record: which server it is a backup of.
        scratch: writable directory.
    """
    place, log = scratch / _PLACE, scratch / _LOG
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir(mode=0o755)
        prepared = await _prepared(programs, data, scratch)
        settings = [*SETTINGS, *_SETTINGS, *_files(place), f"max_prepared_transactions={prepared}"]
        settings += [f"unix_socket_directories={data}"]
        settings += ["event_triggers=off"] if record.major >= _EVENT_TRIGGERS_SINCE else []
        _forget_the_source(data)
        command = [programs.path("postgres"), f"-D{data}", *(f"-c{setting}" for setting in settings)]
        environment = {"LOCPATH": str(_known_locales(place))}
        async with serving(
            command, environment=environment, directory=scratch, log=log, stop=signal.SIGQUIT
        ) as process:
            server = Throwaway(socket=data, programs=programs, superuser=record.superuser)
            yield Revived(server=server, process=process, log=log, locales=place / _LOCALES)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        log.unlink(missing_ok=True)


def _files(place: Path) -> list[str]:
    """Settings by which the server reads none of the source's configuration; its socket is open to everybody."""
    contents = {"config_file": "", "hba_file": "local all all trust\n", "ident_file": ""}
    for name, content in contents.items():
        (place / name).write_text(content)
    return [f"{name}={place / name}" for name in contents]


def _known_locales(place: Path) -> Path:
    """A directory of all the locales that this image has, to which others can be added."""
    locales = place / _LOCALES
    locales.mkdir(mode=0o755)
    for known in _KNOWN_LOCALES.glob("*"):
        if known.is_dir():
            (locales / known.name).symlink_to(known)
    return locales


def _forget_the_source(data: Path) -> None:
    for name in (_OWN_SETTINGS, *_SIGNALS):
        (data / name).unlink(missing_ok=True)
    (data / _OWN_SETTINGS).touch()


async def _prepared(programs: Programs, data: Path, scratch: Path) -> int:
    """For how many prepared transactions there has to be room, or the server does not start."""
    finished = await run([programs.path("pg_controldata"), str(data)], environment={}, directory=scratch)
    found = _PREPARED.search(finished.output)
    if finished.code or found is None:
        msg = f"the control file of the backup cannot be read: {last_words(finished)}"
        raise _explained(msg)
    return int(found["number"])


def _explained(what: str) -> ActionError:
    kind, advice = next(((kind, advice) for words, kind, advice in _ADVICE if words in what), _NO_ADVICE)
    return kind(f"{what}: {advice}")
