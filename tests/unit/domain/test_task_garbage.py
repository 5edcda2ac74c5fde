"""A task that makes no sense stalls and says why; it never stops the operator, and never makes a run happen twice."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at, minutes, resource, said, starts, told
from unit.domain.garbage import spoilt, values
from unit.domain.taskworld import TaskWorld
from upkeep.api.task import TaskStatus
from upkeep.controller.apply import dump
from upkeep.domain.binding import Surroundings
from upkeep.domain.decision import Decision
from upkeep.domain.identity import RUN_NOW_ANNOTATION
from upkeep.domain.task import TaskSnapshot, decide

GOOD_SPEC: Final = {
    "schedule": "*/10 * * * *",
    "timeZone": "Europe/Berlin",
    "jitter": "30s",
    "exclusions": [{"from": "12-24", "to": "12-26", "reason": "holidays"}],
    "windows": ["night"],
    "startingDeadlineSeconds": 100,
    "concurrencyPolicy": "Allow",
    "timeout": "1h",
    "retries": 1,
    "connections": [
        {"name": "db", "postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}},
        {"name": "cache", "redis": {"host": "cache"}},
    ],
    "steps": [
        {"name": "vacuum", "postgresVacuum": {"connection": "db"}, "onFailure": "Continue", "timeout": "10m"},
        {"name": "memory", "redisMemory": {"connection": "cache"}},
        {"name": "up", "httpCheck": {"url": "http://shop"}},
    ],
}
JOB_SPEC: Final = {
    "runAt": "2026-03-02T01:00:00Z",
    "job": {
        "image": "busybox",
        "command": ["true"],
        "env": [{"name": "A", "value": "1"}],
        "volumes": [{"name": "tmp", "mountPath": "/tmp", "emptyDir": {}}],  # noqa: S108 - a path in a container
        "resources": {"limits": {"cpu": "1"}},
    },
}
UNREADABLE: Final = st.sampled_from([5, -1.5, [1], {"x": 1}, [[]]])
WINDOW: Final = {"metadata": {"name": "night"}, "spec": {"schedule": "0 * * * *", "duration": "1h"}}


def decided(spec: object, status: object = None, windows: dict[str, Any] | None = None) -> Decision:
    task = resource("MaintenanceTask", spec, created=at("00:30"))
    if status is not None:
        task["status"] = status
    surroundings = Surroundings(windows={name: told(window, at("02:00")) for name, window in (windows or {}).items()})
    snapshot = TaskSnapshot(resource=task, runs=[], now=at("02:00"), surroundings=surroundings)
    decision = decide(snapshot)
    assert decision == decide(snapshot)
    TaskStatus.model_validate(dump(decision.status))
    return decision


def stalled(decision: Decision) -> bool:
    return any(each.type == "Stalled" and each.status == "True" for each in decision.status.conditions)


@settings(max_examples=150, deadline=None)
@given(spec=values | spoilt(GOOD_SPEC) | spoilt(JOB_SPEC))
def test_any_spec_leads_to_a_decision_and_one_without_sense_to_a_reason(spec: object) -> None:
    decision = decided(spec, windows={"night": WINDOW})

    if stalled(decision):
        assert not starts(decision)
        (condition,) = (each for each in decision.status.conditions if each.type == "Ready")
        assert condition.message
    else:
        assert isinstance(spec, dict)


@settings(max_examples=60, deadline=None)
@given(window=values | spoilt(WINDOW["spec"]))
def test_a_window_of_any_kind_leads_to_a_decision(window: object) -> None:
    spec = {**JOB_SPEC, "windows": ["night"]}

    decided(spec, windows={"night": {"metadata": {"name": "night"}, "spec": window}})


@settings(max_examples=100, deadline=None)
@given(status=values)
def test_any_status_leads_to_a_decision(status: object) -> None:
    decided({**JOB_SPEC}, status)


def lived_in() -> TaskWorld:
    """A task with a rich status: runs by schedule and by hand, good and bad, missed ones; one runs."""
    world = TaskWorld(now=at("00:30"), spec={"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow"})
    world.wait(minutes(25))
    world.good = False
    world.ask("alice-1")
    world.wait(minutes(10))
    world.sleep(minutes(25))
    world.takes = None
    world.wait(minutes(10))
    return world


RICH: Final = lived_in()


@settings(max_examples=150, deadline=None)
@given(status=spoilt(RICH.status, UNREADABLE))
def test_a_status_that_cannot_be_read_never_makes_a_run_happen_twice(status: Any) -> None:  # noqa: ANN401 - any JSON value
    task = resource("MaintenanceTask", RICH.task["spec"], created=at("00:30"))
    task["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: "alice-1"}
    # All Jobs are gone: the status is the only memory.
    decision = decide(TaskSnapshot(resource=task | {"status": status}, runs=[], now=RICH.now))

    assert not {start.name for start in starts(decision)} & {start.name for _, start in RICH.started}
    assert not [start for start in starts(decision) if start.occasion.token]


@pytest.mark.parametrize("field", ["lastScheduleTime", "scheduleAnchor"])
def test_what_was_due_before_the_loss_counts_as_accounted_for_and_that_is_said(field: str) -> None:
    world = TaskWorld(now=at("00:30"), spec={"schedule": "0 * * * *"})
    world.wait(minutes(40))
    world.status[field] = 17
    world.jobs.objects.clear()
    world.sleep(minutes(60))

    world.wait(minutes(60))

    (complaint,) = said(world.events, "StatusUnreadable")
    assert field in complaint
    assert "until now counts as accounted for" in complaint
    assert world.scheduled_starts == ["01:00", "03:00"]


def test_fields_of_another_version_are_left_out_without_a_word() -> None:
    world = TaskWorld(now=at("00:30"), spec={"schedule": "0 * * * *"})
    world.wait(minutes(40))
    world.status["fromTheFuture"] = {"a": 1}
    world.status["lastRun"]["score"] = 5

    world.wait(minutes(60))

    assert said(world.events, "StatusUnreadable") == []
    assert world.scheduled_starts == ["01:00", "02:00"]
    assert "fromTheFuture" not in world.status
