"""Large tables that are read from end to end, and foreign keys without an index, are found; nothing is made."""

import pytest
from psycopg import sql

from integration.bench import Bench
from integration.postgres import Database
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.missingindexes import PostgresMissingIndexes

_HOSTILE = ('"; DROP TABLE orders; --', "größe 表", "-orders")


def make(database: Database, *more: str) -> None:
    database.as_owner(
        "CREATE TABLE customers (id int PRIMARY KEY)",
        "INSERT INTO customers VALUES (1)",
        "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers)",
        "INSERT INTO orders SELECT g, 1 FROM generate_series(1, 2000) g",
        "ANALYZE",
    )
    with database.session(user="upkeep") as owner:
        for statement in more:
            owner.execute(statement.encode())


def check(**parameters: object) -> PostgresMissingIndexes:
    return PostgresMissingIndexes.model_validate({"connection": "db", "minRows": 1000, "minScans": 3, **parameters})


async def found(database: Database, bench: Bench, action: PostgresMissingIndexes) -> dict[str, str]:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(action)
    assert report.outcome is Outcome.OK, report.message
    return {finding.check_id.rpartition(".")[2]: finding.object for finding in report.findings}


def scan(database: Database) -> None:
    for _ in range(4):
        database.as_owner("SELECT count(*) FROM orders WHERE customer = 7")


async def test_a_table_that_is_scanned_again_and_again_is_found(database: Database, bench: Bench) -> None:
    make(database, "CREATE INDEX ON orders (customer)")
    with database.session(user="upkeep") as owner:
        owner.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")
        for _ in range(4):
            owner.execute("SELECT count(*) FROM orders")
    assert await found(database, bench, check()) == {"scans": "public.orders"}


async def test_small_rarely_scanned_and_indexed_tables_are_no_findings(database: Database, bench: Bench) -> None:
    make(database, "CREATE INDEX ON orders (customer)")
    scan(database)
    assert await found(database, bench, check(minRows=5000)) == {}
    assert await found(database, bench, check(minScans=100)) == {}


async def test_a_foreign_key_without_an_index_is_found(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(check(minScans=100))
    (finding,) = report.findings
    assert finding.check_id == "postgres.missing-indexes.foreign-key"
    assert finding.object == "public.orders orders_customer_fkey"
    assert finding.recommendation.startswith("make an index on public.orders (customer), ")
    assert finding.recommendation.endswith("each delete in public.customers reads the whole table")


@pytest.mark.parametrize(
    ("statement", "backed"),
    [
        ("CREATE INDEX ON orders (customer)", True),
        ("CREATE INDEX ON orders (customer, id)", True),
        ("CREATE INDEX ON orders USING hash (customer)", True),
        ("CREATE INDEX ON orders (id, customer)", False),
        ("CREATE INDEX ON orders (customer) WHERE id > 5", False),
        ("CREATE INDEX ON orders USING brin (customer)", False),
    ],
)
async def test_an_index_backs_a_key_if_it_begins_with_it(
    database: Database, bench: Bench, statement: str, *, backed: bool
) -> None:
    make(database, statement)
    assert (await found(database, bench, check(minScans=100)) == {}) is backed


async def test_a_key_of_two_columns_is_backed_in_either_order(database: Database, bench: Bench) -> None:
    make(
        database,
        "CREATE TABLE parts (a int, b int, UNIQUE (a, b))",
        "CREATE TABLE uses (x int, y int, FOREIGN KEY (x, y) REFERENCES parts (a, b))",
        "CREATE INDEX ON uses (y, x)",
    )
    assert await found(database, bench, check(minRows=0, minScans=100, tables=["uses"])) == {}


async def test_without_counters_it_is_unknown(database: Database, bench: Bench) -> None:
    database.execute(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(database: Database, bench: Bench, name: str) -> None:
    make(database)
    with database.session(user="upkeep") as owner:
        statement = sql.SQL("CREATE TABLE {} (customer int REFERENCES customers)").format(sql.Identifier(name))
        owner.execute(statement)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(check(minRows=0, minScans=100, tables=[name]))
    assert [finding.object.startswith(f"public.{name} ") for finding in report.findings] == [True]
