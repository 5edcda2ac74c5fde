"""A server is ready when it answers as what it should be; after a restart one can wait for that."""

import asyncio

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database, Postgres
from lab.port import free_port
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.ready import PostgresReady


def ready(**parameters: object) -> PostgresReady:
    return PostgresReady.model_validate({"connection": "db", **parameters})


async def test_a_primary_answers(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, user="reader")
    step = await bench.step(ready(role="Primary", minVersion=14))
    assert step.outcome is Outcome.OK
    assert step.message.startswith("PostgreSQL ")
    assert ", primary, up for " in step.message
    assert step.metrics["standby"] == 0
    assert step.metrics["version"] >= 14


async def test_a_standby_answers_as_a_standby(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(ready(role="Standby"))
    assert step.outcome is Outcome.OK
    assert ", standby, up for " in step.message


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"role": "Standby"}, " is a primary, not a standby: check `host`"),
        ({"minVersion": 99}, ": upgrade it to 99 or later"),
    ],
)
async def test_what_is_not_as_it_should_be_fails(
    database: Database, bench: Bench, expected: dict[str, object], message: str
) -> None:
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(ready(**expected))
    assert step.outcome is Outcome.FAILED
    assert step.message.endswith(message)


async def test_a_standby_is_no_primary(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby)
    step = await bench.step(ready(role="Primary"))
    assert step.outcome is Outcome.FAILED
    assert " is a standby, not a primary" in step.message


async def test_a_primary_that_takes_no_writes_is_not_ready(database: Database, bench: Bench) -> None:
    database.execute(f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on')
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(ready(role="Primary"))
    assert step.message.endswith("is read only: set default_transaction_read_only = off")


async def test_where_nothing_listens_it_fails(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, port=free_port())
    step = await bench.step(ready())
    assert step.outcome is Outcome.FAILED
    assert "nothing listens there" in step.message


async def test_a_cancelled_run_waits_no_longer(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name, port=free_port())
    run = asyncio.create_task(bench.report(ready(within="1h")))
    await asyncio.sleep(0.2)
    run.cancel()
    report = await run
    assert (report.outcome, "SIGTERM" in report.message) == (Outcome.FAILED, True)


async def test_it_can_wait_until_the_server_is_ready(database: Database, bench: Bench) -> None:
    # given a database that takes no connections yet
    database.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 0')
    refused = "SELECT sum(sessions) FROM pg_stat_database"
    bench.connect_postgres(database.server, database=database.name)
    before = database.value(refused)
    run = asyncio.create_task(bench.step(ready(within="30s")))
    await eventually(lambda: database.value(refused) >= before)
    # when it does
    database.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT -1')
    # then so is the answer
    assert (await run).outcome is Outcome.OK
