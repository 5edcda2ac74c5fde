"""What steps remember goes from run to run, once, wherever the operator dies in between."""

import json
from pathlib import Path
from typing import Any, Final

from fakeapi.behaviours import Finish
from fakeapi.objects import Json
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, resource
from replicas.story import KILLED_AFTER, KILLED_BEFORE, Story, retell
from upkeep.domain.order import ORDER_VARIABLE, RunOrder

PATIENCE: Final = 60.0
TASK: Final = "MaintenanceTask"
NAME: Final = "audit"
SEEN: Final = "a1b2c3d4c1c00000 0badcafe"
"""One of grade critical that was published in 2025, and one without a deadline."""


def _counted(job: Json) -> tuple[int, str]:
    """A Pod that says how many runs there were, as far as it was told."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable["value"] for variable in container["env"]}
    (step,) = RunOrder.decode(values[ORDER_VARIABLE].replace("$$", "$")).steps
    before = step.previous.values["runs"] if step.previous else "0"
    told = {
        "name": step.name,
        "action": step.action_name,
        "outcome": "ok",
        "findings": 2,
        "seen": SEEN,
        "memory": {"runs": str(int(before) + 1), "said": "$(HOME) ä"},
    }
    return 0, json.dumps({"outcome": "ok", "message": "looked", "steps": [told]})


def _begin(stage: Stage) -> None:
    stage.cluster.world.jobs(Finish(outcome=_counted, running=0.05))
    spec = {"steps": [{"name": "look", "httpCheck": {"url": "http://shop"}}]}
    stage.cluster.create(resource(TASK, NAME, spec, annotations={"upkeep.dev/run-now": "run-1"}))


def _runs(stage: Stage) -> int:
    return len(stage.status(TASK, NAME).get("history", ()))


async def _again(stage: Stage) -> None:
    for number in (2, 3):
        await stage.cluster.until(lambda number=number: _runs(stage) == number - 1, within=PATIENCE)  # type: ignore[misc]
        asked = {"metadata": {"annotations": {"upkeep.dev/run-now": f"run-{number}"}}}
        stage.cluster.patch(TASK, TEAM, NAME, asked)


def _remembered(stage: Stage) -> dict[str, Any]:
    (entry,) = stage.status(TASK, NAME)["memory"]
    found: dict[str, Any] = entry
    return found


def _check(stage: Stage) -> None:
    entry = _remembered(stage)
    assert (entry["step"], entry["action"]) == ("look", "httpCheck")
    assert entry["values"] == {"runs": "3", "said": "$(HOME) ä"}
    old, young = entry["findings"]
    first = stage.status(TASK, NAME)["history"][-1]["completionTime"]
    assert [old["firstSeen"], young["firstSeen"]] == [first, first]
    assert old["overdue"]
    assert "due" not in young
    assert stage.status(TASK, NAME)["overdueFindings"] == 1


REMEMBERED: Final = Story(
    name="a step that remembers over three runs",
    begin=_begin,
    meanwhile=_again,
    over=lambda stage: _runs(stage) == 3,
    check=_check,
    jobs=3,
)


async def test_killed_at_every_write_steps_remember_the_same(nursery: Nursery, tmp_path: Path) -> None:
    assert await retell(REMEMBERED, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)


async def test_a_status_that_is_lost_remembers_again_what_the_jobs_tell(stage: Stage) -> None:
    _begin(stage)
    await stage.household.operator()
    await _again(stage)
    await stage.cluster.until(lambda: _runs(stage) == 3, within=PATIENCE)
    before = _remembered(stage)

    nothing = dict.fromkeys(stage.status(TASK, NAME))
    stage.cluster.patch(TASK, TEAM, NAME, {"status": nothing}, subresource="status")
    await stage.cluster.until(lambda: _runs(stage) == 3, within=PATIENCE)

    assert _remembered(stage) == before


async def test_what_was_remembered_of_a_step_that_is_gone_is_forgotten(stage: Stage) -> None:
    _begin(stage)
    await stage.household.operator()
    await stage.cluster.until(lambda: _runs(stage) == 1, within=PATIENCE)

    steps = [{"name": "other", "httpCheck": {"url": "http://shop"}}]
    stage.cluster.patch(TASK, TEAM, NAME, {"spec": {"steps": steps}})
    await stage.cluster.until(lambda: "memory" not in stage.status(TASK, NAME), within=PATIENCE)

    assert "overdueFindings" not in stage.status(TASK, NAME)


async def test_what_becomes_overdue_between_two_runs_is_told_then(stage: Stage) -> None:
    _begin(stage)
    stage.cluster.patch(TASK, TEAM, NAME, {"spec": {"patchDeadlines": {"critical": "3650d"}}})
    await stage.household.operator()
    await stage.cluster.until(lambda: _runs(stage) == 1, within=PATIENCE)
    assert "overdueFindings" not in stage.status(TASK, NAME)
    (entry,) = stage.status(TASK, NAME)["memory"]
    soon = [{**age, "due": entry["time"]} if "due" in age else age for age in entry["findings"]]

    written = {"status": {"memory": [{**entry, "findings": soon}]}}
    stage.cluster.patch(TASK, TEAM, NAME, written, subresource="status")
    await stage.cluster.until(lambda: stage.status(TASK, NAME).get("overdueFindings") == 1, within=PATIENCE)

    await stage.cluster.until(
        lambda: any(event["reason"] == "PatchOverdue" for event in stage.events(NAME)), within=PATIENCE
    )
