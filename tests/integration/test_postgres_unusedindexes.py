"""An index that no query uses is found, but not one that something needs, that a standby uses, or too early."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from integration import postgres
from integration.bench import Bench, eventually
from integration.postgres import PASSWORD, Database, Postgres
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.postgres.unusedindexes import PostgresUnusedIndexes

_HOSTILE = ('"; DROP TABLE orders; --', "größe 表", "-orders")


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    """A server that no standby of another test follows."""
    with postgres.running_postgres() as server:
        yield server


@pytest.fixture
def following(database: Database) -> Iterator[Postgres]:
    with postgres.running_standby(database.server) as server:
        yield server


def make(database: Database) -> None:
    database.as_owner(
        "CREATE TABLE customers (id int PRIMARY KEY)",
        "CREATE TABLE orders (id int PRIMARY KEY, number int UNIQUE, note text, customer int REFERENCES customers)",
        "INSERT INTO orders SELECT g, g, repeat('x', 20) || g FROM generate_series(1, 20000) g",
        "CREATE INDEX by_note ON orders (note)",
        "CREATE UNIQUE INDEX lower_note ON orders (lower(note))",
        "CREATE INDEX by_customer ON orders (customer)",
    )


def check(**parameters: object) -> PostgresUnusedIndexes:
    return PostgresUnusedIndexes.model_validate({"connection": "db", "minDays": 0, "minSizeMebibytes": 0, **parameters})


def use(database: Database, statement: str) -> None:
    """Let a query go by index; its session ends, so that it is counted."""
    with database.session() as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        connection.execute(statement.encode())


async def found(bench: Bench, action: PostgresUnusedIndexes) -> dict[str, Severity]:
    report = await bench.report(action)
    return {finding.object: finding.severity for finding in report.findings}


async def test_an_index_that_nothing_uses_or_needs_is_found(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    # an index that backs a foreign key is only mentioned; those of constraints and unique ones are needed
    assert await found(bench, check()) == {
        "public.by_note": Severity.WARNING,
        "public.by_customer": Severity.INFO,
    }
    assert database.value("SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'") == 5


async def test_a_used_index_is_no_finding(database: Database, bench: Bench) -> None:
    make(database)
    use(database, "SELECT * FROM orders WHERE note = 'x'")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    assert "public.by_note" not in await found(bench, check())


async def test_small_indexes_are_no_findings(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    assert await found(bench, check(minSizeMebibytes=1)) == {}


async def test_the_parts_of_a_partitioned_index_count_together(database: Database, bench: Bench) -> None:
    # given an index of which only one part is used, and one that nothing uses
    database.as_owner(
        "CREATE TABLE events (id int, day int, note text) PARTITION BY RANGE (day)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2)",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3)",
        "CREATE INDEX by_id ON events (id)",
        "CREATE INDEX by_text ON events (note)",
    )
    use(database, "SELECT * FROM events_1 WHERE id = 5")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    assert await found(bench, check()) == {"public.by_text": Severity.WARNING}


async def test_counters_that_are_too_young_are_unknown(database: Database, bench: Bench) -> None:
    make(database)
    bench.connect_postgres(database.server, database=database.name, user="reader")
    report = await bench.report(check(minDays=30))
    assert (report.outcome, report.findings) == (Outcome.UNKNOWN, [])
    assert "counts for 0.0 days only, less than minDays: 30" in report.message


async def test_without_counters_it_is_unknown(database: Database, bench: Bench) -> None:
    database.execute(f'ALTER DATABASE "{database.name}" SET track_counts = off')
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(check())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.endswith("counts no use of indexes: set track_counts = on")


async def test_what_a_standby_uses_is_used(database: Database, following: Postgres, bench: Bench) -> None:
    # given an index that only a query at the standby uses
    make(database)
    copy = Database(server=following, name=database.name)
    database.execute("SELECT pg_switch_wal()")
    await _follow(database, following)
    use(copy, "SELECT * FROM orders WHERE note = 'x'")
    bench.connect_postgres(database.server, database=database.name, user="reader")
    # when the standby is not looked at, nothing is certain
    blind = await bench.report(check())
    assert blind.outcome is Outcome.UNKNOWN
    assert "1 standby may use what the primary does not: add a connection for each to `replicas`" in blind.message
    # when it is, the index counts as used
    target = {"host": following.host, "port": following.port, "database": database.name, "secretRef": {"name": "s"}}
    bench.connections.append(Connection.model_validate({"name": "copy", "postgres": target}))
    bench.secret("copy", username="reader", password=PASSWORD)
    seeing = await bench.report(check(replicas=["copy"]))
    assert seeing.outcome is Outcome.OK
    assert [finding.object for finding in seeing.findings] == ["public.by_customer"]


async def _follow(database: Database, standby: Postgres) -> None:
    position = database.value("SELECT pg_current_wal_lsn()::text")

    def reached() -> bool:
        with standby.connect() as connection:
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            row = connection.execute(query, [position]).fetchone()
        return bool(row and row[0])

    await eventually(reached)


@pytest.mark.parametrize("name", _HOSTILE)
async def test_a_hostile_name_is_only_a_name(database: Database, bench: Bench, name: str) -> None:
    make(database)
    with database.session(user="upkeep") as owner:
        owner.execute(sql.SQL("CREATE TABLE {} (id int)").format(sql.Identifier(name)))
        owner.execute(sql.SQL("CREATE INDEX {} ON {} (id)").format(sql.Identifier(f"i{name}"), sql.Identifier(name)))
    bench.connect_postgres(database.server, database=database.name, user="reader")
    assert await found(bench, check(tables=[name])) == {f"public.i{name}": Severity.WARNING}
