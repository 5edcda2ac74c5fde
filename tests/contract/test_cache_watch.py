"""What an operator knows of the cluster, from lists and watches that overlap: never older than what it knew before."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from kubernetes.aio.client.configuration import Configuration

from fakeapi.faults import Rule
from fakeapi.server import FakeCluster
from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError, ForbiddenError
from upkeep.cluster.resources import TASKS
from upkeep.controller.listing import Lister
from upkeep.controller.queue import WorkQueue
from upkeep.controller.watches import Observer

EAST: Final = "east"
WEST: Final = "west"
PATIENCE: Final = 20.0


class Knowledge:
    """A cache that is fed by lists, and by watch events that a test delivers."""

    def __init__(self, client: Client, *namespaces: str) -> None:
        self.cache = Cache()
        self.queue = WorkQueue(clock=lambda: datetime.now(UTC), monotonic=lambda: 0.0)
        self.observer = Observer(self.cache, self.queue, monotonic=lambda: 0.0)
        self.lister = Lister(
            client=client, cache=self.cache, queue=self.queue, observer=self.observer, namespaces=namespaces
        )

    def value(self, name: str, namespace: str = EAST) -> str | None:
        """What is known of a task: its label `value`; None where it is not known."""
        known = self.cache.get(Key(TASKS.plural, namespace, name))
        label: str | None = known["metadata"]["labels"]["value"] if known else None
        return label


@pytest.fixture
async def client(fake_cluster: FakeCluster) -> AsyncIterator[Client]:
    for name in (EAST, WEST):
        fake_cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async with Client(Configuration(host=fake_cluster.url)) as client:
        yield client


def made(cluster: FakeCluster, name: str, namespace: str = EAST) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"value": "first"}}
    return cluster.create({"apiVersion": "upkeep.dev/v1alpha1", "kind": "MaintenanceTask", "metadata": metadata})


def changed(cluster: FakeCluster, name: str) -> dict[str, Any]:
    return cluster.patch("MaintenanceTask", EAST, name, {"metadata": {"labels": {"value": "second"}}})


async def test_a_list_tells_all_that_is_there_and_asks_for_a_decision_about_each(
    fake_cluster: FakeCluster, client: Client
) -> None:
    made(fake_cluster, "a")
    made(fake_cluster, "b", WEST)
    knowledge = Knowledge(client)

    await knowledge.lister.list_all()

    assert knowledge.value("a") == knowledge.value("b", WEST) == "first"
    assert len(knowledge.queue) == 2
    assert knowledge.lister.complete


async def test_only_the_namespaces_that_are_served_are_known(fake_cluster: FakeCluster, client: Client) -> None:
    made(fake_cluster, "a")
    made(fake_cluster, "b", WEST)
    knowledge = Knowledge(client, WEST)

    await knowledge.lister.list_all()

    assert knowledge.value("a") is None
    assert knowledge.value("b", WEST) == "first"


async def struck(rule: Rule) -> None:
    """Wait until a request is under way that a fault delays."""
    async with asyncio.timeout(PATIENCE):
        while not rule.fired:  # noqa: ASYNC110 - a fault says nothing when it strikes
            await asyncio.sleep(0.005)


async def test_a_watch_that_is_ahead_of_a_list_is_right(fake_cluster: FakeCluster, client: Client) -> None:
    """Given a list that is on its way while an object changes, and a watch event that comes first."""
    made(fake_cluster, "a")
    knowledge = Knowledge(client)
    late = fake_cluster.faults.on("list", TASKS.plural).delay(0.2, after_commit=True)
    listing = asyncio.create_task(knowledge.lister.list_all())
    await struck(late)

    knowledge.observer.seen(TASKS, changed(fake_cluster, "a"))
    await listing

    assert knowledge.value("a") == "second"


async def test_a_list_does_not_bring_back_what_a_watch_has_said_is_gone(
    fake_cluster: FakeCluster, client: Client
) -> None:
    body = made(fake_cluster, "a")
    knowledge = Knowledge(client)
    await knowledge.lister.list_all()
    late = fake_cluster.faults.on("list", TASKS.plural).delay(0.2, after_commit=True)
    listing = asyncio.create_task(knowledge.lister.list_all())
    await struck(late)

    fake_cluster.delete("MaintenanceTask", EAST, "a")
    gone = {**body, "metadata": {**body["metadata"], "resourceVersion": str(fake_cluster.version)}}
    knowledge.observer.seen(TASKS, gone, deleted=True)
    await listing

    assert knowledge.value("a") is None


async def test_what_was_made_during_a_list_is_not_taken_for_gone(fake_cluster: FakeCluster, client: Client) -> None:
    """Given a watch event of something new in the first namespace while the last one is listed."""
    knowledge = Knowledge(client, EAST, WEST)
    late = fake_cluster.faults.on("list", TASKS.plural, namespace=WEST).delay(0.2)
    listing = asyncio.create_task(knowledge.lister.list_all())
    await struck(late)

    knowledge.observer.seen(TASKS, made(fake_cluster, "new"))
    made(fake_cluster, "other", WEST)
    await listing

    assert knowledge.value("new") == "first"
    assert knowledge.value("other", WEST) == "first"


async def test_what_vanished_while_nobody_watched_is_gone_with_the_next_list(
    fake_cluster: FakeCluster, client: Client
) -> None:
    made(fake_cluster, "a")
    knowledge = Knowledge(client)
    await knowledge.lister.list_all()
    assert await knowledge.queue.take() == Key(TASKS.plural, EAST, "a")
    knowledge.queue.done(Key(TASKS.plural, EAST, "a"))

    fake_cluster.delete("MaintenanceTask", EAST, "a")
    await knowledge.lister.list_all()

    assert knowledge.value("a") is None
    assert await knowledge.queue.take() == Key(TASKS.plural, EAST, "a"), "somebody has to notice"


async def test_a_list_that_fails_half_way_forgets_nothing(fake_cluster: FakeCluster, client: Client) -> None:
    made(fake_cluster, "a")
    knowledge = Knowledge(client, EAST, WEST)
    await knowledge.lister.list_all()
    fake_cluster.delete("MaintenanceTask", EAST, "a")
    fake_cluster.faults.on("list", TASKS.plural, namespace=WEST).answer(500)

    with pytest.raises(ApiError):
        await knowledge.lister.list_all()

    assert knowledge.value("a") == "first"


async def test_an_object_that_is_made_anew_under_an_old_name_is_known(
    fake_cluster: FakeCluster, client: Client
) -> None:
    made(fake_cluster, "a")
    knowledge = Knowledge(client)
    await knowledge.lister.list_all()
    fake_cluster.delete("MaintenanceTask", EAST, "a")
    body = made(fake_cluster, "a")

    await knowledge.lister.list_all()

    known = knowledge.cache.get(Key(TASKS.plural, EAST, "a"))
    assert known
    assert known["metadata"]["uid"] == body["metadata"]["uid"]


async def test_no_first_list_is_no_reason_to_give_up_unless_somebody_has_to_act(
    fake_cluster: FakeCluster, client: Client
) -> None:
    made(fake_cluster, "a")
    knowledge = Knowledge(client)
    fake_cluster.faults.on("list", TASKS.plural, times=1).answer(503)

    await knowledge.lister.list_first()

    assert knowledge.value("a") == "first"
    fake_cluster.faults.on("list", TASKS.plural).answer(403, message="not yours")
    with pytest.raises(ForbiddenError, match="not yours"):
        await knowledge.lister.list_first()
