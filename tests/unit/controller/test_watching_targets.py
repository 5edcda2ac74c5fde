"""Of all the Ingresses and routes of a cluster only those are kept that have to do with maintenance."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.resources import HTTP_ROUTES, INGRESSES, JOBS, TARGETS, WINDOWS, Resource
from upkeep.controller.queue import WorkQueue
from upkeep.controller.watches import Observer
from upkeep.domain.byhand import REQUEST_ANNOTATION, SERVED_ANNOTATION
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import MODE_LABEL
from upkeep.resources.window import by_hand_window

NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)
KINDS: Final = list(TARGETS.values())


def shop(resource: Resource) -> Key:
    return Key(resource.plural, "team", "shop")


class Sight:
    """What is seen, kept, and waits for a decision."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue = WorkQueue(clock=lambda: NOW, monotonic=lambda: 0.0)
        self._observer = Observer(self.cache, self.queue, monotonic=lambda: 0.0)
        self._version = 0

    def sees(self, resource: Resource, *, deleted: bool = False, **metadata: Any) -> None:  # noqa: ANN401 - any JSON
        self._version += 1
        named = {"name": "shop", "namespace": "team", "resourceVersion": str(self._version), **metadata}
        self._observer.seen(resource, {"metadata": named, "spec": {}}, deleted=deleted)

    def sees_window_of(self, resource: Resource) -> None:
        owner = Identity(kind=resource.kind, namespace="team", name="shop", uid="uid")
        version = resource.api_version
        window = by_hand_window(owner, api_version=version, request="30m", duration=datetime.resolution)
        window["metadata"] |= {"resourceVersion": "1", "uid": "uid-window"}
        self._observer.seen(WINDOWS, window)

    async def waiting(self) -> list[Key]:
        return [await self.queue.take() for _ in range(len(self.queue))]


@pytest.fixture
def sight() -> Sight:
    return Sight()


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_of_thousands_of_others_nothing_is_kept(sight: Sight, resource: Resource) -> None:
    for number in range(3000):
        sight.sees(resource, name=f"other-{number}", annotations={"theirs": "1"}, labels={"theirs": "1"})
        sight.sees(resource, name=f"other-{number}", deleted=True)

    assert len(sight.cache) == 0
    assert await sight.waiting() == []


@pytest.mark.parametrize("annotation", [REQUEST_ANNOTATION, SERVED_ANNOTATION])
@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_what_is_asked_for_by_hand_is_kept_for_as_long_as_it_is(
    sight: Sight, resource: Resource, annotation: str
) -> None:
    sight.sees(resource, annotations={annotation: "30m"})
    assert shop(resource) in sight.cache
    assert await sight.waiting() == [shop(resource)]
    sight.queue.done(shop(resource))

    sight.sees(resource)

    assert shop(resource) not in sight.cache
    assert await sight.waiting() == [shop(resource)], "that it is over is news too"


async def test_what_is_in_maintenance_mode_is_kept_where_nobody_else_asks_for_it(sight: Sight) -> None:
    sight.sees(INGRESSES, labels={MODE_LABEL: "on"})
    sight.sees(HTTP_ROUTES, labels={MODE_LABEL: "on"})

    assert shop(INGRESSES) in sight.cache
    assert shop(HTTP_ROUTES) not in sight.cache


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
async def test_a_window_by_hand_leads_back_to_its_target(sight: Sight, resource: Resource) -> None:
    sight.sees_window_of(resource)

    assert shop(resource) in await sight.waiting()


async def test_a_window_that_belongs_to_something_else_leads_nowhere(sight: Sight) -> None:
    sight.sees_window_of(JOBS)

    (waiting,) = await sight.waiting()
    assert waiting.plural == WINDOWS.plural
