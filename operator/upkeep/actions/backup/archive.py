"""What stands in a dump of PostgreSQL: read from its files, wherever it was restored to, and compared with its record.

The record is written beside the dump when it is made, and says how many rows each table had. Counting again what comes
back must never rest on anything but the files themselves.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from upkeep.actions.backup.process import Finished, run
from upkeep.actions.backup.programs import newest
from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model

DATABASE: Final = "database"
"""Directory of the dump of the database, beside the two files."""
GLOBALS: Final = "globals.sql"
RECORD: Final = "record.json"

_END_OF_DATA: Final = b"\\.\n\n\n"
_ENDING_LINES: Final = _END_OF_DATA.count(b"\n")
_PIECE: Final = 1024 * 1024
_DIGEST_BYTES: Final = 16
_ENTRY: Final = re.compile(r"^(?P<id>\d+); \d+ \d+ TABLE DATA (?P<label>.*)$", re.MULTILINE)
_EXTENSION: Final = re.compile(r"^\d+; \d+ \d+ EXTENSION - (?P<name>\S+)", re.MULTILINE)
_SERVER: Final = re.compile(r"^;\s+Dumped from database version: (?P<version>\d+)", re.MULTILINE)
_WRITER: Final = re.compile(r"^;\s+Dumped by pg_dump version: (?P<version>\d+)", re.MULTILINE)
_NEWER_FORMAT: Final = "unsupported version"


class Record(Model):
    """What was dumped, as it was seen when it was dumped."""

    database: str
    """Name of the database."""
    encoding: str
    """Its encoding, as the server names it."""
    rows: Mapping[str, int] = Field(default_factory=dict)
    """Table, as `schema name owner`, → number of its rows."""
    digests: Mapping[str, str] = Field(default_factory=dict)
    """Likewise → checksum of its rows as they were dumped, in their order; none in backups of older versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in the files of a dump: the same tables in both.

    Attributes:
        rows: table → number of its rows.
        digests: table → checksum of them.
    """

    rows: Mapping[str, int]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A dump that was read.

    Attributes:
        path: its directory.
        tables: number of tables whose rows are in it.
        truncated: how many of them have a file that is cut off or missing.
        server: major version of the server that it came from.
        writer: that of the pg_dump that wrote it; an older pg_restore may not understand it.
        extensions: names of the extensions that it needs.
        files: table, as pg_restore lists it (`schema name owner`) → the file with its rows.
    """

    path: Path
    tables: int
    truncated: int
    server: int
    writer: int
    extensions: tuple[str, ...]
    files: Mapping[str, Path]

    @classmethod
    async def read(cls, path: Path, *, of: str, scratch: Path) -> "Archive":
        """Read the table of contents and look at the end of each file.

        Args:
            path: directory of the dump.
            of: name of the database, for messages.
            scratch: working directory.

        Raises:
            ActionError: it cannot be read.
        """
        finished = await run([newest().path("pg_restore"), "--list", str(path)], environment={}, directory=scratch)
        if finished.code:
            raise ActionError(_unreadable(finished, of))
        entries = [(match["id"], match["label"].strip()) for match in _ENTRY.finditer(finished.output)]
        files = {label: path / f"{number}.dat" for number, label in entries}
        server, writer = _SERVER.search(finished.output), _WRITER.search(finished.output)
        return cls(
            path=path,
            tables=len(entries),
            truncated=sum(not _whole(path / f"{number}.dat") for number, _ in entries),
            server=int(server["version"]) if server else 0,
            writer=int(writer["version"]) if writer else 0,
            extensions=tuple(sorted({match["name"] for match in _EXTENSION.finditer(finished.output)})),
            files=files,
        )

    async def contents(self) -> Contents:
        """Read the file of each table."""
        read = await asyncio.to_thread(lambda: {label: _read(path) for label, path in self.files.items()})
        return Contents(
            rows={label: rows for label, (rows, _) in read.items()},
            digests={label: digest for label, (_, digest) in read.items()},
        )


def write_record(directory: Path, record: Record) -> None:
    """Put the record beside the dump; the same dump always gives the same bytes."""
    (directory / RECORD).write_text(record.model_dump_json(by_alias=True))


def read_record(directory: Path) -> Record:
    """The record beside a dump.

    Raises:
        ActionError: it is not there, or is something else.
    """
    try:
        return Record.model_validate_json((directory / RECORD).read_bytes())
    except (OSError, ValidationError):
        msg = (
            f"the backup has no {RECORD} that can be read, so that nobody knows what should be in it: it was made by "
            "another program or version; make a new backup, then verify that"
        )
        raise ActionError(msg) from None


def last_words(finished: Finished) -> str:
    """What a program of PostgreSQL complained of, without its own name."""
    return re.sub(r"^\w+: (?:error|fatal): ", "", finished.complaint).rstrip(".")


def _unreadable(finished: Finished, database: str) -> str:
    if _NEWER_FORMAT in finished.errors:
        return (
            f"the dump of {database} was written by a newer pg_dump than this image's pg_restore can read "
            f"({last_words(finished)}): use an image with PostgreSQL of that version"
        )
    return f"the dump of {database} cannot be read: {last_words(finished)}: run the backup again"


def _whole(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size < len(_END_OF_DATA):
        return False
    with path.open("rb") as file:
        file.seek(-len(_END_OF_DATA), 2)
        return file.read() == _END_OF_DATA


def _read(path: Path) -> tuple[int, str]:
    """Rows in a file as COPY writes it, one a line and then the end of the data; and the checksum of the file."""
    lines, digest = 0, hashlib.blake2b(digest_size=_DIGEST_BYTES)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            lines += piece.count(b"\n")
            digest.update(piece)
    return max(0, lines - _ENDING_LINES), digest.hexdigest()
