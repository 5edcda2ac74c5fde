"""A question of the team is asked as it is, answered with a finding or a failure, and can change nothing."""

import asyncio

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.query import PostgresQuery


@pytest.fixture
def shop(database: Database) -> Database:
    database.as_owner(
        "CREATE TABLE orders (id int, note text)", "INSERT INTO orders SELECT g, 'größe' FROM generate_series(1, 7) g"
    )
    return database


def ask(sql: str, **parameters: object) -> PostgresQuery:
    return PostgresQuery.model_validate({"connection": "db", "sql": sql, **parameters})


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM orders", {"minimum": 7, "maximum": 7}),
        ("SELECT count(*) FROM public.orders;", {"equals": "7"}),
        ("SELECT note FROM orders LIMIT 1", {"equals": "größe"}),
        ("SELECT id FROM orders WHERE note LIKE '%x%'", {"maxRows": 0}),
        ("SELECT id FROM orders -- all of them", {"minRows": 7}),
        ("SELECT NULL", {"equals": "NULL"}),
        ("SELECT true", {"equals": "True"}),
    ],
)
async def test_what_is_expected_is_no_finding(
    shop: Database, bench: Bench, sql: str, expected: dict[str, object]
) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    report = await bench.report(ask(sql, **expected))
    assert (report.outcome, report.findings) == (Outcome.OK, []), report.message


@pytest.mark.parametrize(
    ("sql", "expected", "message"),
    [
        ("SELECT count(*) FROM orders", {"minimum": 8}, "the value is 7, less than 8"),
        ("SELECT count(*) FROM orders", {"maximum": 6.5}, "the value is 7, more than 6.5"),
        ("SELECT note FROM orders", {"equals": "x"}, "the value is größe, not x"),
        ("SELECT id FROM orders", {"maxRows": 0}, "7 rows, more than 0"),
        ("SELECT id FROM orders WHERE id > 5", {"minRows": 3}, "2 rows, fewer than 3"),
        ("SELECT NULL", {"minimum": 0}, "the value is NULL, less than 0"),
        ("SELECT id FROM orders WHERE false", {"equals": "1"}, "the value is NULL, not 1"),
    ],
)
async def test_what_differs_is_a_finding(
    shop: Database, bench: Bench, sql: str, expected: dict[str, object], message: str
) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    report = await bench.report(ask(sql, severity="critical", **expected))
    assert (report.outcome, report.steps[0].message) == (Outcome.OK, message)
    assert [(finding.check_id, finding.severity) for finding in report.findings] == [
        ("postgres.query", Severity.CRITICAL)
    ]


async def test_a_difference_can_fail(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    report = await bench.report(ask("SELECT 1", equals="2", fails=True))
    assert report.outcome is Outcome.FAILED
    assert len(report.findings) == 1


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM orders RETURNING id", "this step only reads, write one SELECT"),
        ("DROP TABLE orders", "this step only reads, write one SELECT"),
        ("SELECT 1; DROP TABLE orders", "write one statement, without a second one after `;`"),
        ("COMMIT; DROP TABLE orders", "write one statement, without a second one after `;`"),
        ("COMMIT", "the statement returns nothing: write one SELECT"),
        ("SET default_transaction_read_only = off", "the statement returns nothing: write one SELECT"),
        ("SELECT * FROM nothing", 'relation "nothing" does not exist'),
        ("'; --", "unterminated quoted string"),
    ],
)
async def test_what_is_no_single_reading_statement_is_refused(
    shop: Database, bench: Bench, sql: str, message: str
) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(ask(sql, minRows=0))
    assert step.outcome is Outcome.FAILED, step.message
    assert message in step.message
    assert shop.value("SELECT count(*) FROM orders") == 7


async def test_without_the_privilege_it_says_what_to_grant(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name, user="reader")
    step = await bench.step(ask("SELECT count(*) FROM orders", minimum=1))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("permission denied for table orders: GRANT SELECT on it to the user of the connection")


async def test_a_huge_answer_is_not_read_to_its_end(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    step = await bench.step(ask("SELECT generate_series(1, 2000000000)", maxRows=10))
    assert step.message == "100001 rows, more than 10"


async def test_a_cancelled_run_leaves_no_query_behind(shop: Database, bench: Bench) -> None:
    bench.connect_postgres(shop.server, database=shop.name)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    run = asyncio.create_task(bench.report(ask("SELECT pg_sleep(60)", minRows=1)))
    await eventually(lambda: shop.value(sleeping) == 1)
    run.cancel()
    report = await run
    assert "SIGTERM" in report.message
    await eventually(lambda: shop.value(sleeping) == 0)
