"""Of all the Ingresses of a cluster only those are kept that have to do with maintenance."""

from datetime import UTC, datetime
from typing import Any, Final

import pytest

from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.resources import INGRESSES, WINDOWS
from upkeep.controller.queue import WorkQueue
from upkeep.controller.watches import Observer
from upkeep.domain.byhand import REQUEST_ANNOTATION, SERVED_ANNOTATION
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import MODE_LABEL
from upkeep.resources.window import by_hand_window

SHOP: Final = Key(INGRESSES.plural, "team", "shop")
NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)


class Sight:
    """What is seen, kept, and waits for a decision."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue = WorkQueue(clock=lambda: NOW, monotonic=lambda: 0.0)
        self._observer = Observer(self.cache, self.queue, monotonic=lambda: 0.0)
        self._version = 0

    def sees(self, *, deleted: bool = False, **metadata: Any) -> None:  # noqa: ANN401 - any JSON
        self._version += 1
        named = {"name": "shop", "namespace": "team", "resourceVersion": str(self._version), **metadata}
        self._observer.seen(INGRESSES, {"metadata": named, "spec": {}}, deleted=deleted)

    def sees_window(self, ingress: str) -> None:
        owner = Identity(kind="Ingress", namespace="team", name=ingress, uid="uid")
        window = by_hand_window(owner, request="30m", duration=datetime.resolution)
        window["metadata"] |= {"resourceVersion": "1", "uid": "uid-window"}
        self._observer.seen(WINDOWS, window)

    async def waiting(self) -> list[Key]:
        return [await self.queue.take() for _ in range(len(self.queue))]


@pytest.fixture
def sight() -> Sight:
    return Sight()


async def test_of_thousands_of_others_nothing_is_kept(sight: Sight) -> None:
    for number in range(3000):
        sight.sees(name=f"other-{number}", annotations={"theirs": "1"}, labels={"theirs": "1"})
        sight.sees(name=f"other-{number}", deleted=True)

    assert len(sight.cache) == 0
    assert await sight.waiting() == []


@pytest.mark.parametrize(
    "mark",
    [
        {"annotations": {REQUEST_ANNOTATION: "30m"}},
        {"annotations": {SERVED_ANNOTATION: "30m"}},
        {"labels": {MODE_LABEL: "on"}},
    ],
    ids=["asked for by hand", "served by hand", "in maintenance mode"],
)
async def test_what_concerns_us_is_kept_for_as_long_as_it_does(sight: Sight, mark: dict[str, Any]) -> None:
    sight.sees(**mark)
    assert SHOP in sight.cache
    assert await sight.waiting() == [SHOP]
    sight.queue.done(SHOP)

    sight.sees()

    assert SHOP not in sight.cache
    assert await sight.waiting() == [SHOP], "that it is over is news too"


async def test_a_window_by_hand_leads_back_to_its_ingress(sight: Sight) -> None:
    sight.sees_window("shop")

    assert SHOP in await sight.waiting()
