"""Servers that live as long as the test session, and what a step needs to reach them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integration import postgres, redisserver
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action, Context, Finding
from upkeep.domain.order import OrderedStep, RunOrder
from upkeep.domain.report import RunReport, StepReport
from upkeep.runner.run import execute

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


class Bench:
    """What surrounds a step in a Pod: connections, mounted credentials and a scratch directory."""

    def __init__(self, directory: Path) -> None:
        self.credentials = directory / "credentials"
        self.scratch = directory / "scratch"
        self.connections: list[Connection] = []
        self.scratch.mkdir(parents=True)
        self.credentials.mkdir()

    def secret(self, name: str, **keys: str) -> None:
        """Mount a Secret; a key `ca_crt` becomes the file `ca.crt`."""
        (self.credentials / name).mkdir(exist_ok=True)
        for key, value in keys.items():
            (self.credentials / name / key.replace("_", ".")).write_text(value)

    def connect_postgres(self, server: postgres.Postgres, *, database: str = "postgres", **changes: Any) -> str:
        """The connection `db` with its Secret; returns its name. `user` and `password` may be changed too."""
        user, password = changes.pop("user", "upkeep"), changes.pop("password", postgres.PASSWORD)
        target = {
            "host": server.host,
            "port": server.port,
            "database": database,
            "secretRef": {"name": "db-secret"},
            **changes,
        }
        self.connections.append(Connection.model_validate({"name": "db", "postgres": target}))
        self.secret("db", username=user, password=password)
        return "db"

    def connect_redis(self, server: redisserver.RedisServer, **changes: Any) -> str:
        """The connection `cache` with its Secret; returns its name."""
        target = {"host": server.host, "port": server.port, "secretRef": {"name": "cache-secret"}, **changes}
        self.connections.append(Connection.model_validate({"name": "cache", "redis": target}))
        self.secret("cache", password=redisserver.PASSWORD)
        return "cache"

    def order(self, *actions: Action, timeout: float = 60) -> RunOrder:
        """An order with one step for each action."""
        return RunOrder(
            owner="MaintenanceTask/shop/nightly",
            timeout=timedelta(seconds=timeout),
            steps=[
                OrderedStep(name=f"step-{number}", action_name=action.action_name, action=action)
                for number, action in enumerate(actions, start=1)
            ],
            connections=self.connections,
        )

    def context(self, *, remaining: float = 60) -> Context:
        """The context that the runner would hand to an action."""
        return Context(
            connections={connection.name: connection for connection in self.connections},
            credentials=self.credentials,
            scratch=self.scratch,
            remaining=remaining,
        )

    async def report(self, *actions: Action, timeout: float = 60) -> RunReport:
        """Run the actions as the runner does."""
        return await execute(self.order(*actions, timeout=timeout), credentials=self.credentials, scratch=self.scratch)

    async def step(self, action: Action, *, timeout: float = 60) -> StepReport:
        """Run one action as the runner does."""
        report = await self.report(action, timeout=timeout)
        return report.steps[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
