"""The sample with alerts, beside a real Alertmanager: what holds it back, what it silences, and for how long."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.installation import ALERTMANAGER_URL, NAMESPACE
from cluster.kubectl import Object, read
from cluster.manifests import script, soon, task, window
from cluster.server import Server
from cluster.space import Space, conditions
from cluster.waiting import until
from integration.alertmanagerserver import AlertmanagerServer, running_alertmanager
from lab.access import ClusterAccess
from lab.network import NODE_ADDRESS
from upkeep.cluster.resources import ENDPOINT_SLICES, SERVICES, WINDOWS
from upkeep.domain.instants import read_instant

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-alerts.yaml"
SERVICE: Final = "alertmanager"
PATIENCE: Final = 60.0

pytestmark = pytest.mark.home_built


@pytest.fixture(scope="module")
def alertmanager(space: Space, server: Server) -> Iterator[AlertmanagerServer]:  # noqa: ARG001 - Upkeep is there first
    """A real Alertmanager on this machine, where the platform's configuration has it."""
    with running_alertmanager(host=NODE_ADDRESS) as running:
        port = int(running.url.rpartition(":")[2])
        server.create(_service())
        server.create(_endpoints(port))
        try:
            yield running
        finally:
            server.delete(ENDPOINT_SLICES, NAMESPACE, SERVICE)
            server.delete(SERVICES, NAMESPACE, SERVICE)


@pytest.fixture(scope="module")
def work(space: Space, access: ClusterAccess) -> str:
    """A task that takes some seconds."""
    space.make(task("work", run_now="", job=script(access.shop_image, "sleep 8")))
    return "work"


def test_a_window_waits_while_an_alert_fires_then_opens_and_is_silent_as_long_as_it_is_open(
    space: Space, alertmanager: AlertmanagerServer, work: str
) -> None:
    alertmanager.fire("DiskFull", severity="critical", shop="held")
    space.make(window("held", **_sample(work, shop="held")))
    _until_occurrence(space, "held", lambda known: known.get("waitingFor") == "AlertsFiring", "it waits for the alert")
    assert "DiskFull" in space.said("held", "WindowHeld")
    assert alertmanager.silences() == []

    alertmanager.fire("DiskFull", severity="critical", shop="held", seconds=0)
    opened = _until_occurrence(
        space, "held", lambda known: known.get("silence", {}).get("state") == "Active", "it is open and silent"
    )
    (silence,) = alertmanager.silences()
    assert silence["id"] == opened["silence"]["id"]
    assert read_instant(silence["endsAt"]) == read_instant(opened["endTime"])
    assert f"MaintenanceWindow {space.name}/held" in silence["comment"]
    assert {"name": "namespace", "value": space.name, "isRegex": False, "isEqual": True} in silence["matchers"]
    assert conditions(space.status(WINDOWS, "held"))["Silenced"]["status"] == "True"

    _until_occurrence(space, "held", lambda known: known.get("silence", {}).get("state") == "Ended", "it is over")
    assert alertmanager.silences() == []
    assert space.status(WINDOWS, "held")["lastRun"]["outcome"] == "ok"


def test_an_alert_that_comes_to_fire_afterwards_names_the_window_as_its_probable_cause(
    space: Space, alertmanager: AlertmanagerServer, work: str
) -> None:
    alertmanager.fire("SlowForDays", severity="page", shop="watched")
    spec = {key: value for key, value in _sample(work, shop="watched").items() if key != "requires"}
    space.make(window("watched", **spec))
    closed = _until_occurrence(space, "watched", lambda known: known.get("watch", {}).get("quiet"), "it is watched")
    assert space.condition("watched", "Healthy", "True", kind=WINDOWS)["reason"] == "NoAlertsFiring"

    alertmanager.fire("CheckoutFails", severity="page", shop="watched")
    unhealthy = space.condition("watched", "Healthy", "False", kind=WINDOWS)
    alertmanager.fire("CheckoutFails", severity="page", shop="watched", seconds=0)
    space.condition("watched", "Healthy", "True", kind=WINDOWS)

    cause = f"the probable cause is the maintenance of {closed['startTime']}, which closed at {closed['closedAt']}"
    assert (unhealthy["reason"], unhealthy["message"]) == ("AlertsFiring", f"an alert fires: CheckoutFails; {cause}")
    assert space.said("watched", "UnhealthyAfterMaintenance") == f"an alert fires: CheckoutFails; {cause}"
    assert "resolved" in space.said("watched", "HealthyAgain")


def test_checks_that_never_pass_let_it_be_skipped_with_the_reason(
    space: Space, alertmanager: AlertmanagerServer, work: str
) -> None:
    spec = _sample(work, shop="unhealthy", url=f"{alertmanager.url}/no-such-page") | {"duration": "15s"}
    space.make(window("unhealthy", **spec))

    status = until(
        lambda: space.status(WINDOWS, "unhealthy"),
        lambda known: known.get("history"),
        what="it is skipped",
        seconds=PATIENCE,
    )

    (record,) = status["history"]
    assert (record["ending"], record["reason"]) == ("Skipped", "RequirementNotMet")
    assert "404" in record["message"]


def test_a_window_that_is_deleted_while_it_is_open_leaves_nothing_silent(
    space: Space, alertmanager: AlertmanagerServer, work: str
) -> None:
    space.make(window("deleted", **_sample(work, shop="deleted")))
    _until_occurrence(
        space, "deleted", lambda known: known.get("silence", {}).get("state") == "Active", "it is open and silent"
    )

    space.remove(WINDOWS, "deleted")

    until(alertmanager.silences, lambda found: not found, what="nothing is silent any more", seconds=10)


def test_an_alertmanager_that_nobody_has_configured_is_named_and_keeps_no_window_shut(space: Space, work: str) -> None:
    spec = {key: value for key, value in _sample(work, shop="").items() if key != "requires"}
    space.make(window("elsewhere", **spec | {"silence": spec["silence"] | {"alertmanager": "elsewhere"}}))

    _until_occurrence(space, "elsewhere", lambda known: "openedAt" in known, "it is open")
    found = space.condition("elsewhere", "Silenced", "False", kind=WINDOWS)

    assert found["reason"] == "AlertmanagerNotConfigured"
    assert "configured: main" in found["message"]


def _sample(planned: str, *, shop: str, url: str = f"{ALERTMANAGER_URL}/-/healthy") -> dict[str, Any]:
    """The spec of the sample, opening once and in a moment, for alerts, a task and a check of the test."""
    (sample,) = read(SAMPLE)
    spec: dict[str, Any] = sample["spec"]
    del spec["schedule"]
    (step,) = spec["requires"]["steps"]
    step["httpCheck"]["url"] = url
    for alerts in (spec["requires"]["noFiringAlerts"], spec["watch"]["noFiringAlerts"]):
        alerts["matchers"].append({"name": "shop", "value": shop})
    return spec | {"startAt": soon(3), "duration": "2m", "plan": {"tasks": [{"name": planned}]}}


def _until_occurrence(space: Space, name: str, holds: Any, what: str) -> Object:  # noqa: ANN401 - a predicate
    found = until(
        lambda: space.status(WINDOWS, name).get("occurrence", {}), holds, what=f"{name}: {what}", seconds=2 * PATIENCE
    )
    assert isinstance(found, dict)
    return found


def _service() -> Object:
    spec = {"ports": [{"name": "http", "port": 9093, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": NAMESPACE}, "spec": spec}


def _endpoints(port: int) -> Object:
    labels = {"kubernetes.io/service-name": SERVICE}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
    }
