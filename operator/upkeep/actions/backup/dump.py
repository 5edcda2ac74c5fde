"""Dumps of a PostgreSQL database into a directory, and the proof that a dump is whole.

Uncompressed and one file a table, so that the repository can store what did not change only once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from upkeep.actions.backup.archive import DATABASE, GLOBALS, Archive, Record, last_words, write_record
from upkeep.actions.backup.layout import place
from upkeep.actions.backup.libpq import libpq
from upkeep.actions.backup.process import run
from upkeep.actions.backup.programs import Programs
from upkeep.actions.backup.scratch import emptied
from upkeep.actions.connections import PostgresTarget
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.text import readable

ALWAYS_ALIKE: Final = {"PGTZ": "UTC"}
"""Variables of libpq with which the same rows always give the same dump, whatever the server's settings are."""
DIRECTORY: Final = "postgres"
"""Where the dump stands in the scratch directory; the same for every run, so that snapshots compare."""

_ADVICE: Final = (
    ("permission denied for database", "GRANT CONNECT ON DATABASE to the user of the connection"),
    ("permission denied", "GRANT pg_read_all_data to the user of the connection"),
    ("row-level security", "use a user with BYPASSRLS, or rows would be missing"),
    ("No space left on device", "the scratch volume is full: raise scratchSize"),
    ("could not write", "the scratch volume may be full: raise scratchSize"),
    ("server version", "use an image with the server's or newer client programs"),
    ("could not obtain lock on relation", "somebody waited to change that table: run the backup again, or set jobs: 1"),
    ("too many clients", _FEWER := "set fewer jobs, or raise the limit of connections"),
    ("too many connections", _FEWER),
    ("connection slots", _FEWER),
    ("does not exist", "it was dropped meanwhile: run the backup again"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A dump that was looked over.

    Attributes:
        tables: number of tables whose rows are in it.
        rows: number of rows in all of them.
    """

    tables: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumper:
    """The dump programs, pointed at one database.

    Attributes:
        programs: of a version that is not older than the server.
        server: `host:port`, for messages.
        database: name of the database.
        environment: libpq's variables; they name the password file, not the password.
        scratch: writable directory.
        directory: where the dump goes.
        jobs: how many tables are dumped at a time, each over a connection of its own beside the first.
    """

    programs: Programs
    server: str
    database: str
    environment: Mapping[str, str]
    scratch: Path
    directory: Path
    jobs: int = 1

    def another(self, database: str) -> "Dumper":
        """The same for another database of the server, in a directory of its own."""
        environment = {**self.environment, "PGDATABASE": database}
        return replace(self, database=database, environment=environment, directory=place(self.directory, database))

    async def dump(self) -> None:
        """Write the database's dump.

        Raises:
            ActionError: pg_dump failed.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        arguments = ["--format=directory", "--compress=0", "--no-password", f"--jobs={self.jobs}"]
        arguments += [f"--file={self.directory / DATABASE}"]
        environment = {**self.environment, **ALWAYS_ALIKE}
        command = [self.programs.path("pg_dump"), *arguments]
        finished = await run(command, environment=environment, directory=self.scratch)
        if finished.code:
            what = last_words(finished)
            advice = next(
                (advice for words, advice in _ADVICE if words in finished.errors), "look into the server's log"
            )
            msg = f"pg_dump of {readable(self.database)} from PostgreSQL {self.server} failed: {what}: {advice}"
            raise ActionError(msg)

    async def dump_globals(self) -> str:
        """Write roles and tablespaces, without passwords of roles; says why where the user may not read them."""
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - a driver is loaded only when an action runs

        arguments = [
            "--globals-only",
            "--no-role-passwords",
            "--no-password",
            f"--file={self.directory / GLOBALS}",
            f"--database={make_conninfo(dbname=self.database)}",
        ]
        command = [self.programs.path("pg_dumpall"), *arguments]
        finished = await run(command, environment=self.environment, directory=self.scratch)
        return last_words(finished) if finished.code else ""

    async def verify(self, *, encoding: str, may_be_empty: bool = False) -> Dump:
        """Look the dump over: it has tables, and the file of each is there and ends as pg_dump ends them.

        How many rows are in each, and their checksum, is written beside it, for who restores it.

        Args:
            encoding: of the database, for that record.
            may_be_empty: whether it may have no tables.

        Raises:
            ActionError: the dump is empty, incomplete or unreadable.
        """
        archive = await Archive.read(self.directory / DATABASE, of=readable(self.database), scratch=self.scratch)
        if not archive.tables and not may_be_empty:
            msg = (
                f"the dump of {readable(self.database)} from PostgreSQL {self.server} is empty: the database has no "
                "tables; check `database` of the source"
            )
            raise ActionError(msg)
        if archive.truncated:
            msg = (
                f"the dump of {readable(self.database)} is incomplete: {archive.truncated} of {archive.tables} tables "
                "are cut off or missing: run the backup again"
            )
            raise ActionError(msg)
        found = await archive.contents()
        record = Record(database=self.database, encoding=encoding, rows=found.rows, digests=found.digests)
        write_record(self.directory, record)
        return Dump(tables=archive.tables, rows=sum(found.rows.values()))


@contextmanager
def dumper(context: Context, name: str, programs: Programs, *, jobs: int = 1) -> Iterator[Dumper]:
    """A dumper for the connection, with these programs; its dump is removed afterwards.

    Raises:
        ActionError: no such connection or Secret.
    """
    target = context.target(name, PostgresTarget)
    with emptied(context.scratch / DIRECTORY) as directory, libpq(context, name) as environment:
        yield Dumper(
            programs=programs,
            server=f"{target.host}:{target.port}",
            database=target.database,
            environment=environment,
            scratch=context.scratch,
            directory=directory,
            jobs=jobs,
        )
