"""A window that makes no sense opens nothing, says why, and never leaves an Ingress on its page."""

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at, minutes, resource
from unit.domain.garbage import spoilt, values
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.window import WindowStatus
from upkeep.controller.apply import dump
from upkeep.domain.decision import Decision, StartRun
from upkeep.domain.maintenance import semantically_equal
from upkeep.domain.window import TargetRef, WindowSnapshot, decide

GOOD_SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * SUN#1",
    "duration": "2h",
    "timeZone": "Europe/Berlin",
    "exclusions": [{"from": "12-24", "to": "12-26"}],
    "connections": [{"name": "db", "postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}}],
    "plan": {
        "tasks": [{"name": "a"}, {"name": "b", "dependsOn": ["a"]}],
        "maxConcurrency": 2,
        "onFailure": "Continue",
    },
    "maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}], "page": {"title": "T", "message": "M"}},
    "verify": {"steps": [{"name": "up", "httpCheck": {"url": "http://shop"}}], "timeout": "5m"},
}
LIVED_IN: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "1h",
    "plan": {"tasks": [{"name": "clean"}, {"name": "sweep"}]},
    "maintenanceMode": {"targets": [{"name": "web"}]},
    "verify": GOOD_SPEC["verify"],
}
UNREADABLE: Final = st.sampled_from([5, -1.5, [1], {"x": 1}, [[]]])


def decided(spec: object, status: object = None, tasks: dict[str, Any] | None = None) -> Decision:
    item = resource("MaintenanceWindow", spec, created=at("00:30"), name="sunday")
    if status is not None:
        item["status"] = status
    snapshot = WindowSnapshot(
        resource=item,
        tasks=tasks or {},
        runs=[],
        busy=frozenset(),
        targets={TargetRef("Ingress", "web"): ingress("web")},
        page_service="page",
        page_ready=True,
        now=at("02:00"),
    )
    decision = decide(snapshot)
    assert decision == decide(snapshot)
    WindowStatus.model_validate(dump(decision.status))
    return decision


@settings(max_examples=150, deadline=None)
@given(spec=values | spoilt(GOOD_SPEC) | spoilt({**GOOD_SPEC, "schedule": "0 2 * * *"}))
def test_any_spec_leads_to_a_decision_and_one_without_sense_to_a_reason(spec: object) -> None:
    decision = decided(spec)

    stalled = next(each for each in decision.status.conditions if each.type == "Stalled")
    if stalled.status == "True":
        assert stalled.message
        assert not [action for action in decision.actions if isinstance(action, StartRun)]
    else:
        assert isinstance(spec, dict)


@settings(max_examples=80, deadline=None)
@given(status=values)
def test_any_status_leads_to_a_decision(status: object) -> None:
    decided(LIVED_IN, status)


@settings(max_examples=60, deadline=None)
@given(task=values)
def test_a_task_of_any_kind_in_the_plan_leads_to_a_decision(task: object) -> None:
    item = resource("MaintenanceTask", task, created=at("00:30"), name="clean") | {"status": task}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "plan": {"tasks": [{"name": "clean"}]}}

    decided(spec, tasks={"clean": item})


def half_way() -> WindowWorld:
    """An open window of which one task has run and one runs."""
    world = WindowWorld(now=at("01:30"), spec=LIVED_IN, ingresses={"web": ingress("web")})
    world.outcomes["sweep"] = (minutes(20), "")
    world.wait(minutes(31))
    assert world.swapped() == ["web"]
    return world


STATUS: Final = half_way().status


@settings(max_examples=25, deadline=None)
@given(status=spoilt(STATUS, UNREADABLE))
def test_an_open_window_whose_status_was_garbled_still_comes_to_its_end(status: dict[str, Any]) -> None:
    world = half_way()
    world.live["status"] = status

    world.wait(minutes(40))

    assert world.swapped() == []
    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert world.live["metadata"]["finalizers"] == []
    assert world.page is None
    started = [start.name for _, start in world.started]
    assert len(started) == len(set(started))
