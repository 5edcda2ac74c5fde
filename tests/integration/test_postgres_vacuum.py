"""VACUUM: what was asked for is really vacuumed, what was not is left alone, and a mere warning is no success."""

import asyncio

import pytest
from psycopg import sql

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.vacuum import PostgresVacuum

_HOSTILE = ('"; DROP TABLE orders; --', "-orders", "größe 表", 'we"ird.name', "a*b", "%s")


def fill(database: Database, *tables: str, rows: int = 5000) -> None:
    """Tables of the role `upkeep` in which two of three rows are dead."""
    with database.server.connect(database=database.name, user="upkeep") as connection:
        for table in tables:
            name = sql.Identifier(table)
            connection.execute(sql.SQL("CREATE TABLE {} (id int, note text)").format(name))
            connection.execute(
                sql.SQL("INSERT INTO {} SELECT g, 'note' FROM generate_series(1, {}) g").format(name, rows)
            )
            connection.execute(sql.SQL("DELETE FROM {} WHERE id % 3 > 0").format(name))


def vacuumed(database: Database) -> set[str]:
    with database.server.connect(database=database.name) as connection:
        found = connection.execute("SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL").fetchall()
    return {row[0] for row in found}


async def test_dead_rows_are_gone_and_the_planner_knows(database: Database, bench: Bench) -> None:
    # given a table with 3334 dead rows
    fill(database, "orders")
    bench.connect_postgres(database.server, database=database.name)
    # when it is vacuumed
    step = await bench.step(PostgresVacuum(connection="db", tables=["public.orders"]))
    # then the step has changed something, says what, and the server agrees
    assert step.outcome is Outcome.CHANGED
    assert step.message == "VACUUM of 1 table: public.orders 3334 → 0 dead rows"
    assert step.metrics == {"tables": 1, "dead_rows_before": 3334, "dead_rows_after": 0}
    assert database.value("SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables") is True


async def test_analyze_can_be_left_out(database: Database, bench: Bench) -> None:
    fill(database, "orders")
    bench.connect_postgres(database.server, database=database.name)
    await bench.step(PostgresVacuum(connection="db", analyze=False))
    assert database.value("SELECT last_analyze IS NULL FROM pg_stat_user_tables") is True


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (["*"], {"orders", "order_lines", "users"}),
        (["order*"], {"orders", "order_lines"}),
        (["public.users"], {"users"}),
        (["*.users", "orders"], {"users", "orders"}),
    ],
)
async def test_only_the_named_tables_are_vacuumed(
    database: Database, bench: Bench, tables: list[str], expected: set[str]
) -> None:
    fill(database, "orders", "order_lines", "users", rows=10)
    bench.connect_postgres(database.server, database=database.name)
    await bench.step(PostgresVacuum(connection="db", tables=tables))
    assert vacuumed(database) == expected


async def test_only_tables_with_many_dead_rows_if_asked(database: Database, bench: Bench) -> None:
    fill(database, "orders")
    database.as_owner("CREATE TABLE calm AS SELECT generate_series(1, 1000) AS id")
    bench.connect_postgres(database.server, database=database.name)
    await bench.step(PostgresVacuum(connection="db", min_dead_ratio=0.5))
    assert vacuumed(database) == {"orders"}
    again = await bench.step(PostgresVacuum(connection="db", min_dead_ratio=0.5))
    assert again.outcome is Outcome.SKIPPED
    assert again.message == "no table has 50% dead rows: nothing to vacuum"


async def test_only_the_tables_with_the_most_dead_rows_if_asked(database: Database, bench: Bench) -> None:
    # given tables with very different numbers of dead rows
    fill(database, "orders", rows=5000)
    fill(database, "users", rows=500)
    fill(database, "colours", rows=50)
    database.as_owner("CREATE TABLE calm AS SELECT generate_series(1, 1000) AS id")
    bench.connect_postgres(database.server, database=database.name)
    # when the two with the most are vacuumed
    await bench.step(PostgresVacuum(connection="db", high_churn=2))
    # then it is those
    assert vacuumed(database) == {"orders", "users"}
    await bench.step(PostgresVacuum(connection="db", high_churn=9))
    assert vacuumed(database) == {"orders", "users", "colours"}
    again = await bench.step(PostgresVacuum(connection="db", high_churn=2))
    assert (again.outcome, again.message) == (Outcome.SKIPPED, "no table has dead rows: nothing to vacuum")


@pytest.mark.parametrize("truncate", [False, True])
async def test_empty_pages_are_given_back_only_if_asked(database: Database, bench: Bench, *, truncate: bool) -> None:
    database.as_owner("CREATE TABLE orders AS SELECT g AS id, repeat('x', 90) FROM generate_series(1, 20000) g")
    database.as_owner("DELETE FROM orders")
    before = database.value("SELECT pg_relation_size('orders')")
    bench.connect_postgres(database.server, database=database.name)
    await bench.step(PostgresVacuum(connection="db", truncate=truncate))
    assert (database.value("SELECT pg_relation_size('orders')") < before) is truncate


async def test_a_name_that_does_not_exist_fails_with_the_nearest(database: Database, bench: Bench) -> None:
    fill(database, "orders", rows=3)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db", tables=["public.ordres"]))
    assert step.outcome is Outcome.FAILED
    assert step.message == "there is no table 'public.ordres': did you mean public.orders?"
    assert vacuumed(database) == set()


async def test_a_pattern_that_matches_nothing_fails(database: Database, bench: Bench) -> None:
    fill(database, "orders", rows=3)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db", tables=["audit_*"]))
    assert step.message == "no table matches 'audit_*': check the spelling and the schema"


async def test_an_empty_database_has_nothing_to_vacuum(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db"))
    assert (step.outcome, step.message) == (Outcome.SKIPPED, "no tables: nothing to vacuum")


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(database: Database, bench: Bench, name: str) -> None:
    # given a table with such a name, and the table that it wants dropped
    fill(database, name, "orders", rows=30)
    bench.connect_postgres(database.server, database=database.name)
    # when it is vacuumed
    step = await bench.step(PostgresVacuum(connection="db", tables=[name]))
    # then it, and only it, was vacuumed
    assert step.outcome is Outcome.CHANGED, step.message
    assert vacuumed(database) == {name}


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_of_no_table_changes_nothing(database: Database, bench: Bench, name: str) -> None:
    fill(database, "orders", rows=30)
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db", tables=[name]))
    assert step.outcome is Outcome.FAILED
    assert repr(name) in step.message
    assert database.value("SELECT count(*) FROM orders") == 10


async def test_partitions_are_vacuumed_through_their_parent(database: Database, bench: Bench) -> None:
    database.as_owner(
        "CREATE TABLE events (id int, day int) PARTITION BY RANGE (day)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3) PARTITION BY RANGE (id)",
        "CREATE TABLE events_2_low PARTITION OF events_2 FOR VALUES FROM (0) TO (50)",
        "INSERT INTO events SELECT g % 50, 1 + g % 2 FROM generate_series(1, 100) g",
        "DELETE FROM events",
    )
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db", tables=["events", "events_1"]))
    assert step.outcome is Outcome.CHANGED, step.message
    assert step.metrics["tables"] == 2
    assert vacuumed(database) >= {"events_1", "events_2_low"}


async def test_full_gives_space_back_and_is_confirmed_by_a_new_file(database: Database, bench: Bench) -> None:
    fill(database, "orders")
    bench.connect_postgres(database.server, database=database.name)
    before = database.value("SELECT pg_relation_filenode('orders')")
    step = await bench.step(PostgresVacuum(connection="db", full=True, allow_downtime=True, free_mebibytes=100))
    assert step.outcome is Outcome.CHANGED
    assert step.message.startswith("VACUUM FULL of 1 table: public.orders 3334 → ")
    assert step.metrics["freed_bytes"] > 0
    assert database.value("SELECT pg_relation_filenode('orders')") != before


async def test_a_role_that_may_not_vacuum_has_not_succeeded(database: Database, bench: Bench) -> None:
    # given one table of its own and one of somebody else, at which VACUUM only warns
    fill(database, "orders", "foreign_orders", rows=30)
    database.execute("ALTER TABLE orders OWNER TO reader")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    # when both are vacuumed
    step = await bench.step(PostgresVacuum(connection="db"))
    # then its own was, and the step says that the other was not
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("1 of 2 tables not vacuumed: public.foreign_orders: ")
    assert vacuumed(database) == {"orders"}


async def test_a_locked_table_is_given_up_and_the_others_are_done(database: Database, bench: Bench) -> None:
    fill(database, "orders", "users", rows=30)
    bench.connect_postgres(database.server, database=database.name)
    with database.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        action = PostgresVacuum.model_validate({"connection": "db", "lockTimeout": "1s"})
        step = await bench.step(action)
    assert step.outcome is Outcome.FAILED
    assert step.message == ("1 of 2 tables not vacuumed: public.orders: another session kept it locked for over 1 s")
    assert vacuumed(database) == {"users"}


async def test_locked_tables_can_be_left_out(database: Database, bench: Bench) -> None:
    fill(database, "orders", "users", rows=30)
    bench.connect_postgres(database.server, database=database.name)
    with database.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        report = await bench.report(PostgresVacuum(connection="db", skip_locked=True))
        all_locked = await bench.step(PostgresVacuum(connection="db", tables=["orders"], skip_locked=True))
    assert report.outcome is Outcome.CHANGED
    assert report.steps[0].message.endswith("; 1 left out, locked")
    assert [(finding.check_id, finding.object) for finding in report.findings] == [
        ("postgres.vacuum.locked", "public.orders")
    ]
    assert all_locked.outcome is Outcome.FAILED


async def test_dead_rows_that_somebody_still_sees_are_a_finding(database: Database, bench: Bench) -> None:
    # given a transaction that started before the rows died
    fill(database, "orders", rows=3)
    with database.session() as other, other.transaction():
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM orders")
        database.as_owner(
            "INSERT INTO orders SELECT g, 'x' FROM generate_series(10, 5000) g", "DELETE FROM orders WHERE id >= 10"
        )
        bench.connect_postgres(database.server, database=database.name)
        # when the table is vacuumed
        report = await bench.report(PostgresVacuum(connection="db"))
    # then the run says that it did not help
    assert [finding.check_id for finding in report.findings] == ["postgres.vacuum.held-back"]
    assert "old transactions" in report.findings[0].recommendation


async def test_a_standby_is_refused(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(PostgresVacuum(connection="db"))
    assert step.outcome is Outcome.FAILED
    assert step.message == (
        f"PostgreSQL {standby.host}:{standby.port} is a standby (in recovery) and cannot run VACUUM: "
        "let the connection point to the primary"
    )


async def test_without_counters_success_is_not_claimed(database: Database, bench: Bench) -> None:
    fill(database, "orders", rows=30)
    database.execute(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("public.orders: track_counts is off at the server")


def _upkeep_sessions(database: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'upkeep'"
    return int(database.value(query))


def _vacuums(database: Database) -> int:
    return int(database.value("SELECT count(*) FROM pg_stat_progress_vacuum"))


async def test_a_cancelled_run_leaves_no_query_behind(database: Database, bench: Bench) -> None:
    # given a VACUUM in the middle of its work, so slow that it would take hours
    fill(database, "orders", rows=20000)
    database.execute(
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_delay = 100',
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_limit = 1',
    )
    bench.connect_postgres(database.server, database=database.name)
    run = asyncio.create_task(bench.report(PostgresVacuum(connection="db"), PostgresVacuum(connection="db")))
    await eventually(lambda: _vacuums(database))
    # when the run is cancelled
    run.cancel()
    report = await run
    # then the report says so, the later step was not started, and the server is idle
    assert [step.outcome for step in report.steps] == [Outcome.FAILED, Outcome.SKIPPED]
    assert "SIGTERM" in report.message
    assert _vacuums(database) == 0
    await eventually(lambda: _upkeep_sessions(database) == 0)


async def test_a_step_that_runs_out_of_time_leaves_no_query_behind(database: Database, bench: Bench) -> None:
    fill(database, "orders", rows=20000)
    database.execute(
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_delay = 100',
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET vacuum_cost_limit = 1',
    )
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(PostgresVacuum(connection="db"), seconds=1)
    assert step.outcome is Outcome.FAILED
    assert step.message == "timed out after 1s, the whole run's time: give it a longer timeout"
    assert _vacuums(database) == 0
