"""Users of real data planes meet the page, whatever leads them to the application, and then the application again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object, read
from cluster.manifests import http_route, ingress, ingress_route, soon, web_server, window
from cluster.server import NAMESPACES, Server
from cluster.space import PATIENCE, Space, own_space
from cluster.timing import Stopwatch, Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.controlplane import ADMIN
from upkeep.api.window import Request
from upkeep.cluster.resources import DEPLOYMENTS, HTTP_ROUTES, INGRESS_ROUTES, INGRESSES, PODS, WINDOWS, Resource
from upkeep.domain.byhand import REQUEST_ANNOTATION, SERVED_ANNOTATION
from upkeep.domain.maintenance import MODE_LABEL, holders, semantically_equal
from upkeep.domain.window.requests import REQUESTED_BY

pytestmark = pytest.mark.home_built

TOPIC: Final = "Maintenance mode through data planes"
REDIRECT: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-redirect.yaml"
ON_STANDBY: Final = "/passwd"
"""What only the standby has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How users get to an application.

    Attributes:
        kind: of what leads them there.
        make: the object, for a name and a host.
        traefik: whether Traefik serves it; else Contour and Envoy do.
    """

    kind: Resource
    make: Callable[[str, str], Object]
    traefik: bool = False


WAYS: Final = {
    "Ingress through Contour": Way(kind=INGRESSES, make=lambda name, host: ingress(name, host=host, service="shop")),
    "HTTPRoute through Contour": Way(
        kind=HTTP_ROUTES, make=lambda name, host: http_route(name, host=host, service="shop")
    ),
    "Ingress through Traefik": Way(
        kind=INGRESSES,
        make=lambda name, host: ingress(name, host=host, service="shop", class_name="traefik"),
        traefik=True,
    ),
    "HTTPRoute through Traefik": Way(
        kind=HTTP_ROUTES,
        make=lambda name, host: http_route(name, host=host, service="shop", gateway="traefik"),
        traefik=True,
    ),
    "IngressRoute through Traefik": Way(
        kind=INGRESS_ROUTES, make=lambda name, host: ingress_route(name, host=host, service="shop"), traefik=True
    ),
}
ROUTES: Final = [name for name, way in WAYS.items() if way.kind != INGRESSES]
CONTOURS_ROUTE: Final = ["HTTPRoute through Contour"]
BY_HAND: Final = [*CONTOURS_ROUTE, "IngressRoute through Traefik"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """An application behind one way to it."""

    space: Space
    way: Way
    url: str

    @property
    def host(self) -> str:
        return f"{self.space.name}.localhost"

    def route(self, name: str = "shop") -> Object:
        return self.space.get(self.way.kind, name)

    def answer(self, path: str = "/", host: str = "") -> int:
        """The status of an answer; 0 where there is none."""
        try:
            return httpx.get(f"{self.url}{path}", headers={"Host": host or self.host}, timeout=5).status_code
        except httpx.TransportError:
            return 0

    def answers(self, code: int, *, seconds: float = PATIENCE, host: str = "") -> None:
        until(lambda: self.answer(host=host), lambda seen: seen == code, what=f"{code}", seconds=seconds, every=0.1)

    def window(self, name: str, *, target: Object | None = None) -> None:
        """A window that opens at once and shows its page until it is told to end."""
        chosen = {"kind": self.way.kind.kind, **(target or {"name": "shop"})}
        self.space.make(window(name, startAt=soon(1), duration="1h", maintenanceMode={"targets": [chosen]}))

    def in_maintenance(self, name: str = "shop") -> bool:
        return MODE_LABEL in self.route(name)["metadata"].get("labels", {})

    def held_by(self, windows: int) -> None:
        until(
            lambda: len(holders(self.route())),
            lambda seen: seen == windows,
            what=f"held by {windows}",
            seconds=60,
        )

    def put_on_page(self) -> None:
        self.window("tonight")
        self.answers(httpx.codes.SERVICE_UNAVAILABLE, seconds=60)

    def annotate(self, request: str | None) -> None:
        """`kubectl annotate httproute shop upkeep.dev/maintenance=30m`."""
        self.space.change(self.way.kind, "shop", {"metadata": {"annotations": {REQUEST_ANNOTATION: request}}})

    def end(self, name: str = "tonight") -> None:
        """End it in order: its page stays for as long as routers may still send somebody there."""
        asked = {Request.END_NOW.annotation: "1", REQUESTED_BY: ADMIN.user}
        self.space.change(WINDOWS, name, {"metadata": {"annotations": asked}})

    def untouched(self, before: Object, name: str = "shop") -> bool:
        """Whether it says what it said, and nobody would know that Upkeep was there."""
        after = self.route(name)
        managers = {entry["manager"] for entry in after["metadata"]["managedFields"]}
        return semantically_equal(before, after) and "upkeep" not in managers


@pytest.fixture
def place(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    with own_space(server) as made:
        yield made


@pytest.fixture
def shop(request: pytest.FixtureRequest, place: Space, access: ClusterAccess) -> Shop:
    """An application that answers 200."""
    way = WAYS[request.param]
    url = access.traefik_url if way.traefik else access.ingress_url
    assert url, "python -m lab traefik starts the second data plane"
    found = Shop(space=place, way=way, url=url)
    place.make(*web_server(access.shop_image, "shop"), way.make("shop", found.host))
    found.answers(httpx.codes.OK, seconds=60)
    return found


@pytest.mark.parametrize("shop", WAYS, indirect=True)
def test_users_meet_the_page_although_nothing_is_left_of_the_application_and_then_the_application_again(
    shop: Shop, access: ClusterAccess, timings: Timings, request: pytest.FixtureRequest
) -> None:
    before = shop.route()
    shop.put_on_page()

    shop.space.remove(PODS, "shop")

    until(lambda: shop.space.server.find(PODS, shop.space.name, "shop"), lambda pod: pod is None, what="0", seconds=30)
    seen = {shop.answer(path) for path in ("/", "/any/where?at=all") * 10}
    assert seen == {httpx.codes.SERVICE_UNAVAILABLE}

    pod = next(item for item in web_server(access.shop_image, "shop") if item["kind"] == "Pod")
    shop.space.make(pod)
    shop.space.ready("shop")
    shop.end()
    until(lambda: shop.untouched(before), bool, what="it is as it was", seconds=60)
    watch = Stopwatch()
    shop.answers(httpx.codes.OK)
    way = request.node.callspec.params["shop"]
    timings.note(TOPIC, f"{way}: from the write back to the application's answer", watch.stop())


@pytest.mark.parametrize("shop", ROUTES, indirect=True)
def test_two_windows_on_one_route_bring_it_back_with_the_last_of_them(shop: Shop) -> None:
    before = shop.route()
    shop.put_on_page()
    shop.window("freeze")
    shop.held_by(2)

    shop.end("tonight")

    shop.held_by(1)
    assert {shop.answer() for _ in range(10)} == {httpx.codes.SERVICE_UNAVAILABLE}

    shop.end("freeze")

    shop.answers(httpx.codes.OK)
    until(lambda: shop.untouched(before), bool, what="it is as it was", seconds=PATIENCE)


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_what_a_deployment_tool_changes_meanwhile_is_kept(shop: Shop, kubectl: Kubectl) -> None:
    shop.put_on_page()
    another = f"www.{shop.host}"
    change = {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {"name": "shop", "labels": {"release": "2"}},
        "spec": {"hostnames": [shop.host, another]},
    }

    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "--filename=-")
    kubectl.run(*apply, f"--namespace={shop.space.name}", stdin=yaml.safe_dump(change))

    shop.answers(httpx.codes.SERVICE_UNAVAILABLE, host=another)
    shop.end()
    shop.answers(httpx.codes.OK, host=another)
    after = shop.route()
    assert after["metadata"]["labels"] == {"team": "shop", "release": "2"}
    assert [ref["name"] for ref in after["spec"]["rules"][1]["backendRefs"]] == ["shop"]


@pytest.mark.parametrize("shop", BY_HAND, indirect=True)
def test_an_annotation_puts_a_route_on_the_page_by_hand_and_its_removal_brings_it_back(
    shop: Shop, timings: Timings, request: pytest.FixtureRequest
) -> None:
    before = shop.route()
    way, watch = request.node.callspec.params["shop"], Stopwatch()
    shop.annotate("30m")
    shop.answers(httpx.codes.SERVICE_UNAVAILABLE, seconds=60)
    timings.note(TOPIC, f"{way}: annotation → users see the page", watch.stop())
    (window,) = shop.space.all(WINDOWS)
    assert [owner["kind"] for owner in window["metadata"]["ownerReferences"]] == [shop.way.kind.kind]

    watch = Stopwatch()
    shop.annotate(None)
    shop.answers(httpx.codes.OK)
    timings.note(TOPIC, f"{way}: annotation removed → the application answers", watch.stop())

    after = until(
        shop.route,
        lambda route: SERVED_ANNOTATION not in route["metadata"].get("annotations", {}),
        what="nothing is noted any more",
        seconds=PATIENCE,
    )
    assert semantically_equal(before, after)
    shop.space.remove(shop.way.kind, "shop")
    until(lambda: shop.space.all(WINDOWS), lambda left: not left, what="its window goes with it", seconds=60)


@pytest.mark.parametrize("shop", BY_HAND, indirect=True)
def test_by_hand_a_route_is_back_when_the_time_is_over_and_what_is_no_duration_is_said(shop: Shop) -> None:
    shop.annotate("soon")
    shop.space.said("shop", "MaintenanceNotUnderstood")
    assert shop.answer() == httpx.codes.OK

    shop.annotate("40s")
    shop.answers(httpx.codes.SERVICE_UNAVAILABLE, seconds=60)

    shop.answers(httpx.codes.OK, seconds=60)
    assert shop.route()["metadata"]["annotations"][REQUEST_ANNOTATION] == "40s"


@pytest.mark.parametrize("shop", ["Ingress through Contour", *BY_HAND], indirect=True)
def test_the_sample_of_a_redirection_sends_users_to_a_standby_once_it_answers_and_brings_them_back(
    shop: Shop, access: ClusterAccess
) -> None:
    before, standby = shop.route(), standby_server(access.shop_image)
    (sample,) = read(REDIRECT)
    mode = {
        "targets": [{"kind": shop.way.kind.kind, "name": "shop"}],
        "backend": {**sample["spec"]["maintenanceMode"]["backend"], "port": 8000},
    }
    shop.space.make({**sample, "spec": {**sample["spec"], "maintenanceMode": mode}})
    assert "Service 'shop-standby' does not exist" in shop.space.said("redirect", "WindowHeld")
    shop.space.make(standby["Service"])
    until(
        lambda: shop.space.status(WINDOWS, "redirect")["occurrence"].get("waitingFor"),
        lambda reason: reason == "BackendNotReady",
        what="nobody answers there",
        seconds=PATIENCE,
    )
    assert shop.answer() == httpx.codes.OK
    assert not shop.in_maintenance()

    shop.space.make(standby["Pod"])

    until(lambda: shop.answer(ON_STANDBY), lambda seen: seen == httpx.codes.OK, what="the standby", seconds=60)
    assert shop.in_maintenance()
    assert shop.space.all(DEPLOYMENTS) == []
    shop.end("redirect")
    until(lambda: shop.answer(ON_STANDBY), lambda seen: seen == httpx.codes.NOT_FOUND, what="the shop", seconds=60)
    until(lambda: shop.untouched(before), bool, what="it is as it was", seconds=PATIENCE)


def standby_server(image: str) -> dict[str, Object]:
    """Another application than the shop, which has a page that the shop has not; Service and Pod by kind."""
    found = {each["kind"]: each for each in web_server(image, "shop-standby")}
    (container,) = found["Pod"]["spec"]["containers"]
    container["command"] = [*container["command"][:-1], "--directory=/etc"]
    return found


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_a_redirect_stays_a_redirect(shop: Shop) -> None:
    shop.put_on_page()

    assert shop.answer("/old") == httpx.codes.FOUND


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_a_route_that_is_made_anew_meanwhile_goes_on_the_page_again(shop: Shop, timings: Timings) -> None:
    shop.put_on_page()
    shop.space.remove(HTTP_ROUTES, "shop")
    anew = shop.way.make("shop", shop.host)

    shop.space.make(anew)
    before, watch = shop.route(), Stopwatch()

    until(shop.in_maintenance, bool, what="it is on the page again", seconds=30)
    timings.note(TOPIC, "made anew: on the page again", watch.stop())
    shop.end()
    until(lambda: shop.untouched(before), bool, what="it is as it was", seconds=PATIENCE)


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_what_comes_to_match_a_selector_joins_and_what_was_selected_stays_in_without_its_label(shop: Shop) -> None:
    before = shop.route()
    shop.window("tonight", target={"selector": {"matchLabels": {"team": "shop"}}})
    shop.answers(httpx.codes.SERVICE_UNAVAILABLE, seconds=60)
    other = f"api.{shop.host}"

    shop.space.make(shop.way.make("api", other))
    shop.space.change(HTTP_ROUTES, "shop", {"metadata": {"labels": {"team": "other"}}})

    shop.answers(httpx.codes.SERVICE_UNAVAILABLE, seconds=30, host=other)
    assert shop.answer() == httpx.codes.SERVICE_UNAVAILABLE
    held = shop.space.status(WINDOWS, "tonight")["occurrence"]["targets"]
    assert {(each["name"], each["state"]) for each in held} == {("shop", "Maintenance"), ("api", "Maintenance")}

    shop.end()

    for host in (shop.host, other):
        shop.answers(httpx.codes.OK, host=host)
    assert shop.route()["spec"] == before["spec"]
    assert not shop.in_maintenance("api")


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_by_annotations_only_these_are_set_and_taken_off_again(shop: Shop) -> None:
    before = shop.route()
    mode: dict[str, Any] = {
        "targets": [{"kind": HTTP_ROUTES.kind, "name": "shop"}],
        "strategy": "Annotations",
        "annotations": {"example.com/maintenance": "on", "example.com/owner": "Operations"},
    }

    shop.space.make(window("tonight", startAt=soon(1), duration="1h", maintenanceMode=mode))

    until(shop.in_maintenance, bool, what="it is in maintenance mode", seconds=60)
    assert mode["annotations"].items() <= shop.route()["metadata"]["annotations"].items()
    assert shop.route()["spec"] == before["spec"]
    assert shop.answer() == httpx.codes.OK

    shop.end()

    until(lambda: shop.untouched(before), bool, what="it is as it was", seconds=PATIENCE)


@pytest.mark.parametrize("shop", CONTOURS_ROUTE, indirect=True)
def test_a_namespace_that_is_deleted_while_a_route_is_on_the_page_does_not_hang(shop: Shop) -> None:
    shop.put_on_page()

    shop.space.server.delete(NAMESPACES, None, shop.space.name)

    gone = until(
        lambda: shop.space.server.find(NAMESPACES, None, shop.space.name),
        lambda left: left is None,
        what="the namespace is gone",
        seconds=60,
    )
    assert gone is None
