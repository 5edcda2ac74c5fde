"""Servers that live as long as the test session, and what a step needs to reach them."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import postgres, redisserver
from integration.bench import Bench

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def standby(postgres_server: postgres.Postgres) -> Iterator[postgres.Postgres]:
    with postgres.running_standby(postgres_server) as server:
        yield server


@pytest.fixture
def database(postgres_server: postgres.Postgres) -> Iterator[postgres.Database]:
    with postgres_server.database(f"shop_{next(_NUMBERS)}") as database:
        yield database


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redisserver.RedisServer]:
    with redisserver.running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[list[redisserver.RedisServer]]:
    with redisserver.running_cluster() as servers:
        yield servers


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
