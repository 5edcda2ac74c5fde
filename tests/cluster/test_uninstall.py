"""Upkeep is uninstalled while users see a maintenance page: they are not left behind it."""

from collections.abc import Iterator
from typing import Final

import pytest

from cluster.installation import Installation
from cluster.manifests import ingress, web_server, window
from cluster.space import PATIENCE, Space
from cluster.timing import Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import DEPLOYMENTS, INGRESSES, WINDOWS
from upkeep.domain.maintenance import MODE_LABEL
from upkeep.resources.page import PAGES

pytestmark = pytest.mark.alone

HOST: Final = "uninstalled.localhost"


@pytest.fixture
def on_the_page(space: Space, access: ClusterAccess, upkeep: Installation) -> Iterator[Space]:
    """A shop whose users see the page of a window; Upkeep is there again afterwards."""
    space.make(*web_server(access.shop_image, "shop"), ingress("shop", host=HOST, service="shop"))
    mode = {"targets": [{"kind": "Ingress", "name": "shop"}]}
    space.make(window("night", urgency="Emergency", duration="1h", maintenanceMode=mode))
    until(
        lambda: space.get(INGRESSES, "shop")["metadata"].get("labels", {}),
        lambda labels: labels.get(MODE_LABEL) == "on",
        what="the shop is on the page",
        seconds=60,
    )
    try:
        yield space
    finally:
        space.remove(WINDOWS, "night")
        upkeep.bring()


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
