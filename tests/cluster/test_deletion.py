"""Whatever is deleted while an Ingress shows the maintenance page: the Ingress comes back, and nothing hangs."""

from collections.abc import Iterator
from typing import Final

import pytest

from cluster.installation import Installation
from cluster.kubectl import Object
from cluster.manifests import ingress, script, service, soon, task, window
from cluster.server import NAMESPACES, Server
from cluster.space import PATIENCE, Space, own_space
from cluster.timing import Stopwatch, Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import DEPLOYMENTS, INGRESSES, PODS, WINDOWS
from upkeep.domain.identity import FINALIZER
from upkeep.domain.maintenance import semantically_equal
from upkeep.resources.page import COMPONENT, COMPONENT_LABEL

TOPIC: Final = "Deleted while the page is shown"
UNDO: Final = "upkeep.dev/undo"


@pytest.fixture
def place(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    with own_space(server) as made:
        yield made


@pytest.fixture
def before(place: Space) -> Object:
    """The Ingress `shop` as people made it."""
    place.make(service("shop", 8000), ingress("shop", host="deletion.localhost", service="shop"))
    return place.get(INGRESSES, "shop")


@pytest.fixture
def swapped(place: Space, before: Object, access: ClusterAccess) -> Object:  # noqa: ARG001 - it is there
    """The window `tonight`, once the Ingress is on its page; its plan does not end by itself."""
    slow = script(access.shop_image, "trap 'exit 143' TERM; sleep 300 & wait")
    place.make(
        task("slow", run_now="", job=slow),
        window(
            "tonight",
            startAt=soon(1),
            duration="1h",
            maintenanceMode={"targets": [{"kind": "Ingress", "name": "shop"}]},
            plan={"tasks": [{"name": "slow"}]},
        ),
    )
    assert "finalizers" not in place.get(WINDOWS, "tonight")["metadata"]
    until(lambda: _on_page(place), bool, what="the Ingress is on the page", seconds=60)
    return place.get(WINDOWS, "tonight")


def _on_page(place: Space) -> bool:
    found = place.server.find(INGRESSES, place.name, "shop")
    return found is not None and UNDO in found["metadata"].get("annotations", {})


def test_a_deleted_window_gives_the_ingress_back_and_takes_its_page_with_it(
    place: Space, before: Object, swapped: Object, timings: Timings
) -> None:
    assert swapped["metadata"]["finalizers"] == [FINALIZER]
    watch = Stopwatch()

    place.remove(WINDOWS, "tonight")

    until(lambda: _on_page(place), lambda on: not on, what="the Ingress is back", seconds=PATIENCE)
    timings.note(TOPIC, "window deleted: the Ingress is back", watch.stop())
    assert semantically_equal(before, place.get(INGRESSES, "shop"))
    until(
        lambda: place.server.find(WINDOWS, place.name, "tonight"),
        lambda left: left is None,
        what="the window is gone",
        seconds=2 * PATIENCE,
    )
    pages = f"{COMPONENT_LABEL}={COMPONENT}"
    until(
        lambda: (place.all(DEPLOYMENTS, selector=pages), place.all(PODS, selector=pages)),
        lambda left: left == ([], []),
        what="the page is gone",
        seconds=40,
    )


def test_a_deleted_namespace_does_not_hang(place: Space, swapped: Object, timings: Timings) -> None:
    assert swapped["metadata"]["finalizers"] == [FINALIZER]
    watch = Stopwatch()

    place.server.delete(NAMESPACES, None, place.name)

    until(
        lambda: place.server.find(NAMESPACES, None, place.name),
        lambda left: left is None,
        what="the namespace is gone",
        seconds=60,
    )
    timings.note(TOPIC, "namespace deleted: it is gone", watch.stop())


def test_an_ingress_that_was_made_anew_meanwhile_is_left_as_it_is(
    place: Space, before: Object, swapped: Object
) -> None:
    place.remove(INGRESSES, "shop")
    place.make(ingress("shop", host="deletion.localhost", service="shop"))

    place.remove(WINDOWS, swapped["metadata"]["name"])

    until(
        lambda: place.server.find(WINDOWS, place.name, "tonight"),
        lambda left: left is None,
        what="the window is gone",
        seconds=2 * PATIENCE,
    )
    anew = place.get(INGRESSES, "shop")
    assert semantically_equal(before, anew)
    assert "upkeep" not in {entry["manager"] for entry in anew["metadata"]["managedFields"]}
