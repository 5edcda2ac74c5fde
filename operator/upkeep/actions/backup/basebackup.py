"""A base backup of a PostgreSQL server by pg_basebackup: its files, and the log that makes them those of one moment.

It must never leave a tablespace out, nor write to where one is at the server.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from upkeep.actions.backup.archive import last_words
from upkeep.actions.backup.inventory import DATA, TABLESPACES
from upkeep.actions.backup.process import run
from upkeep.actions.backup.programs import Programs
from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model
from upkeep.actions.postgres.session import Session
from upkeep.actions.text import readable

DIRECTORY: Final = "physical"
"""Where the backup stands in the scratch directory; the same for every run, so that snapshots compare."""

_RECORD: Final = "record.json"
_LINKS: Final = "pg_tblspc"
_INCREMENTAL_SINCE: Final = 17
_USER: Final = "{user}"
_ADVICE: Final = (
    (
        "no pg_hba.conf entry for replication",
        "add the line `host replication {user} all scram-sha-256` to its pg_hba.conf, then SELECT pg_reload_conf()",
    ),
    ("replication role to start", _ATTRIBUTE := "ALTER ROLE {user} REPLICATION"),
    ("permission denied to start WAL sender", _ATTRIBUTE),
    ("max_wal_senders", "raise max_wal_senders of the server: a physical backup takes two"),
    ("replication slots are in use", "raise max_replication_slots of the server: a physical backup takes one"),
    ("unsupported startup parameter", "let the connection lead to the server itself, not to a pooler"),
    ("checksum error", "pages of the server's files are damaged: look into its log at once, and keep older backups"),
    ("No space left on device", _FULL := "the scratch volume is full: raise scratchSize"),
    ("could not write", _FULL),
)
_NO_ADVICE: Final = "look into the server's log"

_FACTS: Final = """
SELECT session_user AS role,
       (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10) AS superuser,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'summarize_wal') AS summarizes,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema') AS tables
"""
_PLACES: Final = """
SELECT oid::pg_catalog.int8 AS number, pg_catalog.pg_tablespace_location(oid) AS location
FROM pg_catalog.pg_tablespace WHERE pg_catalog.pg_tablespace_location(oid) LIKE '/%'
"""


class ServerRecord(Model):
    """Which server was backed up, as it was seen when it was."""

    major: Annotated[int, Field(ge=1, le=1000)]
    """Its major version."""
    database: str
    """Name of the database of the connection, in which queries are asked."""
    superuser: str
    """Name of the role that its cluster was made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    role: str
    superuser: str
    summarizes: str | None
    tables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    number: int
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What has to be known of a server before it is backed up.

    Attributes:
        name: `host:port`, for messages.
        role: the user of the connection.
        record: what stays with the backup.
        tablespaces: where those are that have a place of their own, by their numbers.
        summarizes: whether it knows what has changed, so that a backup can have that alone; None before version 17.
    """

    name: str
    role: str
    record: ServerRecord
    tablespaces: Mapping[int, str]
    summarizes: bool | None

    @classmethod
    async def seen(cls, opened: Session) -> "Server":
        """Look at it.

        Raises:
            ActionError: the database of the connection has no tables.
        """
        (facts,) = await opened.fetch(_Facts, _FACTS)
        places = await opened.fetch(_Place, _PLACES)
        if not facts.tables:
            msg = (
                f"the database {readable(opened.database)} of PostgreSQL {opened.server} has no tables: an empty "
                "backup is not made; check `database` of the source"
            )
            raise ActionError(msg)
        major = opened.version.major
        return cls(
            name=opened.server,
            role=facts.role,
            record=ServerRecord(major=major, database=opened.database, superuser=facts.superuser),
            tablespaces={place.number: place.location for place in places},
            summarizes=facts.summarizes == "on" if major >= _INCREMENTAL_SINCE else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseBackup:
    """pg_basebackup, pointed at a server.

    Attributes:
        programs: of a version that is not older than the server.
        server: what is known of it.
        environment: libpq's variables; they name the password file, not the password.
        scratch: writable directory.
    """

    programs: Programs
    server: Server
    environment: Mapping[str, str]
    scratch: Path

    async def take(self, *, onto: Path | None = None) -> None:
        """Copy the server's files, and write down beside them which server it was.

        Args:
            onto: the manifest of an earlier backup, of which only what has changed since is copied; None: everything.

        Raises:
            ActionError: pg_basebackup failed.
        """
        directory = self.scratch / DIRECTORY
        directory.mkdir(mode=0o700)
        places = {
            where: directory / TABLESPACES / str(number) for number, where in sorted(self.server.tablespaces.items())
        }
        arguments = [
            f"--pgdata={directory / DATA}",
            "--format=plain",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
            "--no-sync",
            "--no-password",
            *(f"--tablespace-mapping={mapped(Path(where), place)}" for where, place in places.items()),
            *([f"--incremental={onto}"] if onto else []),
        ]
        command = [self.programs.path("pg_basebackup"), *arguments]
        finished = await run(command, environment=self.environment, directory=self.scratch)
        if finished.code:
            advice = next((advice for words, advice in _ADVICE if words in finished.errors), _NO_ADVICE)
            what = f"pg_basebackup from PostgreSQL {self.server.name} failed: {last_words(finished)}"
            msg = f"{what}: {advice.replace(_USER, _quoted(self.server.role))}"
            raise ActionError(msg)
        link_tablespaces(directory, relative=True)
        write_server(directory, self.server.record)


def write_server(directory: Path, record: ServerRecord) -> None:
    """Put down beside the files which server they are of."""
    (directory / _RECORD).write_text(record.model_dump_json(by_alias=True))


def read_server(directory: Path) -> ServerRecord:
    """Which server a backup is of.

    Raises:
        ActionError: nobody wrote that down.
    """
    try:
        return ServerRecord.model_validate(json.loads((directory / _RECORD).read_bytes()))
    except (OSError, ValueError, ValidationError):
        msg = (
            f"the backup has no {_RECORD} that can be read, so that nobody knows which server it is of: it was made by "
            "another program or version; make a new backup, then verify that"
        )
        raise ActionError(msg) from None


def link_tablespaces(directory: Path, *, relative: bool) -> Sequence[Path]:
    """Let the server's directory find the tablespaces that stand beside it, wherever both are now; returns where.

    Args:
        directory: of both.
        relative: True: wherever they are moved to; False: as pg_combinebackup demands it.
    """
    places = []
    for link in sorted((directory / DATA / _LINKS).glob("*")):
        if link.is_symlink():
            place = directory / TABLESPACES / link.name
            link.unlink()
            link.symlink_to(Path("..") / ".." / TABLESPACES / link.name if relative else place)
            places.append(place)
    return places


def mapped(where: Path, place: Path) -> str:
    """A tablespace and where it is to be instead, as pg_basebackup and pg_combinebackup take it."""
    return "=".join(str(path).replace("=", "\\=") for path in (where, place))


def _quoted(role: str) -> str:
    from psycopg.sql import Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

    return Identifier(role).as_string()
