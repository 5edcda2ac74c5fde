"""Every occasion is accounted for exactly once, also where Jobs or statuses are lost."""

from pathlib import Path
from typing import Any, Final

from fakeapi.behaviours import Finish, NeverFinish
from replicas import runs, windows
from replicas.replica import Nursery
from replicas.stage import REPORT, TEAM, Stage, resource
from replicas.story import KILLED_AFTER, KILLED_BEFORE, Story, occasions, retell

PATIENCE: Final = 60.0
TASK: Final = "MaintenanceTask"


def history(stage: Stage, kind: str = TASK, name: str = runs.NAME) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.status(kind, name).get("history", [])
    return found


def jobs(stage: Stage) -> list[str]:
    return [each["metadata"]["name"] for each in stage.cluster.list("jobs", TEAM)]


async def test_a_job_that_somebody_deletes_while_it_runs_is_accounted_for_and_not_started_again(stage: Stage) -> None:
    runs.ONCE.begin(stage)
    stage.cluster.world.jobs(NeverFinish())
    await stage.household.operator()
    await stage.watched()
    await stage.cluster.until(lambda: stage.status(TASK, runs.NAME).get("active"), within=PATIENCE)

    stage.cluster.delete("Job", TEAM, jobs(stage)[0])
    await stage.cluster.until(lambda: history(stage), within=PATIENCE)

    assert len(occasions(stage)) == 1
    (record,) = history(stage)
    assert (record["ending"], record["outcome"], record["reason"]) == ("Ran", "unknown", "JobDeleted")
    assert record["message"] == "its Job was deleted before it ended"
    assert not stage.status(TASK, runs.NAME).get("active")
    assert stage.condition(TASK, runs.NAME, "LastRunSucceeded")["status"] == "False"


async def test_a_job_that_is_deleted_before_the_watches_begin_is_missed_soon(stage: Stage) -> None:
    runs.ONCE.begin(stage)
    stage.cluster.world.jobs(NeverFinish())
    late = stage.cluster.faults.on("list", "jobs", user_agent="kopf/", times=1).delay(2.0)
    await stage.household.operator(settings={"UPKEEP_RELIST_INTERVAL": "3"})
    await stage.cluster.until(lambda: stage.status(TASK, runs.NAME).get("active"), within=PATIENCE)

    stage.cluster.delete("Job", TEAM, jobs(stage)[0])
    await stage.cluster.until(lambda: history(stage), within=PATIENCE)

    assert late.fired == 1
    assert history(stage)[0]["reason"] == "JobDeleted"


async def test_a_job_that_is_deleted_while_nobody_is_there_is_accounted_for_too(stage: Stage) -> None:
    runs.ONCE.begin(stage)
    stage.cluster.world.jobs(NeverFinish())
    await stage.household.operator()
    await stage.cluster.until(lambda: stage.status(TASK, runs.NAME).get("active"), within=PATIENCE)
    await stage.household.die()
    stage.cluster.delete("Job", TEAM, jobs(stage)[0])

    await stage.household.operator()
    await stage.cluster.until(lambda: history(stage), within=PATIENCE)

    assert len(occasions(stage)) == 1
    assert history(stage)[0]["reason"] == "JobDeleted"


async def test_a_status_that_is_lost_is_written_again_from_the_jobs_that_are_there(stage: Stage) -> None:
    runs.ONCE.begin(stage)
    await stage.household.operator()
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    before = history(stage)

    nothing = dict.fromkeys(stage.status(TASK, runs.NAME))
    stage.cluster.patch(TASK, TEAM, runs.NAME, {"status": nothing}, subresource="status")
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)

    assert len(occasions(stage)) == 1
    assert history(stage) == before


async def test_a_job_that_is_deleted_after_its_end_is_not_made_again(stage: Stage) -> None:
    runs.ONCE.begin(stage)
    await stage.household.operator()
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    await stage.household.die()
    before = stage.status(TASK, runs.NAME)
    stage.cluster.delete("Job", TEAM, jobs(stage)[0])

    await stage.household.operator()
    stage.cluster.create(resource(TASK, "next", {"runAt": "2026-01-01T00:00:00Z", "job": runs.JOB}))
    await stage.cluster.until(lambda: history(stage, name="next"), within=PATIENCE)

    assert len(occasions(stage)) == 2, "one for each of the two tasks"
    assert stage.status(TASK, runs.NAME) == before


def _asked_for(stage: Stage) -> None:
    stage.cluster.world.jobs(NeverFinish())
    spec = {"job": runs.JOB, "concurrencyPolicy": "Replace"}
    stage.cluster.create(resource(TASK, runs.NAME, spec, annotations={"upkeep.dev/run-now": "first"}))


async def _due(stage: Stage) -> None:
    await stage.cluster.until(lambda: stage.status(TASK, runs.NAME).get("active"), within=PATIENCE)
    stage.cluster.world.jobs(Finish(outcome=lambda _: (0, REPORT), running=0.05))
    stage.cluster.patch(TASK, TEAM, runs.NAME, {"spec": {"runAt": "2026-01-01T00:00:00Z"}})


REPLACED: Final = Story(
    name="a run that is replaced by the next",
    begin=_asked_for,
    meanwhile=_due,
    over=lambda stage: [each["outcome"] for each in history(stage)] == ["ok", "unknown"] and len(jobs(stage)) == 1,
    jobs=2,
)


async def test_killed_at_every_write_a_run_replaces_another_once(nursery: Nursery, tmp_path: Path) -> None:
    assert await retell(REPLACED, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)


def _forgetful(stage: Stage) -> None:
    """A plan of two tasks, of which the first keeps no Jobs."""
    windows.furnish(stage)
    stage.cluster.patch(TASK, TEAM, runs.NAME, {"spec": {"successfulRunsHistoryLimit": 0}})
    stage.cluster.create(resource(TASK, "second", {"job": runs.JOB}))
    plan = {"tasks": [{"name": runs.NAME}, {"name": "second", "dependsOn": [runs.NAME]}]}
    spec = windows.window_spec(plan=plan, maintenanceMode=None, verify=None)
    stage.cluster.create(resource("MaintenanceWindow", windows.WINDOW, spec))


def _all_done(stage: Stage) -> bool:
    status = stage.status("MaintenanceWindow", windows.WINDOW)
    states = [task["state"] for task in status.get("occurrence", {}).get("tasks", ())]
    return status.get("phase") == "Completed" and states == ["Succeeded", "Succeeded"] and len(jobs(stage)) == 1


FORGETFUL: Final = Story(
    name="a plan with a task that keeps no Jobs",
    begin=_forgetful,
    over=lambda stage: _all_done(stage) and all(history(stage, name=name) for name in (runs.NAME, "second")),
    jobs=2,
)


async def test_a_plan_does_not_start_a_task_again_whose_job_was_cleared_away(nursery: Nursery, tmp_path: Path) -> None:
    assert await retell(FORGETFUL, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)


async def test_a_plan_does_not_start_a_task_again_whose_job_somebody_deleted(stage: Stage) -> None:
    windows.furnish(stage)
    stage.cluster.world.jobs(NeverFinish())
    spec = windows.window_spec(maintenanceMode=None, verify=None)
    stage.cluster.create(resource("MaintenanceWindow", windows.WINDOW, spec))
    await stage.household.operator()
    await stage.watched()
    await stage.cluster.until(lambda: stage.status(TASK, runs.NAME).get("active"), within=PATIENCE)

    stage.cluster.delete("Job", TEAM, jobs(stage)[0])
    await stage.cluster.until(
        lambda: stage.status("MaintenanceWindow", windows.WINDOW)["phase"] == "Failed", within=PATIENCE
    )

    assert len(occasions(stage)) == 1
    (task,) = stage.status("MaintenanceWindow", windows.WINDOW)["occurrence"]["tasks"]
    assert (task["state"], task["reason"]) == ("Failed", "JobDeleted")
