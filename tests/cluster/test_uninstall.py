"""Upkeep is uninstalled while users see a maintenance page: they are not left behind it."""

from collections.abc import Iterator
from typing import Final

import pytest

from cluster.installation import Installation
from cluster.kubectl import Object
from cluster.manifests import http_route, ingress, ingress_route, web_server, window
from cluster.space import PATIENCE, Space
from cluster.timing import Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import DEPLOYMENTS, HTTP_ROUTES, INGRESSES, ROUTES, WINDOWS
from upkeep.domain.maintenance import MODE_LABEL, semantically_equal
from upkeep.resources.page import PAGES

pytestmark = pytest.mark.alone

HOST: Final = "uninstalled.localhost"


@pytest.fixture
def installed(upkeep: Installation) -> Iterator[Installation]:
    """Upkeep, which is there again afterwards."""
    yield upkeep
    upkeep.bring()


@pytest.fixture
def on_the_page(space: Space, access: ClusterAccess, installed: Installation) -> Iterator[Space]:  # noqa: ARG001 - first
    """A shop whose users see the page of a window."""
    space.make(*web_server(access.shop_image, "shop"), ingress("shop", host=HOST, service="shop"))
    _open(space, "night", {"kind": "Ingress", "name": "shop"})
    until(
        lambda: space.get(INGRESSES, "shop")["metadata"].get("labels", {}),
        lambda labels: labels.get(MODE_LABEL) == "on",
        what="the shop is on the page",
        seconds=60,
    )
    yield space
    space.remove(WINDOWS, "night")


def _open(space: Space, name: str, target: Object, **mode: object) -> None:
    space.make(
        window(name, urgency="Emergency", duration="1h", maintenanceMode={"targets": [target], **mode}),
    )


def test_everything_is_back_before_the_operator_goes(
    on_the_page: Space, upkeep: Installation, timings: Timings
) -> None:
    with timings.taking("Uninstalled while a page is shown", "helm uninstall"):
        upkeep.remove()

    found = on_the_page.get(INGRESSES, "shop")
    assert found["spec"]["rules"] == ingress("shop", host=HOST, service="shop")["spec"]["rules"]
    assert MODE_LABEL not in found["metadata"].get("labels", {})
    assert not on_the_page.get(WINDOWS, "night")["metadata"].get("finalizers")
    until(lambda: on_the_page.all(DEPLOYMENTS, selector=PAGES), lambda left: not left, what="no page", seconds=PATIENCE)
    assert not upkeep.present()


@pytest.mark.home_built
def test_routes_are_back_too_and_those_beside_them_are_gone(space: Space, installed: Installation) -> None:
    space.make(
        http_route("shop", host=f"routes.{HOST}", service="shop"),
        ingress_route("shop", host=f"routes.{HOST}", service="shop"),
    )
    before = {kind: space.get(kind, "shop") for kind in ROUTES}
    tester = {"header": {"name": "X-Preview", "value": "let-me-in-7f3a"}}
    _open(space, "swapped", {"kind": "HTTPRoute", "name": "shop"}, bypass=tester)
    _open(space, "covered", {"kind": "IngressRoute", "name": "shop"}, strategy="Overlay")
    until(
        lambda: {kind: len(space.all(kind)) for kind in ROUTES},
        lambda seen: seen == dict.fromkeys(ROUTES, 2),
        what="a route for testers, and one over the other",
        seconds=60,
    )
    until(
        lambda: space.get(HTTP_ROUTES, "shop")["metadata"].get("labels", {}),
        lambda labels: labels.get(MODE_LABEL) == "on",
        what="the route is on the page",
        seconds=60,
    )

    installed.remove()

    for kind in ROUTES:
        (left,) = space.all(kind)
        assert semantically_equal(left, before[kind])
    for name in ("swapped", "covered"):
        assert not space.get(WINDOWS, name)["metadata"].get("finalizers")
        space.remove(WINDOWS, name)
