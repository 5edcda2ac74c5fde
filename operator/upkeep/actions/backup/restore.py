"""Brings a backup back into a server that is used: into a new database beside, which takes over only when it is proven.

It must never touch a database in service before what replaces it is whole, never replace one that was not named twice,
and never call restored what is not as it was dumped.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.archive import DATABASE, Archive, Record, last_words
from upkeep.actions.backup.chain import PHYSICAL
from upkeep.actions.backup.choice import REMEDY, Restoring, age_of, facts_of, when
from upkeep.actions.backup.damage import DamagedError, damage_finding
from upkeep.actions.backup.dump import DIRECTORY
from upkeep.actions.backup.expectation import ValidationQuery
from upkeep.actions.backup.layout import Kept, kept, meant
from upkeep.actions.backup.libpq import libpq
from upkeep.actions.backup.process import run
from upkeep.actions.backup.programs import programs_for
from upkeep.actions.backup.replacement import Replacement, replacement
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import vacated
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import AGE_SECONDS, RESTORE_SECONDS, unlike
from upkeep.actions.backup.validation import Seen, ask, count, limit
from upkeep.actions.connections import PostgresTarget
from upkeep.actions.contract import ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName, format_duration
from upkeep.actions.postgres.session import Session, demand_primary, session
from upkeep.actions.text import several

_LOGGER: Final = logging.getLogger(__name__)
_FILES: Final = "restored"
_ELSEWHERE: Final = ("postgres", "template1")
"""Databases that every server has; one cannot be renamed while connected to it."""
_UNTOUCHED: Final = "the database in service is as it was"
_QUERY_TIME: Final = timedelta(minutes=5)
_CLEAN_UP_SECONDS: Final = 10.0
_ADVICE: Final = (
    ("No space left on device", "the volume of the server is full: enlarge it"),
    (
        "must be able to SET ROLE",
        _OWNERS := "use a superuser, make the user a member of that role, or set owners: false",
    ),
    ("must be member of role", _OWNERS),
    ('role "', "create it first (its definition is in globals.sql of the backup), or set owners: false"),
    ("permission denied to create extension", "use a superuser, which this extension needs"),
    ("permission denied", "the user may not create all that is in the backup: use the owner of the database"),
    ("must be superuser", "what is in the backup can only be restored by a superuser"),
    ("collation", "the server has no such locale: install it"),
)
_HAS_SOMETHING: Final = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema')
"""


class BackupRestore(Restoring):
    """Restores a backup of a BackupPolicy into a PostgreSQL database, and proves that it is as it was dumped.

    It is loaded into a new database beside, compared with what was dumped, asked the queries, and then renamed in one
    transaction with the old, whose sessions are ended for that. Until then the old one stays in service, also where
    the restore fails or is killed. A database that is not there is created. Roles are not restored: create them first.
    Publications come back, subscriptions and tablespaces do not. What it finds when it compares and asks is named as in
    a restore test.
    Locks: none until the rename, which locks the database for a moment. Privileges: superuser; without extensions that
    need one, CREATEDB, owner of the database that is replaced, member of the roles that own what is in it, and
    `GRANT pg_signal_backend TO upkeep`.
    """

    action_name: ClassVar[str] = "backupRestore"
    finds: ClassVar[Mapping[str, str]] = {
        "backup.restore": "the repository or the dump is damaged; nothing was replaced",
        "backup.restore.property": "something of the old database could not be given to the new one",
    }

    connection: LabelName
    """Name of a PostgreSQL connection: the server, and the database unless `database` says another."""
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Database to restore into. Left out: that of the connection."""
    source_database: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Database of the backup, where that has several. Left out: the one with that name, or with the connection's."""
    confirm: Annotated[str, Field(max_length=63)] | None = None
    """Name of the database once more: without it, one that has anything in it is not replaced."""
    keep_old: bool = True
    """The database that was replaced stays as `<name>_before_<date>_<time>`. False: it is dropped."""
    owners: bool = True
    """Owners and privileges are restored too. False: all belongs to the user of the connection."""
    queries: Annotated[list[ValidationQuery], Field(max_length=32)] = Field(default_factory=list)
    """What the restored database must answer before it takes over; asked as the user of the connection."""

    async def run(self, context: Context) -> Result:
        """Fetch, load beside, compare, ask, take over. What is not as it was dumped is a failed result with findings.

        Raises:
            ActionError: it could not be restored; the database in service is as it was.
        """
        origin = context.origin(self.policy)
        connected = context.target(self.connection, PostgresTarget).database
        name = self.database or connected
        reading = replace(context, credentials=context.credentials / origin.credentials)
        restic = Restic.of(origin.repository, reading, only_reads=True)
        try:
            place = await self._elsewhere(context, name)
            async with session(place, self.connection) as opened:
                demand_primary(opened, "a restore")
                await self._demand_consent(context, opened, name)
                plan = await replacement(opened, name)
                snapshot = await self.chosen(restic, origin)
                course = _Course(step=self, place=place, plan=plan, alike=frozenset({name, connected}))
                return await self._restored(course, restic, snapshot)
        except DamagedError as error:
            finding = damage_finding(check_id="backup.restore", what=self.policy, remedy=REMEDY)
            return Result(outcome=Outcome.FAILED, message=f"{error}: {_UNTOUCHED}", findings=[finding])
        except UncheckableError as error:
            raise ActionError(str(error)) from error

    async def _elsewhere(self, context: Context, name: str) -> Context:
        """The context for sessions at another database of the server than the one that gets a new name.

        Raises:
            ActionError: there is no connection to any.
        """
        target = context.target(self.connection, PostgresTarget)
        places = [each for each in dict.fromkeys((target.database, *_ELSEWHERE)) if each != name]
        for database in places:
            place = _at(context, self.connection, database)
            try:
                async with session(place, self.connection):
                    return place
            except ActionError as error:
                if database == places[-1] or 'database "' not in str(error):
                    raise
        raise AssertionError(places)

    async def _demand_consent(self, context: Context, opened: Session, name: str) -> None:
        """Refuse to replace what was not confirmed.

        Raises:
            ActionError: something is in the database, and `confirm` does not name it.
        """
        if self.confirm == name:
            return
        where = f"database {name!r} on PostgreSQL {opened.server}"
        if self.confirm is not None:
            msg = f"confirm names {self.confirm!r}, but what is to be replaced is {where}: correct one of them"
            raise ActionError(msg)
        known = "SELECT FROM pg_catalog.pg_database WHERE datname = %s"
        if await (await opened.connection.execute(known, (name,))).fetchone() is None:
            return
        async with session(_at(context, self.connection, name), self.connection) as there:
            row = await (await there.connection.execute(_HAS_SOMETHING)).fetchone()
        if row and row[0]:
            msg = f"{where} is not empty: to replace it set `confirm: {name}`, or name another one in `database`"
            raise ActionError(msg)

    async def _restored(self, course: "_Course", restic: Restic, snapshot: Stored) -> Result:
        if PHYSICAL in snapshot.tags:
            msg = (
                f"snapshot {snapshot.name} has the files of a whole server (method Physical), which replace no "
                "database of another: bring them back by hand (docs/guides/physical-backups.md)"
            )
            raise ActionError(msg)
        with vacated(course.place.scratch / _FILES) as files:
            await restic.restore(snapshot, files)
            course.passed("fetch_seconds")
            return await course.follow(files / DIRECTORY, snapshot)


@dataclass(slots=True, kw_only=True)
class _Course:
    """A restore on its way.

    Attributes:
        step: what was asked for.
        place: the context for sessions at another database.
        plan: what is to take over.
        alike: the names by one of which the database of the backup goes, where it is not said.
        metrics: seconds of each part.
    """

    step: BackupRestore
    place: Context
    plan: Replacement
    alike: frozenset[str]
    begun: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)
    metrics: dict[str, float] = field(default_factory=dict)

    def passed(self, part: str) -> None:
        """Take down how long a part took."""
        now = time.monotonic()
        self.metrics[part] = round(now - self.last, 3)
        self.last = now

    async def follow(self, directory: Path, snapshot: Stored) -> Result:
        """From the files of the backup to a database in service; or to the one in service as it was."""
        wanted, of = self.step.source_database, f"snapshot {snapshot.name}"
        dump = meant(kept(directory), wanted=wanted, alike=self.alike, of=of)
        record, archive = dump.record, await self._looked_over(dump)
        swapped = False
        try:
            await self.plan.make(record.encoding)
            await self._load(archive, record)
            self.passed("load_seconds")
            seen = await self._validate(record, snapshot)
            self.passed("validate_seconds")
            if seen.findings:
                return self._unproven(snapshot, seen)
            old = await self._take_over()
            swapped = True
            self.passed("swap_seconds")
        finally:
            await self._clear(everything=swapped)
        return self._told(snapshot, record, seen, old)

    async def _looked_over(self, dump: Kept) -> Archive:
        """The dump, of which nothing may be missing, and which the server has to be able to take."""
        record = dump.record
        archive = await Archive.read(dump.directory / DATABASE, of=record.database, scratch=self.place.scratch)
        lost = archive.truncated + max(0, len(record.rows) - archive.tables)
        if lost:
            msg = (
                f"the dump of {record.database} is incomplete: {lost} of {len(record.rows)} tables are cut off or "
                "missing: choose an older snapshot"
            )
            raise DamagedError(msg)
        server = self.plan.opened.version.major
        if archive.server > server:
            msg = (
                f"the backup is of PostgreSQL {archive.server}, but {self.plan.opened.server} is version {server}: "
                "restore it into a server of the same version or a newer one"
            )
            raise ActionError(msg)
        rows = await self.plan.opened.connection.execute("SELECT name FROM pg_catalog.pg_available_extensions")
        missing = sorted(set(archive.extensions) - {row[0] for row in await rows.fetchall()})
        if missing:
            msg = (
                f"the backup needs extensions that PostgreSQL {self.plan.opened.server} does not have: "
                f"{', '.join(missing)}: install their packages there"
            )
            raise ActionError(msg)
        return archive

    async def _load(self, archive: Archive, record: Record) -> None:
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - a driver is loaded only when an action runs

        arguments = ["--exit-on-error", "--no-tablespaces", "--no-subscriptions", "--no-password"]
        arguments += [] if self.step.owners else ["--no-owner", "--no-privileges"]
        beside = make_conninfo(dbname=self.plan.beside)
        with libpq(self.place, self.step.connection) as environment:
            program = programs_for(archive.writer).path("pg_restore")
            command = [program, *arguments, "--dbname", beside, str(archive.path)]
            finished = await run(command, environment=environment, directory=self.place.scratch)
        if finished.code:
            what = f"pg_restore of {record.database} failed: {last_words(finished)}"
            advice = next((advice for words, advice in _ADVICE if words in finished.errors), "look at the server's log")
            msg = f"{what}: {advice}; {_UNTOUCHED}"
            raise ActionError(msg)

    async def _validate(self, record: Record, snapshot: Stored) -> Seen:
        """Compare and ask; and let the server gather its statistics, without which its first queries are slow."""
        there = _at(self.place, self.step.connection, self.plan.beside)
        async with session(there, self.step.connection) as opened:
            seen = await count(opened.connection, record)
            await opened.connection.execute("ANALYZE")
            await limit(opened.connection, _QUERY_TIME)
            answers = [await ask(opened.connection, query, snapshot.time) for query in self.step.queries]
        return Seen(rows=seen.rows, findings=[*seen.findings, *(each for each in answers if each is not None)])

    async def _take_over(self) -> str:
        async with session(self.place, self.step.connection) as doorman:
            return await self.plan.take_over(keep_old=self.step.keep_old, doorman=doorman)

    async def _clear(self, *, everything: bool) -> None:
        """Remove what is of no use any more. Where that fails, the next restore does it."""
        try:
            async with asyncio.timeout(None if everything else _CLEAN_UP_SECONDS):
                async with session(self.place, self.step.connection) as opened:
                    await replace(self.plan, opened=opened).clear()
        except (ActionError, TimeoutError) as error:
            _LOGGER.warning("What a restore has left is removed by the next one: %s", error)

    def _unproven(self, snapshot: Stored, seen: Seen) -> Result:
        message = f"{unlike(snapshot, seen.findings)}; {_UNTOUCHED}"
        return Result(outcome=Outcome.FAILED, message=message, findings=seen.findings, metrics=self.metrics)

    def _told(self, snapshot: Stored, record: Record, seen: Seen, old: str) -> Result:
        seconds = time.monotonic() - self.begun
        age = age_of(snapshot)
        tables = len(record.rows)
        what = f"snapshot {snapshot.name} of {when(snapshot)} ({format_duration(timedelta(seconds=age))} old)"
        parts = [
            f"{what} restored into {self.plan.name!r} on PostgreSQL {self.plan.opened.server} in {seconds:.1f}s",
            f"{several(tables, 'table')} with {several(seen.rows, 'row')} as dumped",
        ]
        if self.step.queries:
            number = len(self.step.queries)
            parts.append(f"{several(number, 'query', 'queries')} as expected")
        kept = old if self.step.keep_old else ""
        if kept:
            parts.append(f"the old database is {kept!r}: drop it when you do not need it any more")
        return Result(
            outcome=Outcome.CHANGED,
            message=", ".join(parts),
            findings=[self._uncarried(each) for each in self.plan.uncarried],
            metrics={
                RESTORE_SECONDS: round(seconds, 3),
                AGE_SECONDS: round(age, 1),
                "tables": tables,
                "rows": seen.rows,
                **self.metrics,
            },
            facts={**facts_of(snapshot), "kept": kept},
        )

    def _uncarried(self, what: str) -> Finding:
        return Finding(
            check_id="backup.restore.property",
            severity=Severity.WARNING,
            object=self.plan.name,
            observed=0,
            threshold=1,
            unit="",
            recommendation=f"the old database had this, the new one has it not ({what}): set it by hand",
        )


def _at(context: Context, name: str, database: str) -> Context:
    """The context with a connection that leads to another database of its server."""
    target = context.target(name, PostgresTarget).model_copy(update={"database": database})
    changed = context.connections[name].model_copy(update={"postgres": target})
    return replace(context, connections={**context.connections, name: changed})
