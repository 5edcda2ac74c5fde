"""Maintenance by hand, as its users see it: an annotation changes the answer, and its removal changes it back."""

from datetime import timedelta
from typing import Final

import httpx
import pytest

from cluster.installation import Installation
from cluster.kubectl import Kubectl
from cluster.manifests import ingress, web_server
from cluster.space import PATIENCE, Space
from cluster.timing import Stopwatch, Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import INGRESSES, WINDOWS
from upkeep.domain.byhand import REQUEST_ANNOTATION, SERVED_ANNOTATION
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.maintenance import MODE_LABEL, UNTIL_ANNOTATION, semantically_equal

TOPIC: Final = "Maintenance by hand"
HOST: Final = "by-hand.localhost"


class Shop:
    """The application, and the person who puts it on the page."""

    def __init__(self, space: Space, access: ClusterAccess, kubectl: Kubectl) -> None:
        self.space = space
        self._access = access
        self._kubectl = kubectl

    def annotate(self, words: str, *options: str) -> None:
        """`kubectl annotate ingress shop …`."""
        self._kubectl.run("annotate", "ingress", "shop", words, *options, f"--namespace={self.space.name}")

    def answer(self) -> httpx.Response:
        """What users get."""
        assert self._access.ingress_url
        return httpx.get(f"{self._access.ingress_url}/", headers={"Host": HOST}, timeout=5.0)

    def answers(self, status: int) -> httpx.Response:
        """The answer, once it has this status."""
        return until(self.answer, lambda found: found.status_code == status, what=f"a {status}", seconds=60)

    def annotations(self) -> dict[str, str]:
        """Of the Ingress."""
        found: dict[str, str] = self.space.get(INGRESSES, "shop")["metadata"].get("annotations", {})
        return found


@pytest.fixture(scope="module")
def shop(
    space: Space,
    access: ClusterAccess,
    kubectl: Kubectl,
    upkeep: Installation,  # noqa: ARG001 - it serves
) -> Shop:
    space.make(*web_server(access.shop_image, "shop"), ingress("shop", host=HOST, service="shop"))
    space.ready("shop")
    found = Shop(space, access, kubectl)
    found.answers(200)
    return found


def test_an_annotation_puts_an_application_on_the_page_and_its_removal_brings_it_back(
    shop: Shop, timings: Timings
) -> None:
    before = shop.space.get(INGRESSES, "shop")
    watch = Stopwatch()
    shop.annotate(f"{REQUEST_ANNOTATION}=30m")
    (window,) = until(lambda: shop.space.all(WINDOWS), bool, what="a window", seconds=PATIENCE)
    timings.note(TOPIC, "annotation → window", watch.stop())
    page = shop.answers(503)
    timings.note(TOPIC, "annotation → users see the page", watch.stop())

    assert page.json()["error"] == "maintenance"
    assert 1700 < int(page.headers["Retry-After"]) <= 1800
    assert window["metadata"]["ownerReferences"][0]["name"] == "shop"

    shop.annotate(f"{REQUEST_ANNOTATION}=1h", "--overwrite")
    until(shop.annotations, lambda found: found.get(SERVED_ANNOTATION) == "1h", what="the new end", seconds=PATIENCE)
    end = write_instant(read_instant(window["metadata"]["creationTimestamp"]) + timedelta(hours=1))
    until(shop.annotations, lambda found: found[UNTIL_ANNOTATION] == end, what="it ends later", seconds=PATIENCE)

    watch = Stopwatch()
    shop.annotate(f"{REQUEST_ANNOTATION}-")
    shop.answers(200)
    timings.note(TOPIC, "annotation removed → the application answers", watch.stop())
    after = until(
        lambda: shop.space.get(INGRESSES, "shop"),
        lambda found: SERVED_ANNOTATION not in found["metadata"]["annotations"],
        what="nothing is noted any more",
        seconds=PATIENCE,
    )
    assert semantically_equal(before, after)
    assert MODE_LABEL not in after["metadata"]["labels"]


def test_when_the_time_is_over_the_application_is_back_although_the_annotation_stays(shop: Shop) -> None:
    shop.annotate(f"{REQUEST_ANNOTATION}=15s")
    shop.answers(503)

    shop.answers(200)

    assert shop.annotations()[REQUEST_ANNOTATION] == "15s"
    shop.annotate(f"{REQUEST_ANNOTATION}-")


@pytest.mark.parametrize("value", ["abc", "0s", "25h"])
def test_what_is_no_duration_is_said_on_the_ingress_and_changes_nothing(shop: Shop, value: str) -> None:
    windows = [found["metadata"]["uid"] for found in shop.space.all(WINDOWS)]

    shop.annotate(f"{REQUEST_ANNOTATION}={value}", "--overwrite")
    said = until(
        lambda: [event for event in shop.space.events_of("shop") if repr(value) in event["message"]],
        bool,
        what="a word about it",
        seconds=PATIENCE,
    )

    assert said[0]["type"] == "Warning"
    assert "write for how long, for example upkeep.dev/maintenance=30m" in said[0]["message"]
    assert shop.answer().status_code == 200
    assert [found["metadata"]["uid"] for found in shop.space.all(WINDOWS)] == windows
    shop.annotate(f"{REQUEST_ANNOTATION}-")
