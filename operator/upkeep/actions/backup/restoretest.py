"""Proves that a backup can be restored: brings the newest one back into a throw-away server and asks it questions.

It must never reach the production database, never write to the repository, and never call verified what it has not
seen.
"""

import re
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.archive import DATABASE, GLOBALS, Archive, Record, last_words
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.databases import Jobs, listed
from upkeep.actions.backup.dump import ALWAYS_ALIKE, DIRECTORY
from upkeep.actions.backup.expectation import RestoredQuery
from upkeep.actions.backup.layout import Kept, kept
from upkeep.actions.backup.process import Finished, run
from upkeep.actions.backup.programs import MissingProgramsError, Programs, programs_for
from upkeep.actions.backup.scratch import vacated
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.throwaway import READER, Throwaway, throwaway
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.backup.validation import Seen, ask, compare, count, limit
from upkeep.actions.contract import ActionError, Context, Finding, Severity, UncheckableError
from upkeep.actions.fields import Duration
from upkeep.actions.text import readable, several

_STATEMENT: Final = re.compile(r"""((?:"(?:[^"]|"")*"|'(?:[^']|'')*'|[^;"'])+);""")
_GRANTED_BY: Final = re.compile(r' GRANTED BY (?:"(?:[^"]|"")+"|\S+)$')
"""Who granted something is the throw-away server's own superuser, whatever the source's is called."""
_IN_DATABASE: Final = re.compile(
    r'ALTER ROLE (?:"(?:[^"]|"")+"|\S+) IN DATABASE (?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>\S+)) '
)
_AGAIN: Final = "dumped-again"
_ROLE: Final = re.compile(r'^CREATE ROLE (?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>\S+));$', re.MULTILINE)
_ADVICE: Final[Sequence[tuple[str, type[ActionError], str]]] = (
    ("No space left on device", ActionError, "the scratch volume is full: raise verify.restoreTest.scratchSize"),
    ("collation", UncheckableError, "the image has no such locale: build an image with it"),
    (
        'role "',
        DamagedError,
        "the backup is without roles: let the user of the source read pg_roles, then back up again",
    ),
)
_NO_ADVICE: Final = (DamagedError, "make a new backup at once, then verify that")


class BackupRestoreTest(RestoreTrial):
    """Restores the newest snapshot of a policy into a throw-away PostgreSQL and validates what came back.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupRestoreTest"
    internal: ClassVar[bool] = True

    queries: Annotated[list[RestoredQuery], Field(max_length=32)] = Field(default_factory=list)
    """What is asked of the restored databases."""
    query_timeout: Duration = Field(default="1m", validate_default=True)
    """How long each query may take."""

    database: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Database of which queries are asked that name none."""
    jobs: Jobs = 1
    """How many tables are loaded at a time."""
    full: bool = False
    """True: roles come back with all their rights too, and every row is compared by its checksum."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:
        """Load the dumps into a throw-away server, compare, ask."""
        found, roles = kept(directory / DIRECTORY), directory / DIRECTORY / GLOBALS
        dumps = {name: dump.record for name, dump in found.items()}
        archives = {name: await self._looked_over(context, dump) for name, dump in found.items()}
        async with throwaway(_programs(archives), context.scratch) as server:
            names = _roles(roles)
            await server.prepare(names)
            for name, archive in archives.items():
                await self._load(context, server, dumps[name], archive, owned=bool(names))
            loaded = time.monotonic()
            seen = await self._validate(server, dumps, snapshot)
            if self.full:
                findings = [*seen.findings, *await self._compare(context, server, dumps, roles)]
                seen = replace(seen, findings=findings)
        rows, queries = seen.rows, len(self.queries)
        tables = sum(len(record.rows) for record in dumps.values())
        parts = [several(len(dumps), "database")] if len(dumps) > 1 else []
        parts += [f"{several(tables, 'table')} with {several(rows, 'row')} as they were dumped"]
        parts += [f"{several(tables, 'checksum')} and all roles as they were"] if self.full else []
        parts += [f"{several(queries, 'query', 'queries')} as expected"] if queries else []
        return Examination(
            usable=loaded,
            findings=seen.findings,
            praise=parts,
            metrics={"databases": len(dumps), "tables": tables, "rows": rows, "queries": queries},
        )

    async def _looked_over(self, context: Context, dump: Kept) -> Archive:
        """The dump of one database, of which nothing may be missing."""
        record, name = dump.record, readable(dump.record.database)
        archive = await Archive.read(dump.directory / DATABASE, of=name, scratch=context.scratch)
        if archive.truncated or archive.tables < len(record.rows):
            lost = archive.truncated + max(0, len(record.rows) - archive.tables)
            whole = f"{lost} of {len(record.rows)} tables are cut off or missing"
            msg = f"the dump of {name} is incomplete: {whole}: make a new backup at once"
            raise DamagedError(msg)
        return archive

    async def _load(
        self, context: Context, server: Throwaway, record: Record, archive: Archive, *, owned: bool
    ) -> None:
        """Load the dump of one database into the server; `owned`: the roles that own what is in it are there."""
        await server.make(record.database, encoding=record.encoding)
        await _refuse_missing_extensions(server, archive, record)
        arguments = ["--no-password", "--exit-on-error", "--no-tablespaces", "--no-publications", "--no-subscriptions"]
        arguments += [f"--jobs={self.jobs}", *([] if owned else ["--no-owner", "--no-privileges"])]
        command = [server.programs.path("pg_restore"), *arguments, "--dbname", _conninfo(record.database)]
        finished = await run(
            [*command, str(archive.path)],
            environment=server.environment,
            directory=context.scratch,
        )
        if finished.code:
            raise _refused(finished, readable(record.database))

    async def _validate(self, server: Throwaway, dumps: Mapping[str, Record], snapshot: Stored) -> Seen:
        rows, findings = 0, list[Finding]()
        for name, record in dumps.items():
            async with server.connected(name) as connection:
                seen = await count(connection, record)
            rows += seen.rows
            findings += _located(seen.findings, name, dumps)
        answers = [await self._ask(server, dumps, query, snapshot) for query in self.queries]
        return Seen(rows=rows, findings=[*findings, *(finding for finding in answers if finding is not None)])

    async def _ask(
        self, server: Throwaway, dumps: Mapping[str, Record], query: RestoredQuery, snapshot: Stored
    ) -> Finding | None:
        alone = next(iter(dumps)) if len(dumps) == 1 else None
        name = query.database or alone or self.database
        if name is None or name not in dumps:
            return query.broken(f"the backup has no database {name!r}, only {listed(dumps)}: correct its `database`")
        async with server.connected(name, user=READER) as connection:
            await limit(connection, self.query_timeout)
            return await ask(connection, query, snapshot.time)

    async def _compare(
        self, context: Context, server: Throwaway, dumps: Mapping[str, Record], roles: Path
    ) -> Sequence[Finding]:
        """Bring the rights of roles back, and compare every row of every database.

        Raises:
            UncheckableError: the backup is of a version that wrote no checksums down.
        """
        for name, record in dumps.items():
            if not record.digests and record.rows:
                msg = (
                    f"the backup of {readable(name)} has no checksums, because an older version made it: make a new "
                    "one, then verify that"
                )
                raise UncheckableError(msg)
        refused = await server.apply(_statements(roles, dumps))
        subject = next(iter(dumps)) if len(dumps) == 1 else self.policy
        findings = [_unlike(subject, each) for each in refused]
        for name, record in dumps.items():
            findings += _located(await self._differences(context, server, record), name, dumps)
        return findings

    async def _differences(self, context: Context, server: Throwaway, record: Record) -> Sequence[Finding]:
        with vacated(context.scratch / _AGAIN) as again:
            arguments = ["--format=directory", "--compress=0", "--data-only", "--no-password", f"--file={again}"]
            finished = await run(
                [
                    server.programs.path("pg_dump"),
                    *arguments,
                    f"--jobs={self.jobs}",
                    f"--dbname={_conninfo(record.database)}",
                ],
                environment={**server.environment, **ALWAYS_ALIKE},
                directory=context.scratch,
            )
            if finished.code:
                msg = (
                    f"what was restored cannot be dumped again: {last_words(finished)}: raise scratchSize if it is full"
                )
                raise ActionError(msg)
            dumped = await (await Archive.read(again, of=readable(record.database), scratch=context.scratch)).contents()
        async with server.connected(record.database) as connection:
            return await compare(connection, record, dumped.digests)


def _located(findings: Iterable[Finding], database: str, dumps: Mapping[str, Record]) -> Sequence[Finding]:
    """The findings with the name of the database at their tables, where there are several."""
    if len(dumps) == 1:
        return list(findings)
    return [replace(each, object=f"{readable(database)}: {each.object}") for each in findings]


def _programs(archives: Mapping[str, Archive]) -> Programs:
    """Those of a server that can take all the dumps."""
    name, archive = max(archives.items(), key=lambda each: max(each[1].server, each[1].writer))
    try:
        return programs_for(max(archive.server, archive.writer))
    except MissingProgramsError as error:
        msg = f"the dump of {readable(name)} is of PostgreSQL {archive.server} and cannot be restored here: {error}"
        raise MissingProgramsError(msg) from error


def _unlike(database: str, complaint: str) -> Finding:
    return Finding(
        check_id="backup.restore.globals",
        severity=Severity.CRITICAL,
        object=database,
        observed=0,
        threshold=1,
        unit="",
        recommendation=f"a role cannot be brought back as it was: {complaint}: mend it at the source, then back it up",
    )


def _statements(path: Path, databases: Container[str]) -> list[str]:
    """The statements that give roles their rights; none where the backup is without them.

    None about tablespaces, and of the settings in single databases only those in the ones that were dumped.
    """
    try:
        text = path.read_text()
    except OSError:
        return []
    lines = (line for line in text.splitlines(keepends=True) if not line.startswith(("--", "\\")))
    found = (match[1].strip() for match in _STATEMENT.finditer("".join(lines)))
    return [
        _GRANTED_BY.sub("", each)
        for each in found
        if each and not each.startswith("CREATE ROLE ") and "TABLESPACE" not in each and _at_home(each, databases)
    ]


def _at_home(statement: str, databases: Container[str]) -> bool:
    """Whether it is about all databases, or about one of these."""
    match = _IN_DATABASE.match(statement)
    return match is None or (match["plain"] or match["quoted"].replace('""', '"')) in databases


async def _refuse_missing_extensions(server: Throwaway, archive: Archive, record: Record) -> None:
    async with server.connected(record.database) as connection:
        rows = await (await connection.execute("SELECT name FROM pg_catalog.pg_available_extensions")).fetchall()
    missing = sorted(set(archive.extensions) - {row[0] for row in rows})
    if missing:
        msg = (
            f"the database {readable(record.database)} needs extensions that this image does not have: "
            f"{', '.join(missing)}: build an image with them, or its backups cannot be verified"
        )
        raise UncheckableError(msg)


def _refused(finished: Finished, database: str) -> ActionError:
    known = ((kind, advice) for words, kind, advice in _ADVICE if words in finished.errors)
    kind, advice = next(known, _NO_ADVICE)
    return kind(f"pg_restore of {database} failed: {last_words(finished)}: {advice}")


def _roles(path: Path) -> list[str]:
    """Names of the roles that were dumped; none where the backup is without them."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [match["plain"] or match["quoted"].replace('""', '"') for match in _ROLE.finditer(text)]


def _conninfo(database: str) -> str:
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - a driver is loaded only when an action runs

    return make_conninfo(dbname=database)
