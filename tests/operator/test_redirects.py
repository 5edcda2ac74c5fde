"""A window that sends users to a standby: nobody goes where nobody answers, and whoever dies, all come back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jsonpatch

from fakeapi.objects import Json
from replicas import windows
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, resource
from replicas.story import KILLED_AFTER, KILLED_BEFORE, Story, retell
from replicas.windows import WINDOW, restored, swapped, window_spec
from upkeep.domain.maintenance import Holder, swap

PATIENCE: Final = 60.0
SWEEPING: Final = {"UPKEEP_SWEEP_INTERVAL": "0.5"}
STANDBY: Final = "standby"
LABELS: Final = {"app": STANDBY}


def deployment() -> Json:
    container = {"name": "web", "image": "localhost/standby"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": STANDBY, "namespace": TEAM},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


def service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": STANDBY, "namespace": TEAM},
        "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 8080, "targetPort": 80, "protocol": "TCP"}]},
    }


def furnish(stage: Stage, **changes: Any) -> None:  # noqa: ANN401 - any JSON
    stage.cluster.world.deployments(ready_after=0.0)
    for ingress in windows.INGRESSES.values():
        stage.cluster.create(ingress)
    mode = {"targets": [{"name": name} for name in windows.INGRESSES], "backend": {"service": STANDBY, "port": 8080}}
    spec = window_spec(maintenanceMode=mode, plan=None, verify=None, **changes)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, spec))


def _begin(stage: Stage) -> None:
    stage.cluster.create(service())
    stage.cluster.create(deployment())
    furnish(stage, duration="20s")


def _over(stage: Stage) -> bool:
    return stage.status("MaintenanceWindow", WINDOW).get("phase") == "Completed" and not _finalized(stage)


def _finalized(stage: Stage) -> bool:
    return bool(stage.cluster.get("MaintenanceWindow", TEAM, WINDOW)["metadata"].get("finalizers"))


def _all_is_as_before(stage: Stage) -> None:
    assert restored(stage)
    assert stage.status("MaintenanceWindow", WINDOW)["lastRun"]["outcome"] == "ok"
    made = {entry.resource for entry in stage.writes if entry.verb == "create"}
    assert made <= {"events"}, "there is no page"
    assert any(entry.resource == "ingresses" for entry in stage.writes)


REDIRECTED: Final = Story(
    name="a window that sends users to a standby",
    begin=_begin,
    over=_over,
    jobs=0,
    check=_all_is_as_before,
    within=90.0,
    at_once=24,
)


async def test_killed_at_every_write_all_come_back(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(REDIRECTED, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)

    assert tellings >= 2 * 8


async def test_nobody_is_sent_there_before_somebody_answers(stage: Stage) -> None:
    furnish(stage)
    await stage.household.operator()

    await stage.cluster.until(lambda: waits_for(stage) == "BackendNotFound", within=PATIENCE)
    stage.cluster.create(service())
    await stage.cluster.until(lambda: waits_for(stage) == "BackendNotReady", within=PATIENCE)
    assert not swapped(stage)

    stage.cluster.create(deployment())

    await stage.cluster.until(lambda: swapped(stage) == windows.INGRESSES.keys(), within=PATIENCE)
    held = [event["message"] for event in stage.events(WINDOW) if event["reason"] == "WindowHeld"]
    assert any("does not exist in this namespace" in message for message in held)


def waits_for(stage: Stage) -> str:
    found: str = stage.status("MaintenanceWindow", WINDOW).get("occurrence", {}).get("waitingFor", "")
    return found


async def test_who_is_left_there_by_a_window_that_is_gone_is_swept(stage: Stage) -> None:
    made = {**windows.INGRESSES["api"], "metadata": {"name": "api", "namespace": TEAM, "resourceVersion": "1"}}
    past = datetime(2020, 1, 1, tzinfo=UTC)
    holder = Holder(uid="gone", window="long-ago", until=past, service=STANDBY, port=8080, redirects=True)
    answer = swap(made, holder)
    assert isinstance(answer, list)
    left: Json = jsonpatch.apply_patch(made, answer)
    del left["metadata"]["resourceVersion"]
    stage.cluster.create(left)

    await stage.household.operator(settings=SWEEPING)

    await stage.cluster.until(lambda: not swapped(stage), within=PATIENCE)
    assert stage.cluster.get("Ingress", TEAM, "api")["spec"] == windows.INGRESSES["api"]["spec"]
