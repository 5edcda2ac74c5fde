"""Maintenance by hand, as its users see it: an annotation changes the answer, and its removal changes it back."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest

from cluster.installation import Installation
from cluster.kubectl import Kubectl, read
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
SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-emergency-page.yaml"


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
        """What users get; before it has a first Ingress, the ingress controller may not even listen."""
        assert self._access.ingress_url
        with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=5.0) as client:
            return client.get(f"{self._access.ingress_url}/", headers={"Host": HOST})

    def answers(self, status: int) -> httpx.Response:
        """The answer, once it has this status."""
        return until(self.answer, lambda found: found.status_code == status, what=f"a {status}", seconds=60)

    def annotations(self) -> dict[str, str]:
        """Of the Ingress."""
        found: dict[str, str] = self.space.get(INGRESSES, "shop")["metadata"].get("annotations", {})
        return found


@pytest.fixture(scope="module")
def application(
    space: Space,
    access: ClusterAccess,
    upkeep: Installation,  # noqa: ARG001 - it serves
) -> Space:
    """An application that answers, without an Ingress."""
    space.make(*web_server(access.shop_image, "shop"))
    space.ready("shop")
    return space


@pytest.fixture
def shop(application: Space, access: ClusterAccess, kubectl: Kubectl) -> Iterator[Shop]:
    """The application behind an Ingress of the test's own; whatever was asked for by hand goes with it."""
    application.make(ingress("shop", host=HOST, service="shop"))
    found = Shop(application, access, kubectl)
    found.answers(200)
    yield found
    application.remove(INGRESSES, "shop")
    until(lambda: application.all(WINDOWS), lambda left: not left, what="the windows go too", seconds=60)


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
    shop.annotate(f"{REQUEST_ANNOTATION}=40s")
    shop.answers(503)

    shop.answers(200)

    assert shop.annotations()[REQUEST_ANNOTATION] == "40s"


@pytest.mark.parametrize("value", ["abc", "0s", "25h"])
def test_what_is_no_duration_is_said_on_the_ingress_and_changes_nothing(shop: Shop, value: str) -> None:
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
    assert shop.space.all(WINDOWS) == []


def test_the_sample_of_an_emergency_puts_the_application_on_its_page_at_once_and_brings_it_back(shop: Shop) -> None:
    (window,) = read(SAMPLE)
    shop.space.make({**window, "spec": {**window["spec"], "duration": "20s"}})

    assert shop.answers(503).json()["title"] == "We have closed the shop for a moment"

    shop.answers(200)
    status = until(
        lambda: shop.space.status(WINDOWS, "emergency"),
        lambda status: status["phase"] == "Completed",
        what="the window is over",
        seconds=PATIENCE,
    )
    assert status["lastRun"]["outcome"] == "ok"
    shop.space.remove(WINDOWS, "emergency")
