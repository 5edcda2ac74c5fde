"""Reports how a database fares and what has changed since the last report, for people who read it once a week.

The counters of PostgreSQL are never reset for it: what they were is remembered from run to run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName
from upkeep.actions.postgres.change import Change, Growth, Spent, compare
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.snapshot import Remembered, Snapshot, count_statements, take, write

_MEBIBYTE: Final = 1024**2
_JUDGED_BLOCKS: Final = 10_000
_JUDGED_CHECKPOINTS: Final = 3
_JUDGED_SECONDS: Final = 1.0
"""A statement is only called slower where that has cost so much in the interval."""
_JUDGED_BYTES: Final = 16 * _MEBIBYTE
"""A database is only called fast growing where it has grown by so much."""
_NAMED: Final = 2
_REMEMBERED: Final = 2
"""Of what is shown, how many times as much is remembered: what comes up from below is then known too."""
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


class PostgresReport(Action):
    """Reports size, largest tables, most expensive statements, cache, temporary files, deadlocks, checkpoints.

    From the second run on it tells what has changed since the last one: growth, statements by the time that they took
    meanwhile, those that became slower. The message has the essence, `metrics` the numbers, the log of the run all of
    it, one line a table and statement. Nothing is reset: the counters of the last run are remembered in the status of
    the task; a database that was replaced starts anew. Without the extension pg_stat_statements it tells nothing of
    statements, and says so. One or two reports fit into the memory of a task.
    Locks: ACCESS SHARE on each table, while its size is read. Privileges: `GRANT pg_read_all_stats TO upkeep`; for
    statements also `CREATE EXTENSION pg_stat_statements` in this database and shared_preload_libraries with it at the
    server. Source of the defaults: 99 percent of blocks from memory are the rule (DigitalOcean, PostgreSQL metrics:
    cache hit ratio), 90 leaves room for reports that read old data; twice the time a call is more than a mood.
    """

    action_name: ClassVar[str] = "postgresReport"
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.report.growth": "the database has grown fast since the last report",
        "postgres.report.slower": "a statement takes much longer a call than in the interval before",
        "postgres.report.cache": "too few blocks were found in the server's memory since the last report",
        "postgres.report.deadlocks": "transactions were cancelled because of deadlocks since the last report",
        "postgres.report.checkpoints": "most checkpoints since the last report came because the WAL was full",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    top: Annotated[int, Field(ge=1, le=10)] = 5
    """How many tables and statements are reported."""
    max_growth_percent: Annotated[float, Field(ge=0, le=100000)] = 20
    """Growth since the last report, in percent, from which on it is a warning; below 16 MiB it never is."""
    slower_factor: Annotated[float, Field(ge=1.1, le=1000)] = 2
    """How many times as long a statement may take a call before it is a warning; only where that cost a second."""
    min_cache_percent: Annotated[float, Field(ge=0, le=100)] = 90
    """Share of blocks from the server's memory, in percent, below which it is a warning; below 10000 blocks never."""

    async def run(self, context: Context) -> Result:
        """Look, compare with what is remembered, and remember.

        Raises:
            ActionError: no connection.
        """
        async with session(context, self.connection) as opened:
            snapshot = await take(opened, most=self.top * _REMEMBERED)
            missing = ""
            try:
                snapshot = replace(snapshot, statements=await count_statements(opened, most=self.top * _REMEMBERED))
            except UncheckableError as error:
                missing = f"nothing is told of statements: {error}"
            database = opened.database
        if snapshot.statements and snapshot.statements.hidden:
            missing = (
                f"{snapshot.statements.hidden} statements of other roles are hidden: GRANT pg_read_all_stats to the "
                "user of the connection"
            )
        before = Remembered.read(context.previous.values) if context.previous else None
        if before is None or before.identity != snapshot.identity:
            return self._first(database, snapshot, missing, replaced=before is not None)
        change = compare(before, snapshot)
        return Result(
            outcome=Outcome.OK,
            message="; ".join([*self._essence(database, change), *([missing] if missing else [])]),
            findings=[*self._findings(database, change)],
            metrics=_metrics(change),
            details=[*_tables(change.tables[: self.top]), *_statements((change.statements or ())[: self.top])],
            memory=write(snapshot, _means(before, change)),
        )

    def _first(self, database: str, snapshot: Snapshot, missing: str, *, replaced: bool) -> Result:
        tables = [Growth(table=table, grown=0, exact=False) for table in snapshot.tables[: self.top]]
        largest = ", ".join(f"{each.table.label} {in_bytes(each.table.size)}" for each in tables[:_NAMED])
        counted = snapshot.statements.worst if snapshot.statements else ()
        spent = [Spent(statement=each, calls=each.calls, seconds=each.seconds, exact=True) for each in counted]
        why = "it is another database than last time" if replaced else "this is the first report"
        parts = [
            f"{database}: {in_bytes(snapshot.size)}" + (f", largest {largest}" if largest else ""),
            f"{why}: changes are told from the next one on",
        ]
        return Result(
            outcome=Outcome.OK,
            message="; ".join([*parts, *([missing] if missing else [])]),
            metrics={"size_bytes": float(snapshot.size)},
            details=[*_tables(tables), *_statements(spent[: self.top])],
            memory=write(snapshot, {each.statement.id: each.mean for each in spent}),
        )

    def _essence(self, database: str, change: Change) -> Iterator[str]:
        """What has changed, in words, the most important first."""
        grown = f"{_signed(change.grown)} ({change.grown_percent:+.1f} %)" if change.grown else "unchanged"
        yield f"{database}: {in_bytes(change.size)}, {grown} in {change.interval}"
        for each in sorted(change.tables, key=lambda each: -abs(each.grown))[:_NAMED]:
            if abs(each.grown) >= _MEBIBYTE:
                yield f"{each.table.label} {'' if each.exact else 'at least '}{_signed(each.grown)}"
        if change.statements is not None:
            yield f"statements took {change.statement_seconds:.1f} s"
        for spent in (change.statements or ())[:1]:
            share = 100 * spent.seconds / change.statement_seconds if change.statement_seconds else 0.0
            yield f"{share:.0f} % of it{' (new)' if spent.new else ''}: {spent.statement.label}"
        for spent in self._slower(change)[:_NAMED]:
            yield f"{spent.mean * 1000:.0f} ms a call instead of {spent.before * 1000:.0f} ms: {spent.statement.label}"
        if change.blocks:
            yield f"{change.cache_percent:.1f} % of blocks from memory"
        if change.activity.temp_files:
            yield f"{change.activity.temp_files} temporary files of {in_bytes(change.activity.temp_bytes)}"
        if change.activity.deadlocks:
            yield f"deadlocks: {change.activity.deadlocks}"
        if change.resets:
            yield f"reset meanwhile, and counted from then: {', '.join(change.resets)}"

    def _slower(self, change: Change) -> Sequence[Spent]:
        found = [
            each
            for each in change.statements or ()
            if each.lost >= _JUDGED_SECONDS and each.mean >= self.slower_factor * each.before
        ]
        return sorted(found, key=lambda each: -each.lost)

    def _findings(self, database: str, change: Change) -> Iterator[Finding]:
        activity, checkpoints = change.activity, change.checkpoints
        if change.grown_percent >= self.max_growth_percent and change.grown >= _JUDGED_BYTES:
            most = max(change.tables, key=lambda each: each.grown, default=None)
            of_it = f"{_signed(most.grown)} of it are {most.table.label}: " if most and most.grown > 0 else ""
            yield _finding(
                "growth",
                database,
                observed=round(change.grown_percent, 1),
                threshold=self.max_growth_percent,
                unit="percent",
                advice=f"{_signed(change.grown)} in {change.interval}: {of_it}see whether old rows can go "
                "(postgresPurge) and whether tables are bloated (postgresBloat)",
            )
        for each in self._slower(change)[: self.top]:
            yield _finding(
                "slower",
                f"query {each.statement.id}",
                observed=round(each.mean, 4),
                threshold=round(self.slower_factor * each.before, 4),
                unit="seconds",
                advice=f"EXPLAIN (ANALYZE, BUFFERS) it: {each.before * 1000:.1f} ms a call before, "
                f"{each.calls} calls since: {each.statement.label}",
            )
        if change.blocks >= _JUDGED_BLOCKS and change.cache_percent < self.min_cache_percent:
            yield _finding(
                "cache",
                database,
                observed=round(change.cache_percent, 1),
                threshold=self.min_cache_percent,
                unit="percent",
                advice="look for statements that read whole tables (postgresMissingIndexes), or raise shared_buffers",
            )
        if activity.deadlocks:
            yield _finding(
                "deadlocks",
                database,
                observed=activity.deadlocks,
                threshold=1,
                unit="",
                advice="the server's log has both statements of each: let transactions lock in the same order",
            )
        if checkpoints.requested >= _JUDGED_CHECKPOINTS and checkpoints.requested > checkpoints.timed:
            yield _finding(
                "checkpoints",
                database,
                observed=checkpoints.requested,
                threshold=checkpoints.timed,
                unit="",
                advice="raise max_wal_size, so that checkpoints come by time and not because the WAL is full",
            )


def in_bytes(size: float) -> str:
    """A number of bytes for people: `512 B`, `12.3 MiB`; also a negative one."""
    unit = 0
    while abs(size) >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"


def _signed(size: float) -> str:
    return f"{'+' if size >= 0 else ''}{in_bytes(size)}"


def _finding(check: str, name: str, *, observed: float, threshold: float, unit: str, advice: str) -> Finding:
    return Finding(
        check_id=f"postgres.report.{check}",
        severity=Severity.WARNING,
        object=name,
        observed=observed,
        threshold=threshold,
        unit=unit,
        recommendation=advice,
    )


def _metrics(change: Change) -> Mapping[str, float]:
    activity = change.activity
    return {
        "size_bytes": float(change.size),
        "grown_bytes": float(change.grown),
        "interval_seconds": round(change.seconds),
        "transactions": float(activity.commits + activity.rollbacks),
        "cache_percent": round(change.cache_percent, 2),
        "index_percent": round(change.index_percent, 2),
        "temp_bytes": float(activity.temp_bytes),
        "deadlocks": float(activity.deadlocks),
        "checkpoints_requested": float(change.checkpoints.requested),
        "checkpoints_timed": float(change.checkpoints.timed),
        "statement_seconds": round(change.statement_seconds, 1),
    }


def _tables(tables: Sequence[Growth]) -> Iterator[Mapping[str, str | float]]:
    for each in tables:
        yield {
            "table": each.table.label,
            "bytes": each.table.size,
            "grown_bytes": each.grown,
            "grown": "exactly" if each.exact else "at least",
        }


def _statements(statements: Sequence[Spent]) -> Iterator[Mapping[str, str | float]]:
    for each in statements:
        yield {
            "query_id": str(each.statement.id),
            "statement": each.statement.label,
            "seconds": round(each.seconds, 3),
            "calls": each.calls,
            "mean_seconds": round(each.mean, 6),
            "mean_seconds_before": round(each.before, 6),
            "counted": "exactly" if each.exact else "at least",
        }


def _means(before: Remembered, change: Change) -> Mapping[int, float]:
    """Seconds a call, of the interval that ends now; of what was not executed in it, of the one before."""
    known = {name: mean for name, (_, _, mean) in (before.statements or {}).items()}
    return known | {each.statement.id: each.mean for each in change.statements or () if each.calls}
