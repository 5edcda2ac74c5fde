"""Tells whether write-ahead log gets into its archive, and how much of it is kept on the server.

A failure long ago is no fault; one since the last success is. What waits, and since when, is what counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.thresholds import passed, seconds_in_words
from upkeep.actions.thresholds import Graded

_MEBIBYTE: Final = 1024 * 1024
_INSUFFICIENT_PRIVILEGE: Final = "42501"

_ARCHIVER: Final = """
SELECT current_setting('archive_mode') AS mode,
       a.archived_count AS archived, a.failed_count AS failed, coalesce(a.last_failed_wal, '') AS last_failed,
       a.last_failed_time IS NOT NULL
         AND (a.last_archived_time IS NULL OR a.last_failed_time > a.last_archived_time) AS failing
FROM pg_stat_archiver a
"""
_FILES: Final = """
SELECT count(*) AS waiting,
       coalesce(extract(epoch FROM clock_timestamp() - min(f.modification)), 0)::float8 AS seconds,
       (SELECT coalesce(sum(w.size), 0) FROM pg_ls_waldir() w)::bigint AS bytes
FROM pg_ls_archive_statusdir() f
WHERE f.name LIKE '%.ready'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Archiver:
    mode: str
    archived: int
    failed: int
    last_failed: str
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Segments that wait for the archive, since when the oldest does, and all that is on the server."""

    waiting: int
    seconds: float
    bytes: int


class PostgresWalArchive(Action, Graded):
    """Reports write-ahead log that waits for its archive or fails to get there, and too much of it on the server.

    Locks: none. Privileges: `GRANT pg_monitor TO upkeep`, without which the step is unknown. Source of the
    defaults: what waits is lost with the server's disk, and a quarter of an hour is what many agree to lose; 10 GiB
    are ten times the default of max_wal_size, beyond which old segments are normally removed or used again.
    """

    action_name: ClassVar[str] = "postgresWalArchive"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.wal-archive.off": "nothing is archived",
        "postgres.wal-archive.failing": "archiving fails",
        "postgres.wal-archive.waiting": "segments wait for long",
        "postgres.wal-archive.size": "much write-ahead log on the server",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    warning_after: Duration = Field(default="15m", validate_default=True)
    """How long a segment waits for the archive when it becomes a warning."""
    critical_after: Duration = Field(default="1h", validate_default=True)
    """How long a segment waits for the archive when it becomes critical."""
    max_wal_mebibytes: Annotated[int, Field(ge=1, le=1_073_741_824)] = 10_240
    """How much write-ahead log may be on the server, in MiB; more is a warning."""

    async def run(self, context: Context) -> Result:
        """Look once.

        Raises:
            ActionError: no connection.
            UncheckableError: the directories of the log may not be looked at.
        """
        async with session(context, self.connection) as opened:
            archiver = (await opened.fetch(_Archiver, _ARCHIVER))[0]
            files = await _files(opened)
        archives = archiver.mode == "always" or (archiver.mode == "on" and not opened.standby)
        waits = passed(files.seconds, warning=self.warning_after, critical=self.critical_after)
        findings = [self._too_much(files, opened)] if files.bytes > self.max_wal_mebibytes * _MEBIBYTE else []
        if archiver.mode == "off":
            advice = "set archive_mode = on: without an archive no state between two backups can be restored"
            findings.append(_finding("off", opened, Severity.WARNING, advice))
        elif archives and archiver.failing:
            severity = waits.severity if waits else Severity.WARNING
            advice = f"archiving {archiver.last_failed} failed: look into the server's log and at archive_command"
            findings.append(_finding("failing", opened, severity, advice, observed=files.seconds, waiting=True))
        elif archives and waits:
            advice = f"{files.waiting} segments wait: the archiver is too slow or stuck"
            findings.append(_finding("waiting", opened, waits.severity, advice, observed=files.seconds, waiting=True))
        state = f"{archiver.archived} archived, {files.waiting} wait" if archives else "nothing is archived here"
        since = f", the oldest for {seconds_in_words(files.seconds)}" if files.waiting else ""
        return Result(
            outcome=Outcome.OK,
            message=f"archive_mode is {archiver.mode}: {state}{since}; {files.bytes / _MEBIBYTE:.0f} MiB on the server",
            findings=findings,
            metrics={
                "archived_segments": archiver.archived,
                "failed_attempts": archiver.failed,
                "waiting_segments": files.waiting,
                "oldest_waiting_seconds": round(files.seconds, 1),
                "wal_bytes": files.bytes,
            },
        )

    def _too_much(self, files: _Files, opened: Session) -> Finding:
        return Finding(
            check_id="postgres.wal-archive.size",
            severity=Severity.WARNING,
            object=opened.server,
            observed=files.bytes,
            threshold=self.max_wal_mebibytes * _MEBIBYTE,
            unit="bytes",
            recommendation="look for replication slots that nobody reads, a failing archive, and wal_keep_size",
        )


async def _files(opened: Session) -> _Files:
    import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

    try:
        return (await opened.fetch(_Files, _FILES))[0]
    except psycopg.Error as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        msg = f"PostgreSQL {opened.server} hides its write-ahead log: GRANT pg_monitor to the user of the connection"
        raise UncheckableError(msg) from error


def _finding(
    what: str, opened: Session, severity: Severity, advice: str, *, observed: float = 1, waiting: bool = False
) -> Finding:
    return Finding(
        check_id=f"postgres.wal-archive.{what}",
        severity=severity,
        object=opened.server,
        observed=round(observed, 1),
        threshold=0 if waiting else 1,
        unit="seconds" if waiting else "",
        recommendation=advice,
    )
