"""What is wrong is said where its owner looks, soon and in words, and nothing else suffers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from fakeapi.behaviours import Behaviour, Finish, ImagePullError
from fakeapi.objects import Json
from lab.port import free_port
from replicas import runs, windows
from replicas.probe import fetched
from replicas.stage import REPORT, TEAM, Stage, in_seconds, resource
from replicas.story import occasions
from upkeep.api.status import Trigger
from upkeep.domain.decision import Occasion
from upkeep.domain.instants import read_instant
from upkeep.domain.run import run_name

PATIENCE: Final = 10.0
"""Seconds until people have to see what is wrong; most of it is seen at once."""
BAD: Final = "bad"
TASK: Final = "MaintenanceTask"
WINDOW: Final = "MaintenanceWindow"
SICK_IMAGE: Final = "registry.example/no-such-image:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Something that people get wrong, and what they are told.

    Attributes:
        kind: of the resource.
        spec: what it says.
        reason: of its condition Ready, which is False.
        message: words that stand in that condition's message.
        besides: other objects that belong to it.
    """

    kind: str
    spec: Any
    reason: str
    message: str
    besides: tuple[Json, ...] = ()


def _ingress(name: str, **annotations: str) -> Json:
    ingress = windows.INGRESSES["shop"]
    return {**ingress, "metadata": {"name": name, "namespace": TEAM, "annotations": annotations}}


def _window(**changes: object) -> dict[str, Any]:
    return windows.window_spec(**{"plan": None, "maintenanceMode": None, "verify": None, **changes})


MISTAKES: Final = {
    "a day that never comes": Mistake(
        kind=TASK, spec={"schedule": "0 0 30 2 *", "job": runs.JOB}, reason="InvalidSchedule", message="0 0 30 2 *"
    ),
    "a zone that does not exist": Mistake(
        kind=TASK,
        spec={"schedule": "0 0 * * *", "timeZone": "Europe/Berlim", "job": runs.JOB},
        reason="InvalidSchedule",
        message="did you mean Europe/Berlin",
    ),
    "a connection that is not defined": Mistake(
        kind=TASK,
        spec={"steps": [{"name": "clean", "postgresVacuum": {"connection": "db"}}]},
        reason="ConnectionNotDefined",
        message="step 'clean' uses connection 'db': add it to spec.connections",
    ),
    "a window that does not exist": Mistake(
        kind=TASK,
        spec={"schedule": "0 0 * * *", "windows": ["nights"], "job": runs.JOB},
        reason="WindowNotFound",
        message="MaintenanceWindow 'nights' does not exist in this namespace",
    ),
    "an image that does not exist": Mistake(
        kind=TASK,
        spec={"runAt": "2026-01-01T00:00:00Z", "job": {"image": SICK_IMAGE}},
        reason="ImagePullFailed",
        message="no-such-image",
    ),
    "a task of the plan that does not exist": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", plan={"tasks": [{"name": "nothing"}]}),
        reason="TaskNotFound",
        message="MaintenanceTask 'nothing' of the plan does not exist",
    ),
    "an Ingress that does not exist": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", maintenanceMode={"targets": [{"name": "nothing"}]}),
        reason="TargetNotFound",
        message="Ingress 'nothing' does not exist in this namespace",
    ),
    "an Ingress whose TLS nobody but the backend can open": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", maintenanceMode={"targets": [{"name": "closed"}]}),
        reason="TargetRefused",
        message="passes TLS through",
        besides=(_ingress("closed", **{"nginx.ingress.kubernetes.io/ssl-passthrough": "true"}),),
    ),
    "an Ingress whose undo record is garbled": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", maintenanceMode={"targets": [{"name": "garbled"}]}),
        reason="TargetRefused",
        message="undo record of Ingress team/garbled cannot be read",
        besides=(_ingress("garbled", **{"upkeep.dev/undo": "{not json"}),),
    ),
    "tasks that wait for each other": Mistake(
        kind=WINDOW,
        spec=_window(
            startAt=None,
            schedule="0 0 1 1 *",
            plan={"tasks": [{"name": "a", "dependsOn": ["b"]}, {"name": "b", "dependsOn": ["a"]}]},
        ),
        reason="InvalidPlan",
        message="these tasks wait for each other: a, b",
    ),
    "a task without anything to do": Mistake(kind=TASK, spec={}, reason="InvalidSpec", message="steps"),
    "a window without a time": Mistake(kind=WINDOW, spec={}, reason="InvalidSpec", message="spec"),
    "a backup of nothing": Mistake(kind="BackupPolicy", spec={}, reason="InvalidSpec", message="spec"),
    "a spec that is a text": Mistake(kind=TASK, spec="every night", reason="InvalidSpec", message="spec"),
    "a window's spec that is a text": Mistake(kind=WINDOW, spec="at night", reason="InvalidSpec", message="spec"),
    "a spec that is a list": Mistake(kind="BackupPolicy", spec=[1], reason="InvalidSpec", message="spec"),
    "numbers where names belong": Mistake(
        kind=TASK, spec={"windows": [1, {}], "job": 7, "schedule": 5}, reason="InvalidSpec", message="spec"
    ),
    "a plan that is none": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", plan="all", maintenanceMode=[{"name": 1}]),
        reason="InvalidSpec",
        message="spec",
    ),
    "targets that are none": Mistake(
        kind=WINDOW,
        spec=_window(startAt=None, schedule="0 0 1 1 *", maintenanceMode={"targets": ["shop", 5, None]}),
        reason="InvalidSpec",
        message="spec",
    ),
}


def _choose(job: Json) -> Behaviour:
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return ImagePullError() if image == SICK_IMAGE else Finish(outcome=lambda _: (0, REPORT), running=0.05)


def a_healthy_task(stage: Stage) -> None:
    stage.cluster.world.jobs(_choose)
    stage.cluster.create(resource(TASK, runs.NAME, {"runAt": in_seconds(0.5), "job": runs.JOB}))


async def runs_on_time(stage: Stage) -> None:
    """Then the healthy task has run, no later than it would have alone."""
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    (start,) = [entry for entry in stage.started() if entry.name.startswith(runs.NAME)]
    due = start.body["metadata"]["annotations"]["upkeep.dev/scheduled-time"]
    late = (start.time - read_instant(due)).total_seconds()
    assert 0 <= late < 2.0, f"it ran {late:.1f}s late"


@pytest.mark.parametrize("name", MISTAKES)
async def test_a_mistake_is_said_soon_and_in_words(name: str, stage: Stage, measured: Callable[[str], None]) -> None:
    mistake = MISTAKES[name]
    operator = await stage.household.operator()
    await stage.watched()
    a_healthy_task(stage)

    for each in (*mistake.besides, resource(mistake.kind, BAD, mistake.spec)):
        stage.cluster.create(each)
    begun = time.monotonic()
    await stage.cluster.until(
        lambda: stage.condition(mistake.kind, BAD, "Ready").get("reason") == mistake.reason, within=PATIENCE
    )

    measured(f"{name}: said after {time.monotonic() - begun:.2f}s")
    ready = stage.condition(mistake.kind, BAD, "Ready")
    assert ready["status"] == "False"
    assert mistake.message in ready["message"]
    await runs_on_time(stage)
    assert not operator.ended
    assert "Traceback" not in operator.log


GARBAGE: Final[dict[str, Any]] = {
    "text": "nothing of ours",
    "list": [1],
    "history": {"history": "long", "lastRun": [], "consecutiveFailures": "many"},
    "conditions": {"conditions": [{"type": 5}, "Ready"], "observedGeneration": {}},
    "times": {"lastScheduleTime": "yesterday", "nextScheduleTime": 5, "lastBackupTime": "?", "schedules": {"a": 1}},
    "run": {"lastRun": {"completionTime": "never", "startTime": [], "outcome": {"not": "hashable"}}},
    "opening": {"occurrence": {"targets": [{"name": 5}, "shop"], "openedAt": "now", "endTime": "soon"}},
    "anchor": {"scheduleAnchor": {"since": "always"}, "lastManualRun": 7, "phase": []},
}


def _garbled(stage: Stage) -> None:
    """Custom resources as nobody could have applied them, but as an older version may have left them."""
    specs: dict[str, Any] = {
        TASK: {"schedule": "0 0 1 1 *", "job": runs.JOB},
        WINDOW: _window(startAt=None, schedule="0 0 1 1 *"),
        "BackupPolicy": {"schedules": "none"},
    }
    for kind, spec in specs.items():
        for name, status in GARBAGE.items():
            stage.cluster.create({**resource(kind, f"status-{name}", spec), "status": status})
        without_spec = resource(kind, "without-spec", None)
        del without_spec["spec"]
        stage.cluster.create(without_spec)
    for number, mistake in enumerate(MISTAKES.values()):
        for each in (*mistake.besides, resource(mistake.kind, f"mistake-{number}", mistake.spec)):
            stage.cluster.create(each)


async def test_whatever_is_there_when_it_starts_an_operator_comes_up_and_does_its_work(stage: Stage) -> None:
    _garbled(stage)
    port = free_port()

    operator = await stage.household.operator(port=port)
    a_healthy_task(stage)

    await runs_on_time(stage)
    status, metrics = await fetched(port, "/metrics")
    assert status == 200
    assert f'upkeep_maintenance_status{{namespace="team",task="{runs.NAME}"}} 1.0' in metrics
    assert (await fetched(port, "/healthz"))[0] == 200
    assert not operator.ended


async def test_whatever_comes_while_it_works_an_operator_goes_on(stage: Stage) -> None:
    operator = await stage.household.operator()
    await stage.watched()

    _garbled(stage)
    a_healthy_task(stage)

    await runs_on_time(stage)
    assert not operator.ended


async def test_a_job_that_only_pretends_to_be_ours_stops_nothing(stage: Stage) -> None:
    a_healthy_task(stage)
    uid = stage.cluster.get(TASK, TEAM, runs.NAME)["metadata"]["uid"]
    labels = {
        "app.kubernetes.io/managed-by": "upkeep",
        "upkeep.dev/owner-kind": TASK,
        "upkeep.dev/owner-name": runs.NAME,
        "upkeep.dev/owner-uid": uid,
    }
    annotations = {"upkeep.dev/trigger": "Whim", "upkeep.dev/scheduled-time": "some day"}
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    stage.cluster.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "pretender", "namespace": TEAM, "labels": labels, "annotations": annotations},
            "spec": {"template": template},
        }
    )

    await stage.household.operator()

    await runs_on_time(stage)


async def test_a_job_that_the_api_server_refuses_is_an_event_and_tried_again(stage: Stage) -> None:
    refusal = stage.cluster.faults.on("create", "jobs", name="", namespace=TEAM, times=1).answer(
        403, message='jobs.batch is forbidden: exceeded quota: "jobs", used: 10, limited: 10'
    )
    stage.cluster.world.jobs(_choose)
    stage.cluster.create(resource(TASK, BAD, {"runAt": "2026-01-01T00:00:00Z", "job": runs.JOB}))

    await stage.household.operator()
    await stage.cluster.until(lambda: stage.events(BAD), within=PATIENCE)
    await stage.cluster.until(lambda: stage.status(TASK, BAD).get("history"), within=PATIENCE)

    assert refusal.fired == 1
    said = [event for event in stage.events(BAD) if event["type"] == "Warning"]
    assert [(event["reason"], "exceeded quota" in event["message"]) for event in said] == [("Refused", True)]
    assert len(occasions(stage)) == 1


async def test_a_name_that_somebody_elses_job_has_is_an_event(stage: Stage) -> None:
    stage.cluster.world.jobs(_choose)
    made = stage.cluster.create(resource(TASK, BAD, {"job": runs.JOB}))
    name = run_name(BAD, made["metadata"]["uid"], Occasion(trigger=Trigger.MANUAL, token=BAD))
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    stage.cluster.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": TEAM},
            "spec": {"template": template},
        }
    )
    await stage.household.operator()
    a_healthy_task(stage)

    stage.cluster.patch(TASK, TEAM, BAD, {"metadata": {"annotations": {"upkeep.dev/run-now": BAD}}})
    await stage.cluster.until(lambda: stage.events(BAD), within=PATIENCE)

    (event,) = stage.events(BAD)
    assert event["reason"] == "Refused"
    assert f"Job '{name}' exists already and does not belong to" in event["message"]
    await runs_on_time(stage)
