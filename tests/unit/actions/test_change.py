"""What happened between two snapshots: exactly what the counters show, and never more."""

from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.postgres.change import Change, compare
from upkeep.actions.postgres.report import in_bytes
from upkeep.actions.postgres.snapshot import (
    Activity,
    Checkpoints,
    Remembered,
    Snapshot,
    StatementCount,
    Statements,
    TableSize,
    write,
)

KIB = 1024
IDLE = Activity(
    commits=5, rollbacks=1, blocks_read=10, blocks_hit=90, temp_files=0, temp_bytes=0, deadlocks=0, table_scans=3,
    index_scans=4, reset=100,
)  # fmt: skip
activities = st.builds(Activity, **{field.name: st.integers(0, 2**62) for field in fields(Activity)})


def table(oid: int, kib: int) -> TableSize:
    return TableSize(oid=oid, schema="public", name=f"t{oid}", size=kib * KIB)


def statement(number: int, calls: int, seconds: float) -> StatementCount:
    return StatementCount(id=number, calls=calls, seconds=seconds, rows=calls, query=f"SELECT {number}")


def statements(*worst: StatementCount, complete: bool = True, reset: int = 7, more: float = 0.0) -> Statements:
    seconds = sum(each.seconds for each in worst) + more
    return Statements(worst=worst, complete=complete, seconds=seconds, hidden=0, reset=reset)


def snapshot(
    *tables: TableSize, counted: Statements | None = None, time: float = 1000, activity: Activity = IDLE
) -> Snapshot:
    return Snapshot(
        identity="1/2",
        time=time,
        size=sum(each.size for each in tables),
        activity=activity,
        checkpoints=Checkpoints(timed=3, requested=1, buffers=9, reset=50),
        tables=tables,
        all_tables=True,
        statements=counted,
    )


def change(before: Snapshot, after: Snapshot, means: dict[int, float] | None = None) -> Change:
    remembered = Remembered.read(write(before, means or {}))
    assert remembered is not None
    return compare(remembered, after)


def spent(found: Change) -> Sequence[tuple[int, int, float, bool]]:
    return [(each.statement.id, each.calls, round(each.seconds, 3), each.exact) for each in found.statements or ()]


def test_a_table_is_told_with_its_growth_and_a_new_one_with_all_of_it() -> None:
    found = change(snapshot(table(1, 800), table(2, 80)), snapshot(table(1, 900), table(3, 100), table(2, 40)))

    assert [(each.table.oid, each.grown // KIB, each.exact) for each in found.tables] == [
        (1, 100, True), (3, 100, True), (2, -40, True),
    ]  # fmt: skip
    assert (found.grown, round(found.grown_percent)) == (160 * KIB, 18)
    assert round(found.tables[0].percent, 1) == 12.5


def test_of_a_table_from_below_it_is_told_what_is_sure() -> None:
    before = replace(snapshot(table(1, 800), table(2, 80)), all_tables=False)

    found = change(before, snapshot(table(1, 800), table(3, 500)))

    assert [(each.table.oid, each.grown // KIB, each.exact) for each in found.tables] == [(1, 0, True), (3, 420, False)]


def test_statements_count_from_the_last_time() -> None:
    before = snapshot(counted=statements(statement(1, 100, 50.0), statement(2, 10, 20.0)))
    after = snapshot(counted=statements(statement(1, 110, 51.0), statement(2, 12, 26.0), statement(3, 1, 2.0)))

    found = change(before, after, {1: 0.5, 2: 2.0})

    assert spent(found) == [(2, 2, 6.0, True), (3, 1, 2.0, True), (1, 10, 1.0, True)]
    assert round(found.statement_seconds, 3) == 9.0
    slower = (found.statements or ())[0]
    assert (slower.mean, slower.before, slower.lost) == (3.0, 2.0, 2.0)
    assert [each.new for each in found.statements or ()] == [False, True, False]


def test_what_was_not_executed_since_is_left_out() -> None:
    counted = statements(statement(1, 100, 50.0))

    assert spent(change(snapshot(counted=counted), snapshot(counted=counted))) == []


def test_of_a_statement_from_below_it_is_told_what_is_sure() -> None:
    before = snapshot(counted=statements(statement(1, 100, 50.0), statement(2, 10, 20.0), complete=False, more=30.0))
    after = snapshot(counted=statements(statement(1, 100, 50.0), statement(3, 900, 28.0), complete=False, more=30.0))

    found = change(before, after)

    assert spent(found) == [(3, 0, 8.0, False)]
    assert found.statement_seconds == 8.0


def test_a_statement_that_the_server_had_forgotten_counts_from_then() -> None:
    before = snapshot(counted=statements(statement(1, 100, 50.0)))

    assert spent(change(before, snapshot(counted=statements(statement(1, 2, 3.0))))) == [(1, 2, 3.0, False)]


def test_after_a_reset_all_counts_from_then() -> None:
    before = snapshot(counted=statements(statement(1, 100, 50.0), statement(2, 10, 20.0), complete=False))
    busy = replace(IDLE, commits=2, reset=200)
    after = snapshot(counted=statements(statement(2, 12, 1.0), reset=8), activity=busy)

    found = change(before, after)

    assert spent(found) == [(2, 12, 1.0, True)]
    assert (found.activity.commits, found.checkpoints.requested) == (2, 0)
    assert found.resets == ["the counters of the database", "pg_stat_statements"]


def test_without_statements_on_either_side_nobody_can_tell() -> None:
    counted = snapshot(counted=statements(statement(1, 1, 1.0)))

    assert change(snapshot(), counted).statements is None
    assert change(counted, snapshot()).statements is None


def test_an_empty_interval_divides_by_nothing() -> None:
    found = change(snapshot(), snapshot(time=900))

    assert (found.seconds, found.interval, found.grown_percent) == (0.0, "0s", 0.0)
    assert (found.cache_percent, found.index_percent) == (100.0, 100.0)


@given(before=activities, after=activities)
def test_what_happened_is_never_less_than_nothing(before: Activity, after: Activity) -> None:
    found = change(snapshot(activity=before), snapshot(activity=after))

    assert all(getattr(found.activity, name) >= 0 for name in Activity.__slots__)


@given(st.dictionaries(st.sampled_from(sorted(write(snapshot(counted=statements()), {}))), st.text(max_size=30)))
def test_what_somebody_wrote_into_the_memory_is_read_or_left(spoilt: dict[str, str]) -> None:
    good = write(snapshot(table(1, 8), counted=statements(statement(-5, 1, 1.0))), {-5: 1.0})

    remembered = Remembered.read(good | spoilt)

    if remembered is not None:
        assert compare(remembered, snapshot(table(1, 9))).seconds >= 0


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (1023, "1023 B"), (-1536, "-1.5 KiB"), (2**30, "1.0 GiB"), (2**60, "1048576.0 TiB")]
)
def test_sizes_are_for_people(size: int, words: str) -> None:
    assert in_bytes(size) == words
