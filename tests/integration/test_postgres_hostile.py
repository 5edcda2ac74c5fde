"""Every action where everything is named by an enemy: database, role, schema, table, column, index, application."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest
from psycopg import sql

from integration import postgres
from integration.bench import Bench, eventually
from integration.postgres import PASSWORD, Database, Postgres
from upkeep.actions import registry
from upkeep.actions.contract import Action, Outcome
from upkeep.domain.report import RunReport

_NAMES = (
    "'; DROP TABLE orders; --",
    '"; DROP TABLE orders; --',
    "-orders",
    "größe 表 🐘",
    "%s %(oid)s {} {0}",
    "host=127.0.0.9 dbname=postgres",
    "line\nbreak\ttab\x1b[31m",
    "*",
    "x" * 63,
    "public.orders",
)
_ACTIONS: dict[str, dict[str, object]] = {
    "postgresVacuum": {},
    "postgresAnalyze": {},
    "postgresReindex": {},
    "postgresDeadTuples": {"minDeadRows": 1},
    "postgresBloat": {"minSizeMebibytes": 0},
    "postgresUnusedIndexes": {"minDays": 0, "minSizeMebibytes": 0},
    "postgresMissingIndexes": {"minRows": 0},
    "postgresSlowQueries": {"warningAfter": "0s"},
    "postgresConnections": {"warningPercent": 0},
    "postgresWraparound": {"warningAge": 1, "criticalAge": 1},
    "postgresReplication": {},
    "postgresWalArchive": {},
    "postgresQuery": {"sql": "SELECT current_database()", "minRows": 1},
    "postgresReady": {},
    "postgresLocks": {"warningAfter": "0s"},
    "postgresLongTransactions": {"warningAfter": "0s"},
    "postgresKillQueries": {"olderThan": "0s", "dryRun": True},
    "postgresReport": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A database full of one name; `orders` in the schema public is what must survive."""

    database: Database
    name: str

    def rows(self) -> int:
        return int(self.database.value("SELECT count(*) FROM public.orders"))

    def sessions(self) -> int:
        return int(self.database.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'upkeep'"))


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    with postgres.running_postgres("shared_preload_libraries=pg_stat_statements") as server:
        yield server


@pytest.fixture(scope="module", params=_NAMES, ids=ascii)
def world(request: pytest.FixtureRequest, postgres_server: Postgres) -> Iterator[World]:
    name = request.param
    word = sql.Identifier(name)
    with postgres_server.database(name) as database:
        with postgres_server.connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(word, PASSWORD))
            connection.execute(sql.SQL("GRANT pg_monitor, pg_signal_backend, pg_read_all_data TO {}").format(word))
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(word, word))
        database.execute("CREATE TABLE public.orders AS SELECT generate_series(1, 10) AS id")
        with database.session() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(word, word))
            connection.execute(sql.SQL("CREATE EXTENSION pg_stat_statements SCHEMA {}").format(word))
        with database.session(user=name) as connection:
            for statement in (
                "CREATE TABLE {0}.{0} ({0} int PRIMARY KEY, parent int)",
                "INSERT INTO {0}.{0} SELECT g FROM generate_series(1, 2000) g",
                "ALTER TABLE {0}.{0} ADD CONSTRAINT {0} FOREIGN KEY (parent) REFERENCES {0}.{0}",
                "CREATE INDEX {1} ON {0}.{0} (parent)",
                "DELETE FROM {0}.{0} WHERE {0} > 1000",
            ):
                connection.execute(sql.SQL(statement).format(word, sql.Identifier(f"i{name}"[:63])))
        database.execute("ANALYZE")
        yield World(database=database, name=name)
    with postgres_server.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(word))


def _action(name: str, parameters: dict[str, object]) -> Action:
    return registry.find(name).model_validate({"connection": "db", **parameters})


async def _reported(world: World, bench: Bench, action: Action) -> RunReport:
    """While a session of the enemy waits for the lock of another, which has a name of his as well."""
    bench.connect_postgres(world.database.server, database=world.name, user=world.name)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    server, application = world.database.server, world.name
    blocked = sql.SQL("SELECT 'secret' FROM {0}.{0} FOR UPDATE").format(sql.Identifier(world.name)).as_string()
    with ExitStack() as stack:
        if action.action_name in {"postgresLocks", "postgresLongTransactions", "postgresKillQueries"}:
            holder = server.connect(database=world.name, user=world.name, application=application)
            stack.enter_context(closing(holder))
            holder.execute("BEGIN")
            holder.execute(blocked.encode())
            stack.enter_context(world.database.executing(blocked, user=world.name, application=application))
            await eventually(lambda: world.database.value(waiting))
        return await bench.report(action)


@pytest.mark.parametrize("name", _ACTIONS)
async def test_a_hostile_name_is_only_a_name(world: World, bench: Bench, name: str) -> None:
    report = await _reported(world, bench, _action(name, _ACTIONS[name]))
    # it works as with any other name
    (step,) = report.steps
    assert step.outcome.good, step.message
    # nothing was executed that a name contained, and nothing is left running
    assert world.rows() == 10
    await eventually(lambda: world.sessions() == 0)
    # what people read cannot move their cursor, nor does it quote a value
    shown = [step.message, *(text for found in report.findings for text in (found.object, found.recommendation))]
    assert not [text for text in shown if not text.isprintable()]
    assert "secret" not in " ".join(shown)


async def test_an_index_of_a_hostile_name_is_made_once(world: World, bench: Bench) -> None:
    bench.connect_postgres(world.database.server, database=world.name, user=world.name)
    index = {"name": f"made {world.name}"[:63], "table": f"{world.name}.{world.name}", "columns": [world.name]}
    action = _action("postgresApplyIndexes", {"indexes": [index]})
    made, there = await bench.step(action), await bench.step(action)
    assert (made.outcome, there.outcome) == (Outcome.CHANGED, Outcome.OK), made.message
    assert world.rows() == 10


async def test_rows_of_a_table_of_a_hostile_name_are_purged(world: World, bench: Bench) -> None:
    bench.connect_postgres(world.database.server, database=world.name, user=world.name)
    table = sql.Identifier(world.name)
    select = sql.SQL("SELECT {0} FROM {0}.{0} WHERE {0} <= 3").format(table).as_string()
    parameters = {"table": f"{world.name}.{world.name}", "key": world.name, "select": select, "allowCascade": True}
    counted = await bench.step(_action("postgresPurge", parameters))
    assert counted.outcome is Outcome.OK, counted.message
    deleted = await bench.step(_action("postgresPurge", {**parameters, "dryRun": False}))
    assert deleted.outcome.good, deleted.message
    assert world.rows() == 10


def test_every_action_meets_the_enemy() -> None:
    known = {name for name, action in registry.actions().items() if name.startswith("postgres") and not action.internal}
    assert {*_ACTIONS, "postgresApplyIndexes", "postgresPurge"} == known
