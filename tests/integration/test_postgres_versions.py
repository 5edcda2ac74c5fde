"""Every action at every version of PostgreSQL that Debian does not have: what must show shows, nothing else does.

The actions run as a role with the rights that their documentation names. The other tests are against Debian's version.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg.sql import SQL

from integration import postgres
from integration.bench import Bench, eventually
from integration.postgres import PASSWORD, Database, Postgres
from lab import servers
from upkeep.actions import registry
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action, Outcome
from upkeep.actions.postgres.version import Version, block_times
from upkeep.domain.report import RunReport

_VERSIONS: Final = [version for version in servers.POSTGRES if "." not in version]
_SERVER: Final = (
    "shared_preload_libraries=pg_stat_statements",
    "archive_mode=on",
    "archive_command=/bin/true",
    "max_wal_size=64MB",
)
_RIGHTS: Final = (
    "CREATE ROLE keeper LOGIN PASSWORD 'correct-horse-battery'",
    "GRANT pg_monitor, pg_signal_backend, pg_read_all_data, pg_stat_scan_tables TO keeper",
)

Prepare = Callable[[Database], None]


def _nothing(_: Database) -> None:
    return


def _statements(*statements: Any) -> Prepare:  # noqa: ANN401 - LiteralString cannot be said of a variable number
    return lambda database: database.as_owner(*statements)


_DEAD: Final = "DELETE FROM orders WHERE id % 3 > 0"
_SPARSE: Final = (
    "INSERT INTO orders SELECT g, 1, repeat('x', 200) FROM generate_series(20000, 60000) g",
    "DELETE FROM orders WHERE id >= 20000 AND id < 60000",
    "VACUUM (ANALYZE, TRUNCATE false) orders",
)
_REFERRING: Final = "CREATE TABLE lines AS SELECT g AS id, g AS of_order FROM generate_series(1, 2000) g"
_KEY: Final = "ALTER TABLE lines ADD CONSTRAINT of_order FOREIGN KEY (of_order) REFERENCES orders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An action in a state, and what it must say of it."""

    parameters: dict[str, object]
    prepare: Prepare = _nothing
    outcome: Outcome = Outcome.OK
    found: tuple[str, ...] = ()
    says: str = ""


_INDEX: Final = {"name": "by_note", "table": "orders", "columns": ["note"]}
_OLD: Final = {"table": "orders", "key": "id", "select": "SELECT id FROM public.orders WHERE id <= 10", "dryRun": False}

SHOWS: Final = {
    "postgresVacuum": Case(
        parameters={"tables": ["orders"]},
        prepare=_statements(_DEAD),
        outcome=Outcome.CHANGED,
        says="3334 → 0 dead rows",
    ),
    "postgresAnalyze": Case(parameters={}, outcome=Outcome.CHANGED, says="ANALYZE of 2 tables"),
    "postgresReindex": Case(parameters={}, outcome=Outcome.CHANGED, says="rebuilt 2 indexes"),
    "postgresApplyIndexes": Case(parameters={"indexes": [_INDEX]}, outcome=Outcome.CHANGED, says="made public.by_note"),
    "postgresDeadTuples": Case(
        parameters={}, prepare=_statements(_DEAD), found=("postgres.dead-tuples public.orders",)
    ),
    "postgresBloat": Case(
        parameters={"minSizeMebibytes": 1}, prepare=_statements(*_SPARSE), found=("postgres.bloat public.orders",)
    ),
    "postgresUnusedIndexes": Case(
        parameters={"minDays": 0, "minSizeMebibytes": 0},
        prepare=_statements("CREATE INDEX by_note ON orders (note)"),
        found=("postgres.unused-indexes public.by_note",),
    ),
    "postgresMissingIndexes": Case(
        parameters={"minRows": 1000},
        prepare=_statements(_REFERRING, _KEY, "ANALYZE lines"),
        found=("postgres.missing-indexes.foreign-key public.lines of_order",),
    ),
    "postgresSlowQueries": Case(
        parameters={"warningAfter": "1s", "minCalls": 1},
        prepare=_statements("SELECT 1 AS slow, pg_sleep(1.1)"),
        found=("postgres.slow-queries query",),
    ),
    "postgresReport": Case(parameters={}, says="changes are told from the next one on"),
    "postgresConnections": Case(parameters={"warningPercent": 0.5}, found=("postgres.connections 127.0.0.1",)),
    "postgresWraparound": Case(parameters={"warningAge": 1, "criticalAge": 1}, found=("postgres.wraparound database",)),
    "postgresReplication": Case(parameters={"minStandbys": 1}, found=("postgres.replication.standbys 127.0.0.1",)),
    "postgresWalArchive": Case(parameters={"maxWalMebibytes": 1}, found=("postgres.wal-archive.size 127.0.0.1",)),
    "postgresPurge": Case(parameters=_OLD, outcome=Outcome.CHANGED, says="deleted 10 rows of public.orders"),
    "postgresQuery": Case(
        parameters={"sql": "SELECT count(*) FROM orders", "maximum": 1}, found=("postgres.query database",)
    ),
    "postgresReady": Case(parameters={"minVersion": 99}, outcome=Outcome.FAILED, says="upgrade it to 99 or later"),
    "postgresLocks": Case(parameters={"warningAfter": "0s"}, found=("postgres.locks pid",), says="1 session waits"),
    "postgresLongTransactions": Case(
        parameters={"warningAfter": "0s"}, found=("postgres.long-transactions pid", "postgres.long-transactions pid")
    ),
    "postgresKillQueries": Case(
        parameters={"olderThan": "0s", "roles": ["upkeep"], "dryRun": False},
        outcome=Outcome.CHANGED,
        says="cancelled 1 statement",
    ),
}
"""In these states each action must find or do something."""

BLOCKED: Final = {"postgresLocks", "postgresLongTransactions", "postgresKillQueries"}
"""They look at what goes on: one session holds a lock, another waits for it."""

QUIET: Final = {
    "postgresVacuum": Case(parameters={"minDeadRatio": 0.1}, outcome=Outcome.SKIPPED),
    "postgresAnalyze": Case(
        parameters={"minChangedRatio": 0.1}, prepare=_statements("ANALYZE"), outcome=Outcome.SKIPPED
    ),
    "postgresReindex": Case(parameters={"onlyInvalid": True}, says="every index is valid"),
    "postgresApplyIndexes": Case(
        parameters={"indexes": [_INDEX]}, prepare=_statements("CREATE INDEX by_note ON orders (note)")
    ),
    "postgresDeadTuples": Case(parameters={}),
    "postgresBloat": Case(parameters={"minSizeMebibytes": 0}, prepare=_statements("ANALYZE")),
    "postgresUnusedIndexes": Case(parameters={"minDays": 0, "minSizeMebibytes": 0}),
    "postgresMissingIndexes": Case(
        parameters={"minRows": 1000},
        prepare=_statements(_REFERRING, _KEY, "CREATE INDEX ON lines (of_order)", "ANALYZE lines"),
    ),
    "postgresSlowQueries": Case(parameters={}, prepare=_statements("SELECT 1 AS fast")),
    "postgresReport": Case(parameters={"minCachePercent": 0}, says="changes are told from the next one on"),
    "postgresConnections": Case(parameters={}),
    "postgresWraparound": Case(parameters={}),
    "postgresReplication": Case(parameters={}),
    "postgresWalArchive": Case(parameters={}),
    "postgresPurge": Case(parameters={**_OLD, "select": "SELECT id FROM public.orders WHERE id < 0"}),
    "postgresQuery": Case(parameters={"sql": "SELECT count(*) FROM orders", "minimum": 1}),
    "postgresReady": Case(parameters={"minVersion": 14, "role": "Primary"}),
    "postgresLocks": Case(parameters={}),
    "postgresLongTransactions": Case(parameters={}),
    "postgresKillQueries": Case(parameters={"olderThan": "1h", "dryRun": False}),
}
"""In these nothing may be found or done."""


@pytest.fixture(scope="module", params=_VERSIONS)
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with postgres.running_postgres(*_SERVER, version=request.param) as server:
        server.execute(*_RIGHTS)
        yield server


@pytest.fixture
def shop(database: Database) -> Database:
    """Tables of the role `upkeep`, which the role `keeper` may look after."""
    database.execute(
        "CREATE EXTENSION pg_stat_statements",
        "CREATE EXTENSION pgstattuple",
        "GRANT upkeep TO keeper",
        f'ALTER DATABASE "{database.name}" SET enable_seqscan = on',
    )
    database.as_owner(
        "CREATE TABLE customers (id int PRIMARY KEY)",
        "INSERT INTO customers VALUES (1)",
        "CREATE TABLE orders (id int PRIMARY KEY, customer int, note text)",
        "INSERT INTO orders SELECT g, 1, 'note' FROM generate_series(1, 5000) g",
    )
    return database


async def _counted(database: Database) -> None:
    """Up to 14 counters arrive late, but in their order: wait until those of what was done last are there."""
    database.execute("CREATE TABLE last AS SELECT 1")
    await eventually(lambda: database.value("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'last'"))
    database.execute("DROP TABLE last")


def _action(name: str, parameters: dict[str, object]) -> Action:
    return registry.actions()[name].model_validate({"connection": "db", **parameters})


@asynccontextmanager
async def _blocked(database: Database) -> AsyncIterator[None]:
    """Two sessions of `upkeep`: one idle in its transaction with a lock, one that waits for it."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ExitStack() as stack:
        holder = stack.enter_context(closing(database.session(user="upkeep")))
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE customers")
        stack.enter_context(database.executing("SELECT count(*) FROM public.customers", user="upkeep"))
        await eventually(lambda: database.value(waiting))
        yield


async def _run(name: str, case: Case, shop: Database, bench: Bench, *, blocked: bool) -> RunReport:
    case.prepare(shop)
    await _counted(shop)
    bench.connect_postgres(shop.server, database=shop.name, user="keeper")
    if not blocked:
        return await bench.report(_action(name, case.parameters))
    async with _blocked(shop):
        return await bench.report(_action(name, case.parameters))


def test_no_action_is_left_out() -> None:
    known = {name for name, action in registry.actions().items() if name.startswith("postgres") and not action.internal}
    assert set(SHOWS) == set(QUIET) == known


@pytest.mark.parametrize("name", SHOWS)
async def test_what_there_is_to_find_or_do_shows(shop: Database, bench: Bench, name: str) -> None:
    case = SHOWS[name]
    report = await _run(name, case, shop, bench, blocked=name in BLOCKED)
    found = sorted(f"{finding.check_id} {finding.object}" for finding in report.findings)
    assert report.outcome is case.outcome, report.steps[0].message
    assert case.says in report.steps[0].message
    if case.found:
        missing = [wanted for wanted in case.found if not any(one.startswith(wanted) for one in found)]
        assert not missing, found


@pytest.mark.parametrize("name", QUIET)
async def test_where_nothing_is_to_be_said_nothing_is(shop: Database, bench: Bench, name: str) -> None:
    case = QUIET[name]
    report = await _run(name, case, shop, bench, blocked=False)
    assert (report.outcome, report.findings) == (case.outcome, []), report.steps[0].message
    assert case.says in report.steps[0].message


@pytest.mark.parametrize("name", ["postgresVacuum", "postgresAnalyze", "postgresReindex"])
async def test_the_grant_that_is_advised_is_the_one_that_helps(shop: Database, bench: Bench, name: str) -> None:
    # given a role that may only connect
    shop.execute("REVOKE upkeep FROM reader")
    bench.connect_postgres(shop.server, database=shop.name, user="reader")
    # when it looks after a table of somebody else
    refused = await bench.step(_action(name, {"tables": ["orders"]}))
    # then it hears what to execute: the right to maintain this table from 17 on, before the role that owns it
    advised = re.search(r"GRANT [^:;]* TO reader", refused.message.replace('"', ""))
    assert refused.outcome is Outcome.FAILED
    assert advised is not None, refused.message
    maintain = int(shop.value("SHOW server_version_num")) >= 170000
    assert advised[0] == ("GRANT MAINTAIN ON public.orders TO reader" if maintain else "GRANT upkeep TO reader")
    # and with that it works
    with shop.session() as superuser:
        superuser.execute(advised[0].encode())
    helped = await bench.step(_action(name, {"tables": ["orders"]}))
    assert helped.outcome is Outcome.CHANGED, helped.message
    shop.execute("REVOKE upkeep FROM reader")


async def test_the_role_of_maintainers_is_enough_where_there_is_one(shop: Database, bench: Bench) -> None:
    if int(shop.value("SHOW server_version_num")) < 170000:
        assert shop.value("SELECT count(*) FROM pg_roles WHERE rolname = 'pg_maintain'") == 0
        return
    shop.execute("REVOKE upkeep FROM reader", "GRANT pg_maintain TO reader")
    bench.connect_postgres(shop.server, database=shop.name, user="reader")
    names = ("postgresVacuum", "postgresAnalyze", "postgresReindex")
    report = await bench.report(*(_action(name, {}) for name in names))
    shop.execute("REVOKE pg_maintain FROM reader")
    assert [step.outcome for step in report.steps] == [Outcome.CHANGED] * 3, report.steps


_TREATED: Final = {
    "postgresVacuum": "SELECT string_agg(relname, ' ') FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL",
    "postgresAnalyze": "SELECT string_agg(relname, ' ') FROM pg_stat_user_tables WHERE last_analyze IS NOT NULL",
}


@pytest.mark.parametrize("name", _TREATED)
async def test_tables_that_inherit_are_not_treated_along(shop: Database, bench: Bench, name: str) -> None:
    # given a table that inherits from another, which VACUUM and ANALYZE of 18 treat along
    shop.as_owner("CREATE TABLE past_orders () INHERITS (orders)", "INSERT INTO past_orders VALUES (1, 1, 'x')")
    bench.connect_postgres(shop.server, database=shop.name)
    # when only the other one is named
    step = await bench.step(_action(name, {"tables": ["orders"]}))
    # then only that one is treated
    assert step.outcome is Outcome.CHANGED, step.message
    assert shop.value(_TREATED[name]) == "orders"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("postgresReindex", {"tables": ["orders"]}), ("postgresApplyIndexes", {"indexes": [_INDEX]})],
)
async def test_a_cancelled_run_leaves_no_query_and_no_invalid_index(
    shop: Database, bench: Bench, name: str, parameters: dict[str, object]
) -> None:
    # given an index in the making, which waits for a transaction with an old snapshot
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    making = "SELECT count(*) FROM pg_stat_progress_create_index"
    bench.connect_postgres(shop.server, database=shop.name)
    with shop.session() as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        run = asyncio.create_task(bench.report(_action(name, parameters)))
        await eventually(lambda: shop.value(invalid))
        # when the run is cancelled, and the transaction ends
        run.cancel()
        await eventually(lambda: not shop.value(making))
        other.execute("COMMIT")
        report = await run
    # then nothing is left of it
    assert "SIGTERM" in report.message
    assert shop.value(invalid) == 0
    assert (
        shop.value("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid AND c.relname = 'orders'")
        == 1
    )


async def test_counters_that_a_crash_has_lost_are_too_young(shop: Database, bench: Bench) -> None:
    # given a server on which a process was killed, so that all start anew and the counters are gone
    bench.connect_postgres(shop.server, database=shop.name)
    shop.execute("SELECT pg_stat_reset()")
    with closing(shop.session()) as victim:
        os.kill(victim.info.backend_pid, signal.SIGKILL)
    await eventually(lambda: _answers(shop))
    # when unused indexes are looked for
    step = await bench.step(_action("postgresUnusedIndexes", {"minDays": 1}))
    # then nothing is called unused
    assert step.outcome is Outcome.UNKNOWN
    assert "counts for 0.0 days only" in step.message


def _answers(database: Database) -> bool:
    try:
        return bool(database.value("SELECT 1"))
    except psycopg.OperationalError:
        return False


async def test_a_standby_is_counted_seen_and_never_written_to(shop: Database, bench: Bench) -> None:
    # given a standby that follows
    shop.as_owner("CREATE INDEX by_note ON orders (note)")
    with postgres.running_standby(shop.server) as standby:
        await eventually(lambda: shop.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))
        bench.connect_postgres(shop.server, database=shop.name, user="keeper")
        # when the primary is looked at, the standby is there, and unused is only what the standby does not use either
        seen = await bench.step(_action("postgresReplication", {"minStandbys": 1}))
        assert seen.message.startswith("1 standbys stream"), seen.message
        blind = await bench.step(_action("postgresUnusedIndexes", {"minDays": 0}))
        assert blind.outcome is Outcome.UNKNOWN
        assert "1 standby may use what the primary does not" in blind.message
        # when the standby is looked at, checks work and writers refuse
        target = {
            "host": standby.host,
            "port": standby.port,
            "database": shop.name,
            "secretRef": {"name": "db-secret"},
        }
        bench.connections[:] = [Connection.model_validate({"name": "db", "postgres": target})]
        bench.secret("db", username="keeper", password=PASSWORD)
        follows = await bench.step(_action("postgresReplication", {}))
        assert follows.message.startswith("a standby that streams"), follows.message
        for name in ("postgresVacuum", "postgresAnalyze", "postgresReindex", "postgresApplyIndexes", "postgresPurge"):
            refused = await bench.step(_action(name, SHOWS[name].parameters))
            assert refused.outcome is Outcome.FAILED
            assert "is a standby (in recovery)" in refused.message
            assert refused.message.endswith("let the connection point to the primary")


async def test_foreign_keys_that_are_not_enforced_do_not_matter(shop: Database, bench: Bench) -> None:
    # given a foreign key with ON DELETE CASCADE that 18 need not enforce
    shop.as_owner(_REFERRING)
    cascading = f"{_KEY} ON DELETE CASCADE"
    if int(shop.value("SHOW server_version_num")) < 180000:
        with pytest.raises(psycopg.errors.SyntaxError):
            shop.as_owner(f"{cascading} NOT ENFORCED")
        return
    shop.as_owner(f"{cascading} NOT ENFORCED", "ANALYZE lines")
    bench.connect_postgres(shop.server, database=shop.name, user="keeper")
    # when rows are deleted and indexes are missed, then it is no obstacle and no finding
    report = await bench.report(
        _action("postgresMissingIndexes", {"minRows": 1000}), _action("postgresPurge", {**_OLD, "dryRun": False})
    )
    assert report.findings == []
    assert [step.outcome for step in report.steps] == [Outcome.OK, Outcome.CHANGED], report.steps


def test_what_is_named_differently_is_found_by_its_name(shop: Database) -> None:
    """Checkpoints and the times of pg_stat_statements, as the report reads them."""
    with shop.session() as connection:
        version = Version(connection.info.server_version)
        checkpoints = connection.execute(version.checkpoints)
        names = [column.name for column in checkpoints.description or []]
        assert names == ["timed", "requested", "write_seconds", "sync_seconds", "buffers", "since"]
        assert len(checkpoints.fetchall()) == 1
        row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements'").fetchone()
        assert row is not None
        reading, writing = block_times(row[0])
        connection.execute(SQL("SELECT {} + {} FROM pg_stat_statements s").format(SQL(reading), SQL(writing)))


@pytest.fixture(scope="module")
def corrupting() -> Iterator[Postgres]:
    with postgres.running_postgres(version="14.3") as server:
        yield server


async def test_a_server_that_corrupts_indexes_makes_none_concurrently(corrupting: Postgres, bench: Bench) -> None:
    with corrupting.database("shop") as database:
        database.as_owner("CREATE TABLE orders (id int PRIMARY KEY, note text)", "INSERT INTO orders VALUES (1, 'x')")
        bench.connect_postgres(corrupting, database="shop")
        rebuilt = await bench.step(_action("postgresReindex", {}))
        made = await bench.step(_action("postgresApplyIndexes", {"indexes": [_INDEX]}))
        in_place = await bench.step(_action("postgresReindex", {"concurrently": False, "allowDowntime": True}))
    for refused in (rebuilt, made):
        assert refused.outcome is Outcome.FAILED
        assert "update it to 14.4 or later" in refused.message
    assert in_place.outcome is Outcome.CHANGED, in_place.message
