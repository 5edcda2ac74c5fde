"""What has happened in a database between a snapshot that is remembered and one of now.

Nothing is told that the counters do not show: where they were reset meanwhile, they tell what happened since then, and
of a table or statement that was not remembered they tell what is sure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final

from upkeep.actions.fields import format_duration
from upkeep.actions.postgres.snapshot import (
    Activity,
    Checkpoints,
    Counters,
    Remembered,
    Snapshot,
    StatementCount,
    Statements,
    TableSize,
)

_MINUTE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A table and by how many bytes it has grown: exactly, or at least so many."""

    table: TableSize
    grown: int
    exact: bool

    @property
    def percent(self) -> float:
        """By how much it has grown; 0 where it was not there, or nobody knows."""
        before = self.table.size - self.grown
        return 100 * self.grown / before if self.exact and before > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a statement took: exactly, or at least so much.

    Attributes:
        calls, seconds: in the interval; no calls where nobody knows how many.
        before: seconds a call in the interval before; 0 where nobody knows.
        new: whether it was not executed before.
    """

    statement: StatementCount
    calls: int
    seconds: float
    exact: bool
    before: float = 0.0
    new: bool = False

    @property
    def mean(self) -> float:
        """Seconds a call; 0 where nobody knows."""
        return self.seconds / self.calls if self.calls else 0.0

    @property
    def lost(self) -> float:
        """How many seconds less it would have taken, had it been as fast as in the interval before."""
        return self.seconds - self.before * self.calls if self.before and self.calls else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What has happened between two snapshots.

    Attributes:
        seconds: between them.
        size_before: of the database, in bytes.
        size: of the database now.
        activity: what was counted meanwhile.
        checkpoints: what was counted meanwhile.
        tables: the largest, the largest first.
        statements: those that took most time meanwhile, the first first; None where nobody can tell.
        statement_seconds: of all statements.
        resets: what was reset meanwhile.
    """

    seconds: float
    size_before: int
    size: int
    activity: Activity
    checkpoints: Checkpoints
    tables: Sequence[Growth]
    statements: Sequence[Spent] | None
    statement_seconds: float
    resets: Sequence[str]

    @property
    def grown(self) -> int:
        """Bytes by which the database has grown; negative where it has shrunk."""
        return self.size - self.size_before

    @property
    def grown_percent(self) -> float:
        """The same, of what it was."""
        return 100 * self.grown / self.size_before if self.size_before else 0.0

    @property
    def interval(self) -> str:
        """The time between the two, for people: `6d23h`."""
        whole = int(self.seconds)
        return format_duration(timedelta(seconds=whole if whole < _MINUTE else whole // _MINUTE * _MINUTE))

    @property
    def blocks(self) -> int:
        """How many blocks were asked for."""
        return self.activity.blocks_hit + self.activity.blocks_read

    @property
    def cache_percent(self) -> float:
        """Share of the blocks that the server had in its memory; 100 where none were asked for."""
        return 100 * self.activity.blocks_hit / self.blocks if self.blocks else 100.0

    @property
    def index_percent(self) -> float:
        """Share of the scans that used an index; 100 without any."""
        scans = self.activity.index_scans + self.activity.table_scans
        return 100 * self.activity.index_scans / scans if scans else 100.0


def compare(before: Remembered, now: Snapshot) -> Change:
    """What has happened since."""
    activity, database_reset = _since(before.activity, now.activity)
    checkpoints, server_reset = _since(before.checkpoints, now.checkpoints)
    spent, total, statements_reset = None, 0.0, False
    if now.statements is not None and before.statements is not None:
        statements_reset = now.statements.reset != before.statements_reset
        spent = sorted(_spent(before, now.statements, reset=statements_reset), key=lambda each: -each.seconds)
        known = sum(each.seconds for each in spent)
        total = max(known, now.statements.seconds - (0.0 if statements_reset else before.statements_seconds))
    resets = {
        "the counters of the database": database_reset,
        "those of checkpoints": server_reset,
        "pg_stat_statements": statements_reset,
    }
    return Change(
        seconds=max(0.0, now.time - before.time),
        size_before=before.size,
        size=now.size,
        activity=activity,
        checkpoints=checkpoints,
        tables=[_growth(before, table) for table in now.tables],
        statements=spent,
        statement_seconds=total,
        resets=[what for what, was_reset in resets.items() if was_reset],
    )


def _since(before: Counters, now: Counters) -> tuple[Counters, bool]:
    """What was counted since, and whether the counters were reset meanwhile; then they tell what came after that."""
    if now.reset != before.reset:
        return now, True
    # A sum over tables also gets less when one of them is dropped.
    grown = {field.name: max(0, getattr(now, field.name) - getattr(before, field.name)) for field in fields(now)}
    return type(now)(**(grown | {"reset": now.reset})), False


def _growth(before: Remembered, table: TableSize) -> Growth:
    known = before.tables.get(table.oid)
    if known is not None:
        return Growth(table=table, grown=table.size - known, exact=True)
    return Growth(table=table, grown=max(0, table.size - before.tables_below), exact=not before.tables_below)


def _spent(before: Remembered, now: Statements, *, reset: bool) -> Iterator[Spent]:
    for each in now.worst:
        known = None if reset or before.statements is None else before.statements.get(each.id)
        below = 0.0 if reset else before.statements_below
        if known and known[0] <= each.calls:
            calls, seconds, mean = known
            if each.calls > calls:
                spent = max(0.0, each.seconds - seconds)
                yield Spent(statement=each, calls=each.calls - calls, seconds=spent, exact=True, before=mean)
        elif known or reset or not below:  # forgotten by the server meanwhile, or counted from zero
            yield Spent(
                statement=each,
                calls=each.calls,
                seconds=each.seconds,
                exact=not known,
                before=known[2] if known else 0.0,
                new=not known and not reset,
            )
        elif each.seconds > below:
            yield Spent(statement=each, calls=0, seconds=each.seconds - below, exact=False)
