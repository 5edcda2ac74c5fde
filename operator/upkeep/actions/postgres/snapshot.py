"""What a database has counted up to a moment, and how that fits into the few bytes that a task remembers.

Counters only grow until somebody resets them, so two snapshots tell what happened between them. Of many tables and
statements only the largest are remembered. Of the others it is remembered how large they were at most, so that what is
told of them is never too much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final, TypeVar

from upkeep.actions.postgres.counted import answering, extension
from upkeep.actions.postgres.session import Session
from upkeep.actions.postgres.statements import shown
from upkeep.actions.text import readable

_SHOWN_CHARACTERS: Final = 120
_KIBIBYTE: Final = 1024
_BEYOND: Final = 2**63
"""More than any counter of PostgreSQL."""

_DATABASE: Final = """
SELECT (SELECT c.system_identifier FROM pg_control_system() c)::text || '/' || d.oid::text AS identity,
       extract(epoch FROM clock_timestamp())::float8 AS time, pg_database_size(d.oid)::bigint AS size
FROM pg_database d
WHERE d.datname = current_database()
"""
_ACTIVITY: Final = """
SELECT s.xact_commit AS commits, s.xact_rollback AS rollbacks, s.blks_read AS blocks_read, s.blks_hit AS blocks_hit,
       s.temp_files, s.temp_bytes, s.deadlocks,
       (SELECT coalesce(sum(t.seq_scan), 0) FROM pg_stat_user_tables t)::bigint AS table_scans,
       (SELECT coalesce(sum(t.idx_scan), 0) FROM pg_stat_user_tables t)::bigint AS index_scans,
       coalesce(extract(epoch FROM s.stats_reset), 0)::bigint AS reset
FROM pg_stat_database s
WHERE s.datname = current_database()
"""
_CHECKPOINTS: Final = """
SELECT c.timed::bigint AS timed, c.requested::bigint AS requested, c.buffers::bigint AS buffers,
       coalesce(extract(epoch FROM c.since), 0)::bigint AS reset
FROM ({checkpoints}) c
"""
_TABLES: Final = """
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, pg_total_relation_size(c.oid)::bigint AS size
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
ORDER BY size DESC NULLS LAST, c.oid
LIMIT %(limit)s
"""
_STATEMENTS: Final = """
SELECT s.queryid AS id, sum(s.calls)::bigint AS calls, sum(s.total_exec_time)::float8 / 1000 AS seconds,
       sum(s.rows)::bigint AS rows, min(s.query) AS query
FROM {schema}.pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.toplevel AND s.queryid IS NOT NULL
GROUP BY s.queryid
ORDER BY seconds DESC, s.queryid
LIMIT %(limit)s
"""
_COUNTED: Final = """
SELECT coalesce(sum(s.total_exec_time) FILTER (WHERE s.toplevel), 0)::float8 / 1000 AS seconds,
       count(*) FILTER (WHERE s.queryid IS NULL) AS hidden,
       (SELECT extract(epoch FROM i.stats_reset) FROM {schema}.pg_stat_statements_info i)::bigint AS reset
FROM {schema}.pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database()
"""

Counters = TypeVar("Counters", "Activity", "Checkpoints")


@dataclass(frozen=True, slots=True)
class Activity:
    """What the server has counted of a database since `reset`, in seconds since 1970; 0: never reset."""

    commits: int
    rollbacks: int
    blocks_read: int
    blocks_hit: int
    temp_files: int
    temp_bytes: int
    deadlocks: int
    table_scans: int
    index_scans: int
    reset: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoints of the whole server since `reset`, in seconds since 1970."""

    timed: int
    requested: int
    buffers: int
    reset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSize:
    """A table with its indexes and what is stored beside it, in bytes."""

    oid: int
    schema: str
    name: str
    size: int

    @property
    def label(self) -> str:
        """`schema.table`, for people."""
        return readable(f"{self.schema}.{self.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementCount:
    """A statement, whoever executed it: how often, and how many seconds in all."""

    id: int
    calls: int
    seconds: float
    rows: int
    query: str

    @property
    def label(self) -> str:
        """The statement, without the values in it."""
        return shown(self.query, characters=_SHOWN_CHARACTERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What pg_stat_statements has counted in a database since `reset`.

    Attributes:
        worst: those that took most time in all, the first first.
        complete: whether these are all.
        seconds: of all of them.
        hidden: how many of other roles cannot be seen.
        reset: in seconds since 1970.
    """

    worst: Sequence[StatementCount]
    complete: bool
    seconds: float
    hidden: int
    reset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a database has counted up to `time`, in seconds since 1970 by its own clock.

    Attributes:
        identity: of the database, also where another one gets its name or its address.
        size: in bytes.
        tables: the largest, the largest first.
        all_tables: whether these are all.
        statements: None where the extension cannot be asked.
    """

    identity: str
    time: float
    size: int
    activity: Activity
    checkpoints: Checkpoints
    tables: Sequence[TableSize]
    all_tables: bool
    statements: Statements | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is left of a snapshot in the next run.

    Attributes:
        tables: oid → bytes.
        tables_below: how large the other tables were at most.
        statements: id → calls, seconds in all, seconds a call in the interval before; None: nobody could tell.
        statements_below: how many seconds the other statements had taken at most.
        statements_seconds, statements_reset: as of `Statements`.
    """

    identity: str
    time: float
    size: int
    activity: Activity
    checkpoints: Checkpoints
    tables: Mapping[int, int]
    tables_below: int
    statements: Mapping[int, tuple[int, float, float]] | None
    statements_below: float
    statements_seconds: float
    statements_reset: int

    @classmethod
    def read(cls, values: Mapping[str, str]) -> "Remembered | None":
        """What `write` wrote; None where it is something else."""
        try:
            identity, time, size = values["of"].split()
            seconds, below, reset = values.get("counted", "0 0 0").split()
            return cls(
                identity=identity,
                time=_real(time),
                size=_whole(size),
                activity=_numbers(Activity, values["activity"]),
                checkpoints=_numbers(Checkpoints, values["checkpoints"]),
                tables={_whole(oid): _whole(kib) * _KIBIBYTE for oid, kib in _pairs(values["tables"])},
                tables_below=_whole(values["tables_below"]) * _KIBIBYTE,
                statements=dict(map(_statement, values["statements"].split())) if "statements" in values else None,
                statements_seconds=_real(seconds),
                statements_below=_real(below),
                statements_reset=_whole(reset),
            )
        except (KeyError, ValueError):
            return None


def write(snapshot: Snapshot, means: Mapping[int, float]) -> dict[str, str]:
    """What is remembered of a snapshot; `means` are seconds a call in the interval that it ends, by statement."""
    smallest = 0 if snapshot.all_tables or not snapshot.tables else snapshot.tables[-1].size
    values = {
        "of": f"{snapshot.identity} {snapshot.time:.0f} {snapshot.size}",
        "activity": " ".join(map(str, astuple(snapshot.activity))),
        "checkpoints": " ".join(map(str, astuple(snapshot.checkpoints))),
        "tables": " ".join(f"{table.oid}:{table.size // _KIBIBYTE}" for table in snapshot.tables),
        "tables_below": str(smallest // _KIBIBYTE),
    }
    if snapshot.statements is None:
        return values
    counted = snapshot.statements
    below = 0 if counted.complete or not counted.worst else counted.worst[-1].seconds
    return values | {
        "counted": f"{counted.seconds:.3f} {below:.3f} {counted.reset}",
        "statements": " ".join(
            f"{each.id:x}:{each.calls}:{each.seconds:.3f}:{means.get(each.id, 0):.3g}" for each in counted.worst
        ),
    }


async def take(opened: Session, *, most: int) -> Snapshot:
    """A snapshot with so many tables. It has no statements: they are counted apart, where that can be done."""
    from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

    (database,) = await opened.fetch(_Database, _DATABASE)
    (activity,) = await opened.fetch(Activity, _ACTIVITY)
    checkpoints = SQL(_CHECKPOINTS).format(checkpoints=SQL(opened.version.checkpoints))
    (written,) = await opened.fetch(Checkpoints, checkpoints)
    tables = await opened.fetch(TableSize, _TABLES, {"limit": most + 1})
    return Snapshot(
        identity=database.identity,
        time=database.time,
        size=database.size,
        activity=activity,
        checkpoints=written,
        tables=[table for table in tables[:most] if table.size is not None],
        all_tables=len(tables) <= most,
        statements=None,
    )


async def count_statements(opened: Session, *, most: int) -> Statements:
    """The statements that took most time.

    Raises:
        UncheckableError: the extension is missing, not loaded or too old.
    """
    from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

    schema = await extension(opened)
    with answering(opened):
        (counted,) = await opened.fetch(_Counted, SQL(_COUNTED).format(schema=schema))
        worst = await opened.fetch(StatementCount, SQL(_STATEMENTS).format(schema=schema), {"limit": most + 1})
    return Statements(
        worst=worst[:most],
        complete=len(worst) <= most,
        seconds=counted.seconds,
        hidden=counted.hidden,
        reset=counted.reset,
    )


@dataclass(frozen=True, slots=True)
class _Database:
    identity: str
    time: float
    size: int


@dataclass(frozen=True, slots=True)
class _Counted:
    seconds: float
    hidden: int
    reset: int


def _numbers(kind: type[Counters], text: str) -> Counters:
    numbers = [_whole(word) for word in text.split()]
    return kind(**dict(zip((field.name for field in fields(kind)), numbers, strict=True)))


def _pairs(text: str) -> Sequence[Sequence[str]]:
    return [word.split(":") for word in text.split()]


def _statement(word: str) -> tuple[int, tuple[int, float, float]]:
    name, calls, seconds, mean = word.split(":")
    return int(name, 16), (_whole(calls), _real(seconds), _real(mean))


def _whole(word: str) -> int:
    number = int(word)
    if not 0 <= number < _BEYOND:
        msg = f"{word} is nothing that a server counts"
        raise ValueError(msg)
    return number


def _real(word: str) -> float:
    number = float(word)
    if not 0 <= number < _BEYOND:
        msg = f"{word} is nothing that a server counts"
        raise ValueError(msg)
    return number
