"""ANALYZE: what was asked for is really analyzed, and a mere warning is no success."""

import asyncio

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.analyze import PostgresAnalyze

_HOSTILE = ('"; DROP TABLE orders; --', "-orders", "größe 表", 'we"ird.name', "%s")


def fill(database: Database, *tables: str) -> None:
    with database.session(user="upkeep") as connection:
        for table in tables:
            name = sql.Identifier(table)
            connection.execute(sql.SQL("CREATE TABLE {} AS SELECT g AS id FROM generate_series(1, 100) g").format(name))


def analyzed(database: Database) -> set[str]:
    with database.session() as connection:
        found = connection.execute("SELECT relname FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL").fetchall()
    return {row[0] for row in found}


async def test_all_tables_are_analyzed_and_nothing_is_vacuumed(database: Database, bench: Bench) -> None:
    fill(database, "orders", "users")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresAnalyze(connection="db"))
    assert (step.outcome, step.message) == (Outcome.CHANGED, "ANALYZE of 2 tables")
    assert analyzed(database) == {"orders", "users"}
    assert database.value("SELECT count(*) FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL") == 0


async def test_only_what_changed_if_asked(database: Database, bench: Bench) -> None:
    # given two tables that were analyzed, one of which has changed since
    fill(database, "orders", "users")
    bench.connect_postgres(database.server, database=database.name)
    action = PostgresAnalyze(connection="db", min_changed_ratio=0.1)
    first = await bench.step(action)
    database.as_owner("INSERT INTO users SELECT g FROM generate_series(1, 20) g")
    # when it is run again, and once more
    second, third = await bench.step(action), await bench.step(action)
    assert [first.metrics.get("tables"), second.metrics.get("tables")] == [2, 1]
    assert (third.outcome, third.message) == (Outcome.SKIPPED, "no table has 10% changed rows: nothing to analyze")


async def test_a_partitioned_table_gets_statistics_as_a_whole(database: Database, bench: Bench) -> None:
    database.as_owner(
        "CREATE TABLE events (id int, day int) PARTITION BY RANGE (day)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2)",
        "INSERT INTO events SELECT g % 50, 1 FROM generate_series(1, 100) g",
    )
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresAnalyze(connection="db"))
    assert step.outcome is Outcome.CHANGED, step.message
    assert database.value("SELECT count(*) FROM pg_stats WHERE tablename = 'events' AND inherited") == 2
    assert analyzed(database) >= {"events_1"}


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(database: Database, bench: Bench, name: str) -> None:
    fill(database, name, "orders")
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresAnalyze(connection="db", tables=[name]))
    assert step.outcome is Outcome.CHANGED, step.message
    assert analyzed(database) == {name}


async def test_a_role_that_may_not_analyze_has_not_succeeded(database: Database, bench: Bench) -> None:
    fill(database, "orders")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(PostgresAnalyze(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("1 of 1 table not analyzed: public.orders: ")
    assert analyzed(database) == set()


async def test_a_locked_table_is_given_up_or_left_out(database: Database, bench: Bench) -> None:
    fill(database, "orders", "users")
    bench.connect_postgres(database.server, database=database.name)
    with database.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        patient = PostgresAnalyze.model_validate({"connection": "db", "lockTimeout": "1s"})
        given_up = await bench.step(patient)
        report = await bench.report(PostgresAnalyze(connection="db", skip_locked=True))
    assert given_up.outcome is Outcome.FAILED
    assert "public.orders: another session kept it locked for over 1 s" in given_up.message
    assert report.outcome is Outcome.CHANGED
    assert [finding.object for finding in report.findings] == ["public.orders"]
    assert analyzed(database) == {"users"}


async def test_a_cancelled_run_leaves_no_query_behind(database: Database, bench: Bench) -> None:
    # given an ANALYZE in the middle of its work, so slow that it would take hours
    database.as_owner("CREATE TABLE large AS SELECT g AS id, repeat('x', 500) AS note FROM generate_series(1, 20000) g")
    database.execute(
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_delay = 100',
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_limit = 1',
    )
    bench.connect_postgres(database.server, database=database.name)
    run = asyncio.create_task(bench.report(PostgresAnalyze(connection="db")))
    await eventually(lambda: database.value("SELECT count(*) FROM pg_stat_progress_analyze"))
    # when the run is cancelled
    run.cancel()
    report = await run
    # then the report says so, and the server is idle
    assert report.outcome is Outcome.FAILED
    assert "SIGTERM" in report.message
    assert database.value("SELECT count(*) FROM pg_stat_progress_analyze") == 0
    upkeep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'upkeep'"
    await eventually(lambda: database.value(upkeep) == 0)


async def test_a_standby_is_refused(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(PostgresAnalyze(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert "is a standby (in recovery) and cannot run ANALYZE" in step.message


async def test_without_counters_success_is_not_claimed(database: Database, bench: Bench) -> None:
    fill(database, "orders")
    database.execute(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresAnalyze(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message == (
        "ANALYZE ran, but the server does not confirm it for public.orders: track_counts is off at the server"
    )
