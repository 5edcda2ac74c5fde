"""What surrounds a step in a Pod, made of real files."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from integration import postgres, redisserver, s3server
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action, Context, Previous
from upkeep.domain.order import OrderedStep, RunOrder
from upkeep.domain.report import RunReport, StepReport
from upkeep.runner.run import execute

if TYPE_CHECKING:
    from upkeep.actions.backup.origin import Origin

_PATIENCE_SECONDS: Final = 15


class Bench:
    """What surrounds a step in a Pod: connections, mounted credentials and a scratch directory."""

    def __init__(self, directory: Path) -> None:
        self.credentials = directory / "credentials"
        self.scratch = directory / "scratch"
        self.volumes = directory / "volumes"
        self.connections: list[Connection] = []
        self.origins: list[Origin] = []
        self.scratch.mkdir(parents=True)
        self.credentials.mkdir()

    def secret(self, name: str, **keys: str) -> None:
        """Mount a Secret; a key `ca_crt` becomes the file `ca.crt`."""
        (self.credentials / name).mkdir(exist_ok=True)
        for key, value in keys.items():
            (self.credentials / name / key.replace("_", ".")).write_text(value)

    def connect_postgres(self, server: postgres.Postgres, *, database: str = "postgres", **changes: object) -> str:
        """The connection `db` with its Secret; returns its name. `user` and `password` may be changed too."""
        user, password = str(changes.pop("user", "upkeep")), str(changes.pop("password", postgres.PASSWORD))
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

    def connect_redis(self, server: redisserver.RedisServer, **changes: object) -> str:
        """The connection `cache` with its Secret; returns its name."""
        target = {"host": server.host, "port": server.port, "secretRef": {"name": "cache-secret"}, **changes}
        self.connections.append(Connection.model_validate({"name": "cache", "redis": target}))
        self.secret("cache", password=redisserver.PASSWORD)
        return "cache"

    def connect_http(self, url: str, **keys: str) -> str:
        """The connection `shop`, with a Secret where keys are given; returns its name."""
        target = {"url": url} | ({"secretRef": {"name": "shop-secret"}} if keys else {})
        self.connections.append(Connection.model_validate({"name": "shop", "http": target}))
        if keys:
            self.secret("shop", **keys)
        return "shop"

    def connect_prometheus(self, url: str, **keys: str) -> str:
        """The connection `metrics`, with a Secret where keys are given; returns its name."""
        target = {"url": url} | ({"secretRef": {"name": "metrics-secret"}} if keys else {})
        self.connections.append(Connection.model_validate({"name": "metrics", "prometheus": target}))
        if keys:
            self.secret("metrics", **keys)
        return "metrics"

    def connect_tls(self, *, keys: dict[str, str] | None = None, **target: object) -> str:
        """The connection `site`, with a Secret where keys are given (`tls.crt`, `tls.key`, `ca.crt`)."""
        secret = {"secretRef": {"name": "site-tls"}} if keys is not None else {}
        self.connections.append(Connection.model_validate({"name": "site", "tls": target | secret}))
        (self.credentials / "site").mkdir(exist_ok=True)
        for key, value in (keys or {}).items():
            (self.credentials / "site" / key).write_text(value)
        return "site"

    def connect_volume(self) -> Path:
        """The connection `logs`; returns the directory of its volume."""
        self.connections.append(Connection.model_validate({"name": "logs", "volume": {"claimName": "shop-logs"}}))
        directory = self.volumes / "logs"
        directory.mkdir(parents=True)
        return directory

    def as_redis_user(self, server: redisserver.RedisServer, *rules: str) -> None:
        """Let the connection `cache` use a user that may do only what the rules of its ACL allow."""
        password = "watcher-password"  # noqa: S105 - of a user that lives for one test
        server.command("ACL", "SETUSER", "watcher", "reset", "on", f">{password}", *rules)
        self.secret("cache", username="watcher", password=password)

    def repository_secret(self, password: str = "repository-password") -> Path:  # noqa: S107 - of test repositories
        """Mount the Secret of a restic repository; returns the file with the password."""
        self.secret("repository", password=password)
        return self.credentials / "repository" / "password"

    def storage_secret(self, **changes: str) -> None:
        """Mount the Secret of the S3 server; a key that is changed to an empty text is left out."""
        keys = {"accessKeyId": s3server.ACCESS_KEY, "secretAccessKey": s3server.SECRET_KEY, **changes}
        directory = self.credentials / "storage"
        directory.mkdir(exist_ok=True)
        for key, value in keys.items():
            (directory / key).unlink(missing_ok=True)
            if value:
                (directory / key).write_text(value)

    @contextmanager
    def small_scratch(self) -> Iterator[None]:
        """A scratch volume of one MiB, for as long as the context."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "scratch", self.scratch], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", self.scratch], check=True)

    @contextmanager
    def unreadable(self, path: Path) -> Iterator[None]:
        """A file that even root cannot read, for as long as the context."""
        path.touch()
        subprocess.run(["mount", "--bind", "/proc/self/mem", path], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", path], check=True)

    def order(self, *actions: Action, seconds: float = 60) -> RunOrder:
        """An order with one step for each action."""
        return RunOrder(
            owner="MaintenanceTask/shop/nightly",
            timeout=timedelta(seconds=seconds),
            steps=[
                OrderedStep(name=f"step-{number}", action_name=action.action_name, action=action)
                for number, action in enumerate(actions, start=1)
            ],
            connections=self.connections,
            origins=self.origins,
        )

    def context(self, *, remaining: float = 60, previous: Previous | None = None) -> Context:
        """The context that the runner would hand to an action."""
        return Context(
            connections={connection.name: connection for connection in self.connections},
            credentials=self.credentials,
            scratch=self.scratch,
            volumes=self.volumes,
            remaining=remaining,
            previous=previous,
        )

    async def report(self, *actions: Action, seconds: float = 60) -> RunReport:
        """Run the actions as the runner does."""
        order = self.order(*actions, seconds=seconds)
        return await execute(order, credentials=self.credentials, scratch=self.scratch, volumes=self.volumes)

    async def next_report(self, action: Action, last: RunReport, *, seconds: float = 60) -> RunReport:
        """Run the action as the next run of its task does: with what its last report has left."""
        order = self.order(action, seconds=seconds)
        left = Previous(time=datetime.now(UTC), values=last.steps[0].memory)
        steps = [step.model_copy(update={"previous": left}) for step in order.steps]
        order = RunOrder.decode(order.model_copy(update={"steps": steps}).encode())
        return await execute(order, credentials=self.credentials, scratch=self.scratch, volumes=self.volumes)

    async def step(self, action: Action, *, seconds: float = 60) -> StepReport:
        """Run one action as the runner does."""
        report = await self.report(action, seconds=seconds)
        return report.steps[0]


@contextmanager
def small_volume(directory: Path) -> Iterator[None]:
    """A file system of one MiB at the directory, for as long as the context."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "logs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@contextmanager
def powerless() -> Iterator[None]:
    """This process as user and group 65532, as a Pod is, for as long as the context."""
    os.setegid(65532)
    os.seteuid(65532)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def being_read(path: Path) -> bool:
    """Whether this process has the file open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if descriptor.readlink() == path:
                return True
    return False


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something that happens elsewhere has happened."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a server in another process sets no event of ours
            await asyncio.sleep(0.02)
