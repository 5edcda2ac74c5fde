"""Through a real Traefik, a page lies over an Ingress and an IngressRoute that are not touched."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from cluster.installation import Installation
from cluster.manifests import ingress, ingress_route, soon, web_server, window
from cluster.server import Server
from cluster.space import PATIENCE, Space, own_space
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.controlplane import ADMIN
from upkeep.api.window import Request
from upkeep.cluster.resources import INGRESS_ROUTES, INGRESSES, PODS, WINDOWS, Resource
from upkeep.domain.window.requests import REQUESTED_BY

pytestmark = pytest.mark.home_built

UNAVAILABLE: Final = httpx.codes.SERVICE_UNAVAILABLE
TESTER: Final = {"X-Preview": "let-me-in-7f3a"}
BYPASS: Final = {"header": {"name": "X-Preview", "value": "let-me-in-7f3a"}}
CHALLENGE: Final = "/.well-known/acme-challenge/0123456789012345678901234567890123456789012"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """An application that is reached through Traefik."""

    space: Space
    kind: Resource
    url: str

    @property
    def host(self) -> str:
        return f"{self.space.name}.localhost"

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> httpx.Response | None:
        try:
            return httpx.get(f"{self.url}{path}", headers={"Host": self.host, **(headers or {})}, timeout=5)
        except httpx.TransportError:
            return None

    def answer(self, path: str = "/", headers: dict[str, str] | None = None) -> int:
        """The status of an answer; 0 where there is none."""
        found = self.get(path, headers)
        return found.status_code if found else 0

    def answers(self, code: int, path: str = "/", headers: dict[str, str] | None = None) -> None:
        until(lambda: self.answer(path, headers), lambda seen: seen == code, what=f"{code}", seconds=60, every=0.1)

    def open(self, name: str, **mode: object) -> None:
        targets = {"strategy": "Overlay", "targets": [{"kind": self.kind.kind, "name": "shop"}]}
        self.space.make(window(name, startAt=soon(1), duration="1h", maintenanceMode={**targets, **mode}))

    def end(self, name: str) -> None:
        asked = {Request.END_NOW.annotation: "1", REQUESTED_BY: ADMIN.user}
        self.space.change(WINDOWS, name, {"metadata": {"annotations": asked}})

    def version(self) -> Any:  # noqa: ANN401 - of what it says, and who wrote it
        found = self.space.get(self.kind, "shop")
        return found["spec"], found["metadata"].get("labels"), found["metadata"].get("annotations")

    def alone(self) -> None:
        until(
            lambda: [item["metadata"]["name"] for item in self.space.all(self.kind)],
            lambda left: set(left) <= {"shop", "solver"},
            what="nothing of Upkeep's own is left",
            seconds=PATIENCE,
        )


@pytest.fixture
def place(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    with own_space(server) as made:
        yield made


@pytest.fixture
def shop(request: pytest.FixtureRequest, place: Space, access: ClusterAccess) -> Shop:
    """An application that answers 200."""
    kind: Resource = request.param
    assert access.traefik_url, "python -m lab traefik starts it"
    found = Shop(space=place, kind=kind, url=access.traefik_url)
    host = found.host
    route = (
        ingress("shop", host=host, service="shop", class_name="traefik")
        if kind == INGRESSES
        else ingress_route("shop", host=host, service="shop")
    )
    place.make(*web_server(access.shop_image, "shop"), route)
    found.answers(httpx.codes.OK)
    return found


BOTH: Final = pytest.mark.parametrize(
    "shop", [INGRESSES, INGRESS_ROUTES], indirect=True, ids=["Ingress", "IngressRoute"]
)


@BOTH
def test_users_meet_the_page_over_a_target_that_nobody_touches(shop: Shop) -> None:
    before = shop.version()
    shop.open("tonight")
    shop.answers(UNAVAILABLE)

    shop.space.remove(PODS, "shop")

    until(lambda: shop.space.server.find(PODS, shop.space.name, "shop"), lambda pod: pod is None, what="0", seconds=30)
    assert {shop.answer(path) for path in ("/", "/any/where?at=all") * 10} == {UNAVAILABLE}
    machine = shop.get(headers={"Accept": "application/json"})
    assert machine is not None
    assert machine.json()["error"] == "maintenance"
    assert int(machine.headers["Retry-After"]) > 0
    assert shop.version() == before

    shop.end("tonight")

    shop.alone()
    assert shop.version() == before


@BOTH
def test_the_solver_of_a_challenge_is_reached_through_the_page(shop: Shop) -> None:
    solver = ingress("solver", host=shop.host, service="shop", class_name="traefik")
    solver["spec"]["rules"][0]["http"]["paths"][0] |= {"path": CHALLENGE, "pathType": "ImplementationSpecific"}
    shop.open("tonight")
    shop.answers(UNAVAILABLE)

    shop.space.make(solver)

    # It is the web server that answers, which has no such file.
    shop.answers(httpx.codes.NOT_FOUND, CHALLENGE)
    assert shop.answer() == UNAVAILABLE


@BOTH
def test_two_windows_over_one_target_uncover_it_with_the_last_of_them(shop: Shop) -> None:
    shop.open("tonight")
    shop.answers(UNAVAILABLE)
    shop.open("rehearsal", strategy="BackendSwap")
    until(
        lambda: shop.space.status(WINDOWS, "rehearsal").get("phase"),
        lambda phase: phase == "Active",
        what="both are open",
        seconds=60,
    )

    shop.end("tonight")

    shop.alone()
    assert {shop.answer() for _ in range(10)} == {UNAVAILABLE}
    shop.end("rehearsal")
    shop.answers(httpx.codes.OK)


@pytest.mark.parametrize("shop", [INGRESS_ROUTES], indirect=True, ids=["IngressRoute"])
def test_testers_pass_by_a_page_that_lies_over_a_target(shop: Shop) -> None:
    shop.open("tonight", bypass=BYPASS)

    shop.answers(UNAVAILABLE)
    assert {shop.answer(headers=TESTER) for _ in range(10)} == {httpx.codes.OK}

    shop.space.remove(WINDOWS, "tonight")
    shop.answers(httpx.codes.OK)
    shop.alone()


@pytest.mark.parametrize("shop", [INGRESSES], indirect=True, ids=["Ingress"])
def test_an_ingress_of_another_controller_is_refused_with_what_to_use(shop: Shop) -> None:
    other = ingress("other", host=f"other.{shop.host}", service="shop", class_name="contour")
    shop.space.make(other)

    shop.open("tonight", targets=[{"name": "other"}])

    ready = until(
        lambda: {each["type"]: each for each in shop.space.status(WINDOWS, "tonight").get("conditions", ())},
        lambda found: found.get("Ready", {}).get("reason") == "TargetRefused",
        what="it is refused",
        seconds=PATIENCE,
    )["Ready"]
    assert "use the strategy BackendSwap" in ready["message"]
