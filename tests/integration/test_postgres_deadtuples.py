"""Dead rows are reported where autovacuum does not keep up, and a lost counter is never taken for zero."""

import pytest

from integration.bench import Bench
from integration.postgres import Database
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.deadtuples import PostgresDeadTuples


def fill(database: Database, *, dead_of_ten: int, rows: int = 20000) -> None:
    """The table `orders` in which so many of ten rows are dead."""
    database.as_owner("CREATE TABLE orders (id int)")
    with database.session(user="upkeep") as connection:
        connection.execute("INSERT INTO orders SELECT generate_series(1, %s::int)", [rows])
        connection.execute("DELETE FROM orders WHERE id %% 10 < %s", [dead_of_ten])


@pytest.mark.parametrize(
    ("dead_of_ten", "severity", "threshold"), [(1, Severity.WARNING, 0.1), (5, Severity.CRITICAL, 0.2)]
)
async def test_many_dead_rows_are_a_finding(
    database: Database, bench: Bench, dead_of_ten: int, severity: Severity, threshold: float
) -> None:
    # given a table with dead rows that was never vacuumed
    fill(database, dead_of_ten=dead_of_ten)
    bench.connect_postgres(database.server, database=database.name)
    # when it is checked
    report = await bench.report(PostgresDeadTuples(connection="db"))
    # then the finding has the share, the threshold and when it was last cleaned
    assert report.outcome is Outcome.OK
    (finding,) = report.findings
    assert (finding.check_id, finding.object, finding.severity) == ("postgres.dead-tuples", "public.orders", severity)
    assert (finding.observed, finding.threshold, finding.unit) == (dead_of_ten / 10, threshold, "ratio")
    assert finding.recommendation.endswith(
        f"{dead_of_ten * 2000} dead of 20000 rows, last vacuum never, last analyze never"
    )


async def test_few_dead_rows_are_none(database: Database, bench: Bench) -> None:
    fill(database, dead_of_ten=5, rows=100)
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresDeadTuples(connection="db"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message == "50 dead rows in 1 table, 0 over the threshold"


async def test_the_last_vacuum_is_told(database: Database, bench: Bench) -> None:
    fill(database, dead_of_ten=1)
    database.as_owner("VACUUM ANALYZE orders", "DELETE FROM orders WHERE id % 2 = 0")
    bench.connect_postgres(database.server, database=database.name)
    report = await bench.report(PostgresDeadTuples(connection="db"))
    day = database.value("SELECT to_char(now(), 'YYYY-MM-DD')")
    assert f"last vacuum {day}" in report.findings[0].recommendation
    assert report.findings[0].recommendation.endswith("by hand")


async def test_any_role_that_may_connect_may_check(database: Database, bench: Bench) -> None:
    fill(database, dead_of_ten=5)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(PostgresDeadTuples(connection="db"))
    assert report.counts.critical == 1


async def test_lost_counters_are_unknown(database: Database, bench: Bench) -> None:
    # given a table that the planner knows, and counters that were reset as after a crash
    fill(database, dead_of_ten=5)
    database.as_owner("ANALYZE orders")
    database.execute("SELECT pg_stat_reset()")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresDeadTuples(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.startswith("no counters for public.orders (a crash resets them): run ANALYZE")


async def test_a_server_that_does_not_count_is_unknown(database: Database, bench: Bench) -> None:
    database.execute(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresDeadTuples(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("counts no dead rows: set track_counts = on")


async def test_a_table_that_does_not_exist_fails(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresDeadTuples(connection="db", tables=["orders"]))
    assert step.outcome is Outcome.FAILED
    assert step.message == (
        "there is no table 'orders': the database has no tables; check `database` of the connection"
    )
