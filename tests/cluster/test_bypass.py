"""Through real data planes, testers reach the application by a header or a cookie while all others meet the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from cluster.installation import Installation
from cluster.manifests import http_route, ingress_route, soon, web_server, window
from cluster.server import Server
from cluster.space import PATIENCE, Space, own_space
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.controlplane import ADMIN
from upkeep.api.window import Request
from upkeep.cluster.resources import HTTP_ROUTES, INGRESS_ROUTES, WINDOWS, Resource
from upkeep.domain.maintenance import semantically_equal
from upkeep.domain.window.requests import REQUESTED_BY

pytestmark = pytest.mark.home_built

HEADER: Final = {"header": {"name": "X-Preview", "value": "let-me-in-7f3a"}}
COOKIE: Final = {"cookie": {"name": "preview", "value": "let.me+in-7f3a"}}
TESTERS: Final = {
    "header": {"X-Preview": "let-me-in-7f3a"},
    "cookie": {"Cookie": "theme=dark; preview=let.me+in-7f3a; lang=de"},
}
OTHERS: Final[list[dict[str, str]]] = [
    {},
    {"X-Preview": "let-me-in"},
    {"Cookie": "preview=letxme+in-7f3a"},
    {"Cookie": "xpreview=let.me+in-7f3a"},
]
UNAVAILABLE: Final = httpx.codes.SERVICE_UNAVAILABLE
WAYS: Final = ["HTTPRoute through Contour", "HTTPRoute through Traefik", "IngressRoute through Traefik"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """An application that is reached by a route `shop`."""

    space: Space
    kind: Resource
    url: str

    @property
    def host(self) -> str:
        return f"{self.space.name}.localhost"

    def answer(self, headers: dict[str, str] | None = None) -> int:
        """The status of an answer; 0 where there is none."""
        try:
            return httpx.get(self.url, headers={"Host": self.host, **(headers or {})}, timeout=5).status_code
        except httpx.TransportError:
            return 0

    def answers(self, code: int, headers: dict[str, str] | None = None, *, seconds: float = 60) -> None:
        until(lambda: self.answer(headers), lambda seen: seen == code, what=f"{code}", seconds=seconds, every=0.1)

    def open(self, name: str, **mode: object) -> None:
        targets = {"targets": [{"kind": self.kind.kind, "name": "shop"}]}
        self.space.make(window(name, startAt=soon(1), duration="1h", maintenanceMode={**targets, **mode}))

    def end(self, name: str) -> None:
        asked = {Request.END_NOW.annotation: "1", REQUESTED_BY: ADMIN.user}
        self.space.change(WINDOWS, name, {"metadata": {"annotations": asked}})

    def routes(self) -> list[str]:
        """Names of all routes that there are."""
        return [item["metadata"]["name"] for item in self.space.all(self.kind)]


@pytest.fixture
def place(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    with own_space(server) as made:
        yield made


@pytest.fixture
def shop(request: pytest.FixtureRequest, place: Space, access: ClusterAccess) -> Shop:
    """An application that answers 200."""
    way: str = request.param
    url = access.traefik_url if way.endswith("Traefik") else access.ingress_url
    assert url, "python -m lab traefik starts the second data plane"
    kind = INGRESS_ROUTES if way.startswith("IngressRoute") else HTTP_ROUTES
    found = Shop(space=place, kind=kind, url=url)
    gateway = "traefik" if way.endswith("Traefik") else "contour"
    route = (
        ingress_route("shop", host=found.host, service="shop")
        if kind == INGRESS_ROUTES
        else http_route("shop", host=found.host, service="shop", gateway=gateway)
    )
    place.make(*web_server(access.shop_image, "shop"), route)
    found.answers(httpx.codes.OK)
    return found


@pytest.mark.parametrize("bypass", [HEADER, COOKIE], ids=["header", "cookie"])
@pytest.mark.parametrize("shop", WAYS, indirect=True)
def test_testers_reach_the_application_while_all_others_meet_the_page(shop: Shop, bypass: dict[str, Any]) -> None:
    before = shop.space.get(shop.kind, "shop")
    (way,) = bypass
    tester = TESTERS[way]

    shop.open("tonight", bypass=bypass)

    shop.answers(UNAVAILABLE)
    assert {shop.answer(tester) for _ in range(10)} == {httpx.codes.OK}
    assert {shop.answer(other) for other in OTHERS for _ in range(3)} == {UNAVAILABLE}

    shop.end("tonight")

    shop.answers(httpx.codes.OK)
    until(shop.routes, lambda left: left == ["shop"], what="only the shop's route is left", seconds=PATIENCE)
    assert semantically_equal(before, shop.space.get(shop.kind, "shop"))
    assert shop.answer(tester) == httpx.codes.OK


@pytest.mark.parametrize("shop", ["HTTPRoute through Contour"], indirect=True)
def test_who_may_pass_in_a_second_window_passes_by_the_page_of_the_first(shop: Shop) -> None:
    shop.open("tonight")
    shop.answers(UNAVAILABLE)

    shop.open("rehearsal", bypass=HEADER)

    shop.answers(httpx.codes.OK, TESTERS["header"])
    assert shop.answer() == UNAVAILABLE

    shop.end("rehearsal")
    shop.answers(UNAVAILABLE, TESTERS["header"])


@pytest.mark.parametrize("shop", ["IngressRoute through Traefik"], indirect=True)
def test_a_window_that_is_deleted_leaves_nothing_and_nobody_without_an_answer(shop: Shop) -> None:
    shop.open("tonight", bypass=HEADER)
    shop.answers(UNAVAILABLE)
    shop.answers(httpx.codes.OK, TESTERS["header"])
    seen: set[int] = set()

    shop.space.remove(WINDOWS, "tonight")

    def watched() -> int:
        seen.update(shop.answer(headers) for headers in ({}, TESTERS["header"]))
        return shop.answer()

    until(watched, lambda code: code == httpx.codes.OK, what="the application", seconds=60, every=0.05)
    until(
        lambda: (watched(), shop.space.server.find(WINDOWS, shop.space.name, "tonight"))[1],
        lambda left: left is None,
        what="the window is gone",
        seconds=60,
        every=0.1,
    )
    assert seen == {httpx.codes.OK, UNAVAILABLE}
    assert shop.routes() == ["shop"]
