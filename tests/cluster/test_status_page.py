"""The status page as the chart installs it: a real window from its announcement to its end, and nothing else."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object, parse, read
from cluster.manifests import soon, window
from cluster.server import Server
from cluster.space import PATIENCE, Space, own_space
from cluster.test_chart import rendered
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import DEPLOYMENTS, WINDOWS

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-status-page.yaml"
PAGE: Final = "upkeep-status-page"


class StatusPage:
    """A status page for the windows of its own namespace that are meant for customers."""

    def __init__(self, space: Space, kubectl: Kubectl) -> None:
        self.space = space
        self._kubectl = kubectl

    def install(self, image: str) -> None:
        """Everything that the chart brings for it, and nothing of the rest."""
        repository, _, tag = image.rpartition(":")
        chosen = {
            "enabled": True,
            "namespaces": [self.space.name],
            "selector": "audience=customers",
            "name": "The Shop",
        }
        values = {"image": {"repository": repository, "tag": tag}, "statusPage": chosen}
        objects = [found for found in parse(rendered(values, namespace=self.space.name)) if _is_of_the_page(found)]
        self._kubectl.run(
            "apply", "--filename=-", stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": objects})
        )
        until(
            lambda: self.space.get(DEPLOYMENTS, PAGE).get("status", {}).get("readyReplicas"),
            lambda ready: ready == 2,
            what="the status page is ready",
            seconds=60,
        )

    def told(self) -> Object:
        """What programs are told, through the Service."""
        found: Object = json.loads(self.text("api/v1/status"))
        return found

    def text(self, path: str = "") -> str:
        """What a path answers; what comes through the API server asks for anything."""
        return self.space.server.text(f"/api/v1/namespaces/{self.space.name}/services/{PAGE}:http/proxy/{path}")

    def titles(self, part: str) -> list[str]:
        """Of what is under way, ahead, or over."""
        return [entry["title"] for entry in self.told()[part]]


def _is_of_the_page(found: Object) -> bool:
    return bool(found["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "status-page")


@pytest.fixture(scope="module")
def page(
    server: Server,
    access: ClusterAccess,
    kubectl: Kubectl,
    upkeep: Installation,  # noqa: ARG001 - it serves
) -> Iterator[StatusPage]:
    """The page, and windows of all kinds beside the one that it is to show."""
    with own_space(server) as space:
        found = StatusPage(space, kubectl)
        space.make(
            _for_customers(window("not-public", urgency="Emergency", duration="10m", change={"reason": "CVE-2026-1"})),
            window("for-staff", urgency="Emergency", duration="10m", statusPage={"title": "Only for staff"}),
        )
        found.install(access.image)
        yield found


def _for_customers(found: Object, **spec: Any) -> Object:  # noqa: ANN401 - fields as users write them
    metadata = {**found["metadata"], "labels": {"audience": "customers"}}
    return {**found, "metadata": metadata, "spec": {**found["spec"], **spec}}


def test_a_window_is_told_of_from_its_announcement_to_its_result(page: StatusPage) -> None:
    (sample,) = read(SAMPLE)
    spec = {name: value for name, value in sample["spec"].items() if name != "schedule"}
    page.space.make({**sample, "spec": {**spec, "startAt": soon(15), "duration": "15s"}})
    title = sample["spec"]["statusPage"]["title"]

    # Each of the two Pods looks for itself, so that one may tell for some seconds what the other has told before.
    for part in ("upcoming", "active"):
        until(partial(page.titles, part), lambda titles: title in titles, what=f"it is {part}", seconds=60)
    (entry,) = until(lambda: page.told()["past"], bool, what="it is over", seconds=60)

    assert (entry["title"], entry["state"], entry["timeZone"]) == (title, "Completed", "Europe/Berlin")


def test_nothing_is_told_of_windows_that_are_not_for_these_readers(page: StatusPage) -> None:
    for name in ("not-public", "for-staff"):
        until(
            partial(page.space.status, WINDOWS, name),
            lambda status: status.get("phase") == "Active",
            what=f"{name} is open",
            seconds=PATIENCE,
        )
    # Of a window that was made later the page knows: it has looked since.
    page.space.make(_for_customers(window("later", startAt=soon(3600), duration="1h", statusPage={"title": "Later"})))
    until(lambda: page.titles("upcoming"), lambda titles: "Later" in titles, what="a later look", seconds=PATIENCE)

    everything = page.text("api/v1/status") + page.text()
    for inside in ("Only for staff", "not-public", "CVE-2026-1", page.space.name, "for-staff"):
        assert inside not in everything


def test_the_account_of_the_page_may_list_windows_there_and_nothing_else(page: StatusPage, kubectl: Kubectl) -> None:
    account = f"--as=system:serviceaccount:{page.space.name}:{PAGE}"

    def may(*question: str) -> bool:
        return kubectl.attempt("auth", "can-i", *question, account).stdout.strip() == "yes"

    here, elsewhere = f"--namespace={page.space.name}", "--namespace=default"
    assert may("list", "maintenancewindows.upkeep.dev", here)
    assert not may("list", "maintenancewindows.upkeep.dev", elsewhere)
    for verb, kind in (("patch", "maintenancewindows.upkeep.dev"), ("list", "secrets"), ("get", "pods")):
        assert not may(verb, kind, here)
