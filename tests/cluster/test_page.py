"""The maintenance page of a team, through a real ingress controller: its words, its languages, its looks."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from cluster.installation import Installation
from cluster.kubectl import Object, read
from cluster.manifests import ingress, service
from cluster.server import Server
from cluster.space import PATIENCE, Space, own_space
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import CONFIG_MAPS, WINDOWS

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-page.yaml"
BROWSER: Final = "text/html,application/xhtml+xml"


class Visitor:
    """Somebody who looks at the application while it is away."""

    def __init__(self, space: Space, access: ClusterAccess) -> None:
        self.space = space
        self.host = f"{space.name}.localhost"
        self._access = access

    def sees(self, *, accept: str = BROWSER, language: str = "en") -> httpx.Response:
        """The answer; the application has no endpoint at all."""
        assert self._access.ingress_url
        headers = {"Host": self.host, "Accept": accept, "Accept-Language": language}
        return httpx.get(f"{self._access.ingress_url}/basket", headers=headers, timeout=5.0)

    def is_sent_to_the_page(self) -> bool:
        """Whether the page answers; before it has a first Ingress, the ingress controller may not even listen."""
        try:
            return "Retry-After" in self.sees().headers
        except httpx.TransportError:
            return False


@contextmanager
def visiting(server: Server, access: ClusterAccess) -> Iterator[Visitor]:
    """Given the sample, as a window that is open now, for an application without endpoints."""
    with own_space(server) as space:
        found = Visitor(space, access)
        space.make(service("shop", 8000), ingress("shop", host=found.host, service="shop"))
        space.make(*(_at_once(each) for each in read(SAMPLE)))
        until(found.is_sent_to_the_page, bool, what="the page", seconds=60)
        yield found


@pytest.fixture(scope="module")
def visitor(
    server: Server,
    access: ClusterAccess,
    upkeep: Installation,  # noqa: ARG001 - it serves
) -> Iterator[Visitor]:
    """Of a page that stays as it is."""
    with visiting(server, access) as found:
        yield found


@pytest.fixture
def witness(
    server: Server,
    access: ClusterAccess,
    upkeep: Installation,  # noqa: ARG001 - it serves
) -> Iterator[Visitor]:
    """Of a page that is changed."""
    with visiting(server, access) as found:
        yield found


def _at_once(found: Object) -> Object:
    if found["kind"] != "MaintenanceWindow":
        return found
    spec = {name: value for name, value in found["spec"].items() if name != "startAt"}
    return {**found, "spec": {**spec, "urgency": "Emergency"}}


@pytest.mark.parametrize(
    ("language", "title", "state"),
    [
        ("en-GB,en;q=0.9", "We are moving to a bigger database", "Maintenance in progress"),
        ("de-AT,de;q=0.9,en;q=0.5", "Wir ziehen in eine größere Datenbank", "Wartung läuft"),
        ("ja,fr;q=0.4,en;q=0.2", "Nous passons à une base de données plus grande", "Maintenance en cours"),
    ],
)
def test_visitors_read_their_language(visitor: Visitor, language: str, title: str, state: str) -> None:
    page = visitor.sees(language=language)

    assert page.status_code == 503
    assert f"<title>{title}</title>" in page.text
    assert state in page.text


def test_visitors_see_whose_page_it_is(visitor: Visitor) -> None:
    page = visitor.sees()
    (brand,) = [found for found in read(SAMPLE) if found["kind"] == "ConfigMap"]
    logo = base64.b64encode(brand["data"]["logo.svg"].encode()).decode()

    assert f'<img src="data:image/svg+xml;base64,{logo}" alt="The Shop">' in page.text
    assert page.text.count("--accent:") == 4, "by day and by night, of the page and of the brand"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_programs_are_told_the_same(visitor: Visitor) -> None:
    answer = visitor.sees(accept="application/json", language="de")

    assert answer.status_code == 503
    told = answer.json()
    assert told["error"] == "maintenance"
    assert (told["name"], told["language"]) == ("The Shop", "de")
    assert told["title"] == "Wir ziehen in eine größere Datenbank"
    assert told["until"] == visitor.space.status(WINDOWS, "moving")["occurrence"]["endTime"]
    assert 0 < told["retryAfterSeconds"] <= 1800


def test_other_words_and_another_brand_are_taken_in_while_it_is_open(witness: Visitor) -> None:
    mode = {"maintenanceMode": {"page": {"title": "It takes a little longer"}}}
    witness.space.change(WINDOWS, "moving", {"spec": mode})
    witness.space.change(CONFIG_MAPS, "shop-brand", {"data": {"name": "The New Shop"}})

    answer = until(
        lambda: witness.sees(accept="application/json").json(),
        lambda told: (told["title"], told["name"]) == ("It takes a little longer", "The New Shop"),
        what="the changes",
        seconds=150,
        every=1.0,
    )

    assert answer["message"].startswith("The shop is closed for a short while.")


def test_a_branding_that_is_gone_is_said(witness: Visitor) -> None:
    page = {"maintenanceMode": {"page": {"branding": {"configMapName": "not-there"}}}}
    witness.space.change(WINDOWS, "moving", {"spec": page})

    ready = until(
        lambda: {found["type"]: found for found in witness.space.status(WINDOWS, "moving").get("conditions", ())}[
            "Ready"
        ],
        lambda condition: condition["reason"] == "BrandingNotFound",
        what="a condition",
        seconds=PATIENCE,
    )

    assert "ConfigMap 'not-there' does not exist in this namespace: create it" in ready["message"]
    assert witness.sees().status_code == 503
