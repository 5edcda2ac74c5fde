"""Routes are watched where a cluster knows them, from when it does, and whatever happens to the watches."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from kubernetes.aio.client.configuration import Configuration

from fakeapi.resources import KUBERNETES, ROUTES, UPKEEP
from fakeapi.server import FakeCluster
from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.client import Client
from upkeep.cluster.resources import HTTP_ROUTES, INGRESS_ROUTES, Resource
from upkeep.controller.queue import WorkQueue
from upkeep.controller.routes import RouteWatches
from upkeep.controller.watches import Observer
from upkeep.domain.byhand import REQUEST_ANNOTATION

TEAM: Final = "team"
OTHERS: Final = "others"
PATIENCE: Final = 20.0


class Watched:
    """A cluster, and what is known of its routes."""

    def __init__(self, cluster: FakeCluster, client: Client) -> None:
        self.cluster = cluster
        self._client = client
        self._cache = Cache()
        queue = WorkQueue(clock=lambda: datetime.now(UTC), monotonic=lambda: 0.0)
        self._observer = Observer(self._cache, queue, monotonic=lambda: 0.0)

    @contextlib.asynccontextmanager
    async def going_on(self, *namespaces: str, relist: float = 600.0) -> AsyncIterator[None]:
        """Watch meanwhile."""
        routes = RouteWatches(
            client=self._client,
            cache=self._cache,
            observer=self._observer,
            namespaces=namespaces,
            relist=relist,
            unknown_kind=0.05,
        )
        task = asyncio.create_task(routes.run())
        try:
            yield
            assert not task.done(), "nothing ends it"
        finally:
            task.cancel()
            await asyncio.wait([task])

    def requests(self, kind: Resource = HTTP_ROUTES) -> dict[str, str]:
        """What is known to be asked for, by name."""
        known = ((key, self._cache.get(key)) for key in self._cache.keys(kind))
        return {key.name: body["metadata"]["annotations"][REQUEST_ANNOTATION] for key, body in known if body}

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is known."""
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - a cache says nothing when it changes
                await asyncio.sleep(0.01)

    def known(self, key: Key) -> bool:
        """Whether something is known of a route."""
        return key in self._cache


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with FakeCluster(resources=(*KUBERNETES, *UPKEEP, *ROUTES)) as cluster:
        for name in (TEAM, OTHERS):
            cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        async with Client(Configuration(host=cluster.url)) as client:
            yield Watched(cluster, client)


def route(name: str, request: str | None = None, *, kind: Resource = HTTP_ROUTES, space: str = TEAM) -> dict[str, Any]:
    annotations = {REQUEST_ANNOTATION: request} if request else {}
    metadata = {"name": name, "namespace": space, "annotations": annotations}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {}}


def annotate(watched: Watched, name: str, request: str | None) -> None:
    watched.cluster.patch(HTTP_ROUTES.kind, TEAM, name, {"metadata": {"annotations": {REQUEST_ANNOTATION: request}}})


@pytest.mark.parametrize("kind", [HTTP_ROUTES, INGRESS_ROUTES], ids=lambda kind: kind.kind)
async def test_what_is_asked_for_is_known_before_and_after_the_watch_begins(watched: Watched, kind: Resource) -> None:
    watched.cluster.create(route("before", "30m", kind=kind))
    async with watched.going_on():
        await watched.until(lambda: watched.requests(kind) == {"before": "30m"})

        watched.cluster.create(route("after", "1h", kind=kind))
        watched.cluster.create(route("never", kind=kind))
        await watched.until(lambda: watched.requests(kind) == {"before": "30m", "after": "1h"})

        watched.cluster.delete(kind.kind, TEAM, "before")
        await watched.until(lambda: watched.requests(kind) == {"after": "1h"})


async def test_a_kind_that_a_cluster_learns_later_is_watched_from_then_on(watched: Watched) -> None:
    unknown = watched.cluster.faults.on("list", HTTP_ROUTES.plural, times=None).answer(404)
    watched.cluster.create(route("shop", "30m"))
    async with watched.going_on():
        await watched.until(lambda: unknown.fired > 2)
        watched.cluster.create(route("other", "1h", kind=INGRESS_ROUTES))
        await watched.until(lambda: watched.requests(INGRESS_ROUTES) == {"other": "1h"})
        assert watched.requests() == {}

        unknown.remove()

        await watched.until(lambda: watched.requests() == {"shop": "30m"})


async def test_watches_that_end_go_on_where_they_were_or_anew_where_that_is_forgotten(watched: Watched) -> None:
    watched.cluster.create(route("gone", "30m"))
    async with watched.going_on():
        await watched.until(lambda: watched.requests() == {"gone": "30m"})

        watched.cluster.end_watches()
        watched.cluster.create(route("first", "1h"))
        await watched.until(lambda: "first" in watched.requests())

        watched.cluster.end_watches()
        watched.cluster.delete(HTTP_ROUTES.kind, TEAM, "gone")
        annotate(watched, "first", "2h")
        watched.cluster.compact()
        await watched.until(lambda: watched.requests() == {"first": "2h"})


async def test_what_no_watch_tells_the_next_list_does(watched: Watched) -> None:
    watched.cluster.create(route("shop"))
    watched.cluster.faults.on_watch(HTTP_ROUTES.plural).lose()
    async with watched.going_on(relist=1.0):
        await watched.until(lambda: watched.cluster.watches == 2)

        annotate(watched, "shop", "30m")

        await watched.until(lambda: watched.requests() == {"shop": "30m"})


async def test_only_the_namespaces_that_are_served_are_watched(watched: Watched) -> None:
    watched.cluster.create(route("shop", "30m"))
    watched.cluster.create(route("theirs", "30m", space=OTHERS))

    async with watched.going_on(TEAM):
        await watched.until(lambda: watched.requests() == {"shop": "30m"})

        assert not watched.known(Key(HTTP_ROUTES.plural, OTHERS, "theirs"))


async def test_who_may_not_watch_is_told_once_and_goes_on_trying(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    refused = watched.cluster.faults.on("list", HTTP_ROUTES.plural, times=None).answer(403, message="not yours")
    async with watched.going_on():
        await watched.until(lambda: refused.fired > 0)
        watched.cluster.create(route("other", "1h", kind=INGRESS_ROUTES))

        await watched.until(lambda: watched.requests(INGRESS_ROUTES) == {"other": "1h"})

    assert ["httproutes are not watched" in record.message for record in caplog.records] == [True]
