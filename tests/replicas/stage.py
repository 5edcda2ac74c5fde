"""A fake cluster with operators on it: where a test plays.

It exists so that many plays can run side by side, each with a cluster, a directory and processes of its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fakeapi.audit import Entry
from fakeapi.objects import Json
from fakeapi.resources import KUBERNETES, UPKEEP, ResourceType
from fakeapi.server import FakeCluster
from replicas.replica import NAMESPACE, PATIENCE, Household, Nursery
from upkeep.controller.watches import WATCHED

TEAM: Final = "team"
"""The namespace in which everything plays."""
MANAGER: Final = "upkeep"
REPORT: Final = '{"outcome":"ok","message":"all is well"}'
"""What a run says that went well."""


class Calendar:
    """The clock of a fake cluster, which may show the past for a while: what is created then is old."""

    def __init__(self) -> None:
        self.ago = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.ago


@dataclass(frozen=True, slots=True)
class Stage:
    """A cluster, the processes on it, and what they do to it."""

    cluster: FakeCluster
    household: Household
    calendar: Calendar

    @property
    def writes(self) -> list[Entry]:
        """What operators wrote or tried to, without their Lease."""
        return [entry for entry in self.cluster.writes if entry.manager == MANAGER and entry.resource != "leases"]

    def created_long_ago(self, *objects: Json, ago: timedelta = timedelta(minutes=30)) -> None:
        """Create objects that are this old."""
        self.calendar.ago = ago
        try:
            for each in objects:
                self.cluster.create(each)
        finally:
            self.calendar.ago = timedelta(0)

    async def watched(self) -> None:
        """Wait until an operator watches all that it should.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(PATIENCE):
            while self.cluster.watches < len(WATCHED):  # noqa: ASYNC110 - the fake says nothing when a watch begins
                await asyncio.sleep(0.02)

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """The status of a resource of the team, empty where there is none yet."""
        found: dict[str, Any] = self.cluster.get(kind, TEAM, name).get("status") or {}
        return found

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """A condition of a resource of the team, empty where there is none yet."""
        conditions = self.status(kind, name).get("conditions", ())
        return next((dict(each) for each in conditions if each["type"] == condition), {})

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """The Events on a resource of the team, or on all."""
        found = self.cluster.list("events", TEAM)
        return [event for event in found if name in {"", event["involvedObject"]["name"]}]

    def started(self) -> list[Entry]:
        """The Jobs that were really created, also those that are gone."""
        return [
            entry for entry in self.writes if (entry.verb, entry.resource) == ("create", "jobs") and entry.committed
        ]


@contextlib.asynccontextmanager
async def opened(nursery: Nursery, directory: Path, *, others: tuple[ResourceType, ...] = ()) -> AsyncIterator[Stage]:
    """A fresh stage, whose cluster knows these kinds of others too; its processes die with it."""
    calendar = Calendar()
    async with FakeCluster(resources=(*KUBERNETES, *UPKEEP, *others), clock=calendar) as cluster:
        for name in (NAMESPACE, TEAM):
            cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        kubeconfig = _furnished(directory, cluster)
        async with Household(nursery, directory, kubeconfig) as household:
            yield Stage(cluster, household, calendar)


def _furnished(directory: Path, cluster: FakeCluster) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return cluster.kubeconfig(directory / "kubeconfig")


def resource(kind: str, name: str, spec: object, **metadata: object) -> Json:
    """A custom resource of the team."""
    return {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": TEAM, **metadata},
        "spec": spec,
    }


def instant(moment: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def in_seconds(seconds: float) -> str:
    """A moment from now, at the next whole second."""
    return instant(datetime.now(UTC) + timedelta(seconds=seconds + 1))
