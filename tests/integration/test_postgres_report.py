"""A report tells what has changed since the last one: of a real server, whose counters nobody resets for it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier, Literal

from integration import postgres
from integration.bench import Bench
from integration.postgres import Database, Postgres
from upkeep.actions.contract import MEMORY_BYTES, Outcome
from upkeep.actions.postgres.report import PostgresReport
from upkeep.domain.report import RunReport, memory_size

HOSTILE = 'orders"; DROP TABLE x; -- \u00e4'


@pytest.fixture(scope="module")
def counting_server() -> Iterator[Postgres]:
    with postgres.running_postgres("shared_preload_libraries=pg_stat_statements", "deadlock_timeout=100ms") as server:
        yield server


@pytest.fixture
def counted(counting_server: Postgres, bench: Bench) -> Iterator[Database]:
    """A database with the extension in a schema whose name is not harmless, looked at with the least rights."""
    with counting_server.database("shop") as database:
        database.execute('CREATE SCHEMA "ext; x"', 'CREATE EXTENSION pg_stat_statements SCHEMA "ext; x"')
        database.execute('GRANT USAGE ON SCHEMA "ext; x" TO PUBLIC')
        bench.connect_postgres(counting_server, database=database.name, user="watcher")
        yield database


def of(**parameters: object) -> PostgresReport:
    return PostgresReport.model_validate({"connection": "db", **parameters})


def found(report: RunReport) -> set[str]:
    return {finding.check_id.removeprefix("postgres.report.") for finding in report.findings}


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.fields for record in caplog.records if record.message == "detail"]  # type: ignore[attr-defined]


def nap(database: Database, *, seconds: float, times: int = 1) -> None:
    with closing(database.session(user="upkeep")) as session:
        for _ in range(times):
            session.execute("SELECT pg_sleep(%s), 'secret'", [seconds])


async def test_the_first_report_tells_what_there_is_and_that_changes_come_later(
    counted: Database, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    counted.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    nap(counted, seconds=0.05)
    with caplog.at_level(logging.INFO):
        report = await bench.report(of())
    assert report.outcome is Outcome.OK, report.message
    assert report.steps[0].message.startswith("shop: ")
    assert "largest public.orders" in report.message
    assert report.message.endswith("this is the first report: changes are told from the next one on")
    assert report.findings == []
    assert any(line.get("table") == "public.orders" for line in logged(caplog))
    assert any(line.get("statement") == "SELECT pg_sleep($1), $2" for line in logged(caplog))


async def test_growth_is_told_by_table_and_fast_growth_is_found(
    counted: Database, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # given a report
    counted.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    first = await bench.report(of())
    # when the database has grown by more than half since
    counted.as_owner("INSERT INTO orders SELECT generate_series(1, 600000)")
    with caplog.at_level(logging.INFO):
        second = await bench.next_report(of(), first)
    # then both the database and the table tell it
    assert found(second) == {"growth"}
    (finding,) = second.findings
    assert (finding.object, finding.unit) == ("shop", "percent")
    assert finding.observed > 100
    assert "of it are public.orders" in finding.recommendation
    assert "public.orders +20." in second.message
    (line,) = (line for line in logged(caplog) if line.get("table") == "public.orders")
    assert line["grown"] == "exactly"
    assert line["grown_bytes"] > 20_000_000
    assert second.steps[0].metrics["grown_bytes"] > 20_000_000


async def test_where_nothing_happened_nothing_is_found(counted: Database, bench: Bench) -> None:
    counted.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 1000) AS id")
    first = await bench.report(of())
    second = await bench.next_report(of(), first)
    third = await bench.next_report(of(), second)
    assert [found(report) for report in (first, second, third)] == [set(), set(), set()]
    assert third.message.startswith("shop: ")
    assert ", unchanged in " in third.message


async def test_statements_count_from_the_last_report_without_a_reset(counted: Database, bench: Bench) -> None:
    # given a statement that was executed for long before the first report
    since = counted.value('SELECT stats_reset FROM "ext; x".pg_stat_statements_info')
    nap(counted, seconds=0.5)
    first = await bench.report(of())
    # when it was executed for a short time since
    nap(counted, seconds=0.05)
    second = await bench.next_report(of(), first)
    # then only that time is told, and it is the same again after a third
    assert 0.05 <= second.steps[0].metrics["statement_seconds"] < 0.5
    assert "SELECT pg_sleep($1), $2" in second.message
    assert "secret" not in second.encode()
    third = await bench.next_report(of(), second)
    assert third.steps[0].metrics["statement_seconds"] < 0.05
    assert counted.value('SELECT stats_reset FROM "ext; x".pg_stat_statements_info') == since


async def test_a_statement_that_became_slower_is_found(counted: Database, bench: Bench) -> None:
    nap(counted, seconds=0.01, times=3)
    first = await bench.report(of())
    nap(counted, seconds=0.6, times=2)
    second = await bench.next_report(of(), first)
    (finding,) = second.findings
    assert (finding.check_id, finding.unit) == ("postgres.report.slower", "seconds")
    assert finding.observed >= 0.6
    assert finding.recommendation.endswith("2 calls since: SELECT pg_sleep($1), $2")
    assert "ms a call instead of 1" in second.message
    # and once it is what it always is, it is no news
    nap(counted, seconds=0.6, times=2)
    assert found(await bench.next_report(of(), second)) == set()


async def test_a_statement_that_was_not_there_before_is_called_new(counted: Database, bench: Bench) -> None:
    first = await bench.report(of())
    nap(counted, seconds=0.3)
    second = await bench.next_report(of(), first)
    assert "(new): SELECT pg_sleep($1), $2" in second.message
    assert found(second) == set()


async def test_counters_that_were_reset_are_told_from_then_on(counted: Database, bench: Bench) -> None:
    nap(counted, seconds=0.4)
    first = await bench.report(of())
    counted.execute('SELECT "ext; x".pg_stat_statements_reset()', "SELECT pg_stat_reset()")
    nap(counted, seconds=0.05)
    second = await bench.next_report(of(), first)
    assert second.outcome is Outcome.OK
    assert second.message.endswith(
        "reset meanwhile, and counted from then: the counters of the database, pg_stat_statements"
    )
    assert 0.05 <= second.steps[0].metrics["statement_seconds"] < 0.4


async def test_deadlocks_and_checkpoints_for_lack_of_room_are_found(counted: Database, bench: Bench) -> None:
    counted.as_owner("CREATE TABLE a AS SELECT 1 AS id", "CREATE TABLE b AS SELECT 1 AS id")
    first = await bench.report(of())
    with closing(counted.session()) as one, closing(counted.session()) as two:
        one.autocommit = two.autocommit = False
        one.execute("UPDATE a SET id = 2")
        two.execute("UPDATE b SET id = 2")
        with pytest.raises(Exception, match="deadlock detected"):
            await asyncio.gather(
                asyncio.to_thread(one.execute, "UPDATE b SET id = 3"),
                asyncio.to_thread(two.execute, "UPDATE a SET id = 3"),
            )
        one.rollback()
        two.rollback()
    counted.execute("CHECKPOINT", "CHECKPOINT", "CHECKPOINT")
    second = await bench.next_report(of(), first)
    assert found(second) == {"deadlocks", "checkpoints"}
    assert "deadlocks: 1" in second.message


async def test_reads_that_miss_the_memory_are_found(counted: Database, bench: Bench) -> None:
    # given a table that is larger than the server's memory
    counted.as_owner("CREATE TABLE orders AS SELECT repeat('x', 900) AS note FROM generate_series(1, 150000)")
    first = await bench.report(of())
    # when it is read as a whole
    counted.as_owner("SELECT count(note) FROM orders")
    second = await bench.next_report(of(minCachePercent=99), first)
    # then most of it was not there
    assert "cache" in found(second)
    assert second.steps[0].metrics["cache_percent"] < 99


async def test_without_the_extension_it_reports_all_the_rest(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="watcher")
    first = await bench.report(of())
    second = await bench.next_report(of(), first)
    for report in (first, second):
        assert report.outcome is Outcome.OK
        assert "nothing is told of statements: database " in report.message
        assert "has no extension pg_stat_statements" in report.message
    assert ", unchanged in " in second.message


async def test_statements_that_are_hidden_are_told_as_such(counted: Database, bench: Bench) -> None:
    nap(counted, seconds=0.01)
    bench.connections.clear()
    bench.connect_postgres(counted.server, database=counted.name, user="reader")
    report = await bench.report(of())
    assert report.outcome is Outcome.OK
    assert report.message.endswith("are hidden: GRANT pg_read_all_stats to the user of the connection")


async def test_another_database_under_the_same_name_is_not_compared(counted: Database, bench: Bench) -> None:
    first = await bench.report(of())
    counted.server.execute('ALTER DATABASE shop RENAME TO "old shop"', "CREATE DATABASE shop OWNER upkeep")
    try:
        second = await bench.next_report(of(), first)
    finally:
        counted.server.execute("DROP DATABASE shop", 'ALTER DATABASE "old shop" RENAME TO shop')
    assert "it is another database than last time" in second.message
    assert second.findings == []


async def test_names_are_only_names_and_what_is_remembered_has_a_limit(counted: Database, bench: Bench) -> None:
    # given many tables and statements with names that are not harmless
    with closing(counted.session(user="upkeep")) as session:
        for number in range(30):
            names = {"name": Identifier(f"{HOSTILE}{number}"), "column": Identifier(f"c{number}")}
            rows = Literal(1000 * (number + 1))
            session.execute(SQL("CREATE TABLE {name} AS SELECT generate_series(1, {rows})").format(rows=rows, **names))
            session.execute(SQL("SELECT count(*) AS {column} FROM {name}").format(**names))
    # when ten of them are reported twice
    first = await bench.report(of(top=10))
    second = await bench.next_report(of(top=10), first)
    # then both fit into what may be remembered
    for report in (first, second):
        assert report.outcome is Outcome.OK, report.message
        assert 500 < memory_size(report.steps[0].memory) <= MEMORY_BYTES
        assert "not remembered" not in report.message
    assert HOSTILE.replace("\u00e4", "ä") in first.message


@pytest.mark.parametrize(
    "spoil",
    [{"of": "1/2 3"}, {"activity": "-1 0 0 0 0 0 0 0 0 0"}, {"tables": "1:nan"}, {"statements": "zz"}, {"counted": ""}],
)
async def test_what_cannot_be_read_of_the_memory_starts_anew(
    counted: Database, bench: Bench, spoil: dict[str, str]
) -> None:
    assert counted.name == "shop"
    first = await bench.report(of())
    step = first.steps[0].model_copy(update={"memory": {**first.steps[0].memory, **spoil}})
    second = await bench.next_report(of(), first.model_copy(update={"steps": [step]}))
    assert second.outcome is Outcome.OK
    assert "this is the first report" in second.message


async def test_a_table_that_is_locked_meanwhile_does_not_hold_it_up_for_long(counted: Database, bench: Bench) -> None:
    counted.as_owner("CREATE TABLE orders AS SELECT 1 AS id")
    with closing(counted.session()) as session, session.transaction():
        session.execute("LOCK TABLE orders")
        step = await bench.step(of())
    assert step.outcome is Outcome.FAILED
    assert "lock" in step.message


async def test_wrong_credentials_are_told(counted: Database, bench: Bench) -> None:
    bench.connections.clear()
    bench.connect_postgres(counted.server, database=counted.name, password="wrong")  # noqa: S106 - it is wrong
    step = await bench.step(of())
    assert step.outcome is Outcome.FAILED
    assert "password authentication failed" in step.message
