"""What an operator costs its API server."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from fakeapi.audit import Entry
from fakeapi.calls import WRITES
from replicas import runs, windows
from replicas.stage import TEAM, Stage, resource

PATIENCE: Final = 60.0
OURS: Final = "upkeep/"
MANY: Final = 1000
YEARLY: Final = "0 0 1 1 *"


def requests(stage: Stage, since: int) -> list[Entry]:
    """All that operators asked of the API server since then, but for watches and their Lease."""
    return [
        entry
        for entry in stage.cluster.audit[since:]
        if entry.user_agent.startswith(OURS) and entry.resource != "leases" and entry.verb != "watch"
    ]


async def test_a_scheduled_run_takes_five_requests(stage: Stage, measured: Callable[[str], None]) -> None:
    await stage.household.operator()
    await stage.watched()
    runs.ONCE.begin(stage)
    await stage.cluster.until(lambda: stage.status("MaintenanceTask", runs.NAME), within=PATIENCE)
    before = len(stage.cluster.audit)

    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    await quiet(stage, renewals=1)

    found = requests(stage, before)
    measured(f"a run: {', '.join(f'{entry.verb} {entry.resource}' for entry in found)}")
    assert len(found) <= 5


async def quiet(stage: Stage, *, renewals: int) -> None:
    """Let so many renewals of the Lease go by, one every two seconds."""
    before = len(stage.cluster.writes)
    await stage.cluster.until(
        lambda: sum(entry.resource == "leases" for entry in stage.cluster.writes[before:]) >= renewals,
        within=PATIENCE,
    )


async def test_who_has_nothing_to_do_writes_nothing(stage: Stage, measured: Callable[[str], None]) -> None:
    """Given a task that has run, one that is due next year, a window that waits, one that cannot open, a backup."""
    windows.furnish(stage)
    stage.cluster.delete("MaintenanceTask", TEAM, runs.NAME)
    later = {"startAt": None, "schedule": YEARLY}
    runs.ONCE.begin(stage)
    stage.created_long_ago(
        resource("MaintenanceTask", "yearly", {"schedule": YEARLY, "job": runs.JOB}),
        resource("MaintenanceWindow", "yearly", windows.window_spec(**later)),
        resource("MaintenanceWindow", "broken", windows.window_spec(**later, plan={"tasks": [{"name": "none"}]})),
        resource("BackupPolicy", "yearly", {}),
    )
    await stage.household.operator()
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    await quiet(stage, renewals=1)
    before = len(stage.cluster.audit)

    await quiet(stage, renewals=5)

    found = requests(stage, before)
    measured(f"idle for 10s: {len(found)} requests besides the Lease")
    assert [entry for entry in found if entry.verb in WRITES] == []


@pytest.mark.parametrize("code", [410, 429, 500])
async def test_a_list_that_fails_at_start_is_taken_up_again(code: int, stage: Stage) -> None:
    failing = stage.cluster.faults.on("list", "maintenancewindows", user_agent=OURS, times=2).answer(code)
    operator = await stage.household.operator()
    runs.ONCE.begin(stage)

    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)

    assert failing.fired == 2
    assert not operator.ended


async def test_a_thousand_tasks_are_listed_in_pages_written_once_and_never_again(
    stage: Stage, measured: Callable[[str], None]
) -> None:
    for number in range(MANY):
        stage.cluster.create(resource("MaintenanceTask", f"task-{number:04}", {"schedule": YEARLY, "job": runs.JOB}))

    begun = time.monotonic()
    first = await stage.household.operator()
    await stage.cluster.until(lambda: len(stage.writes) >= MANY, within=PATIENCE)
    measured(f"{MANY} new tasks: all have a status {time.monotonic() - begun:.1f}s after the start")
    await quiet(stage, renewals=1)
    counted = Counter((entry.verb, entry.resource, entry.subresource) for entry in stage.writes)
    assert counted == {("patch", "maintenancetasks", "status"): MANY}
    assert all(stage.status("MaintenanceTask", f"task-{number:04}")["nextScheduleTime"] for number in range(MANY))

    first.kill()
    await first.end()
    before, begun = len(stage.cluster.audit), time.monotonic()
    await stage.household.operator()
    runs.ONCE.begin(stage)
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    measured(f"{MANY} known tasks: the next run has ended {time.monotonic() - begun:.1f}s after the start")

    found = requests(stage, before)
    assert sum((entry.verb, entry.resource) == ("list", "maintenancetasks") for entry in found) == MANY // 500 + 1
    assert {entry.name for entry in found if entry.verb == "patch"} == {runs.NAME}
