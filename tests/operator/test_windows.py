"""Maintenance mode always ends, also where nobody plays by the rules."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import jsonpatch
import pytest

from fakeapi.audit import Entry
from fakeapi.behaviours import NeverFinish
from fakeapi.objects import Json
from replicas import windows
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, resource
from replicas.story import FAILURES, IMPATIENT, KILLED_AFTER, KILLED_BEFORE, Disturbance, Story, retell
from replicas.windows import WINDOW, furnish, open_window, page_objects, restored, swapped, window_spec
from upkeep.domain.instants import read_instant
from upkeep.domain.maintenance import Holder, swap

PATIENCE: Final = 60.0
SWEEPING: Final = {"UPKEEP_SWEEP_INTERVAL": "0.5"}


def in_maintenance(stage: Stage) -> bool:
    """Whether users see the page, and a task that takes its time runs."""
    return swapped(stage) == windows.INGRESSES.keys() and len(stage.cluster.list("jobs", TEAM)) == 1


def gone(stage: Stage) -> bool:
    return not stage.cluster.list("maintenancewindows", TEAM)


async def opened_for_long(stage: Stage, **changes: object) -> None:
    """Given a window that is open, with both Ingresses on the page and a task that does not end."""
    open_window(stage, **changes)
    stage.cluster.world.jobs(NeverFinish())
    await stage.household.operator(settings=SWEEPING)
    await stage.cluster.until(lambda: in_maintenance(stage), within=PATIENCE)


def without_finalizers(stage: Stage) -> None:
    """What people do to a window that does not want to go."""
    stage.cluster.patch("MaintenanceWindow", TEAM, WINDOW, {"metadata": {"finalizers": []}})
    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)


def orphan(name: str) -> Json:
    """An Ingress that a window has left on its page."""
    ingress = {**windows.INGRESSES["api"], "metadata": {"name": name, "namespace": TEAM, "resourceVersion": "1"}}
    page = Holder(uid="gone", window="long-ago", until=datetime(2020, 1, 1, tzinfo=UTC), service="page", port=80)
    answer = swap(ingress, page)
    assert isinstance(answer, list)
    left: Json = jsonpatch.apply_patch(ingress, answer)
    del left["metadata"]["resourceVersion"]
    return left


async def _passed(end: str) -> None:
    while datetime.now(UTC) <= read_instant(end):  # noqa: ASYNC110 - it waits for the clock, no event of ours
        await asyncio.sleep(0.05)


async def test_a_window_that_is_deleted_while_it_is_open_puts_everything_back_and_goes(stage: Stage) -> None:
    await opened_for_long(stage)

    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)
    await stage.cluster.until(lambda: gone(stage), within=PATIENCE)

    assert restored(stage), "it went before its Ingresses were back"
    assert not page_objects(stage)


async def _deleted(stage: Stage) -> None:
    await stage.cluster.until(lambda: in_maintenance(stage), within=PATIENCE)
    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)


def _restless(stage: Stage) -> None:
    open_window(stage)
    stage.cluster.world.jobs(NeverFinish())


DELETED: Final = Story(
    name="a window that is deleted while it is open",
    begin=_restless,
    meanwhile=_deleted,
    over=lambda stage: gone(stage) and restored(stage) and not page_objects(stage),
    jobs=1,
)


def _of_the_restore(entry: Entry) -> bool:
    return entry.resource in {"ingresses", "maintenancewindows"} and not entry.subresource


async def test_killed_at_every_write_of_a_deletion_everything_is_put_back(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(DELETED, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER, writes=_of_the_restore)

    # Into maintenance mode: finalizer, two Ingresses. Out of it: both restored, both forgotten, finalizer.
    assert tellings >= 2 * 8


def _of_maintenance_mode(entry: Entry) -> bool:
    return entry.resource in {"ingresses", *windows.PAGE_KINDS, "maintenancewindows"} and not entry.subresource


SHORT: Final = replace(
    windows.ORDERLY,
    over=lambda stage: stage.status("MaintenanceWindow", WINDOW).get("phase") == "Completed" and restored(stage),
    check=lambda _: None,
    settings={**windows.ORDERLY.settings, **IMPATIENT},
)


@pytest.mark.parametrize(
    "failure",
    [failure for failure in FAILURES if failure.name.split()[0] in {"conflict", "late"} or "spite" in failure.name],
    ids=lambda failure: failure.name,
)
async def test_whatever_the_api_server_does_to_a_write_the_ingresses_come_back(
    failure: Disturbance, nursery: Nursery, tmp_path: Path
) -> None:
    assert await retell(SHORT, nursery, tmp_path, failure, writes=_of_maintenance_mode)


async def test_a_window_that_is_removed_by_force_is_swept_up_after(stage: Stage) -> None:
    await opened_for_long(stage)

    without_finalizers(stage)

    assert not restored(stage)
    await stage.cluster.until(lambda: restored(stage), within=PATIENCE)
    assert {event["reason"] for event in stage.events("shop")} == {"Restored"}


async def test_a_window_that_was_removed_by_force_while_nobody_was_there_is_swept_up_after_at_start(
    stage: Stage,
) -> None:
    await opened_for_long(stage)
    await stage.household.die()
    without_finalizers(stage)

    await stage.household.operator(settings={"UPKEEP_SWEEP_INTERVAL": "3600"})

    await stage.cluster.until(lambda: restored(stage), within=PATIENCE)


async def test_a_window_that_was_deleted_while_nobody_was_there_waits_and_then_puts_everything_back(
    stage: Stage,
) -> None:
    await opened_for_long(stage)
    await stage.household.die()
    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)
    assert not gone(stage)

    await stage.household.operator()
    await stage.cluster.until(lambda: gone(stage), within=PATIENCE)

    assert restored(stage)


async def test_without_any_operator_a_command_puts_everything_back(stage: Stage) -> None:
    await opened_for_long(stage)
    await stage.household.die()

    command = await stage.household.run("restore", "--all")

    assert await command.end() == 0
    assert restored(stage)
    assert "team/api: restored" in command.log
    assert "2 of 2 targets are off their maintenance page" in command.log


async def test_what_a_command_put_back_an_operator_that_returns_leaves_alone(stage: Stage) -> None:
    await opened_for_long(stage)
    await stage.household.die()
    command = await stage.household.run("restore", "--all")
    await command.end()

    stage.cluster.world.jobs()
    stage.cluster.delete("Job", TEAM, stage.cluster.list("jobs", TEAM)[0]["metadata"]["name"])
    before = len(stage.writes)
    await stage.household.operator()
    await stage.cluster.until(
        lambda: stage.status("MaintenanceWindow", WINDOW)["occurrence"].get("closedAt"), within=PATIENCE
    )

    assert restored(stage)
    assert not [entry for entry in stage.writes[before:] if entry.resource == "ingresses"]


async def test_a_window_never_outlives_its_end(stage: Stage) -> None:
    await opened_for_long(stage, duration="6s")

    await stage.cluster.until(lambda: restored(stage), within=PATIENCE)
    await stage.cluster.until(lambda: stage.status("MaintenanceWindow", WINDOW)["phase"] == "Failed", within=PATIENCE)

    last = stage.status("MaintenanceWindow", WINDOW)["lastRun"]
    assert "the window ended before its plan and verification did" in last["message"]


async def test_a_window_that_ended_while_nobody_was_there_is_closed_at_once(stage: Stage) -> None:
    await opened_for_long(stage, duration="6s")
    await stage.household.die()
    end = stage.status("MaintenanceWindow", WINDOW)["occurrence"]["endTime"]
    await asyncio.wait_for(_passed(end), PATIENCE)
    assert not restored(stage)

    await stage.household.operator()

    await stage.cluster.until(lambda: restored(stage), within=PATIENCE)


async def test_what_somebody_changed_meanwhile_is_left_alone_and_said(stage: Stage) -> None:
    await opened_for_long(stage)
    backend = {"service": {"name": "new-shop", "port": {"number": 80}}}
    change = [{"op": "replace", "path": "/spec/defaultBackend", "value": backend}]
    stage.cluster.patch("Ingress", TEAM, "shop", change)

    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)
    await stage.cluster.until(lambda: gone(stage) and not swapped(stage), within=PATIENCE)

    shop = stage.cluster.get("Ingress", TEAM, "shop")
    assert shop["spec"]["defaultBackend"] == backend
    assert shop["spec"]["rules"] == windows.INGRESSES["shop"]["spec"]["rules"]
    said = [event["message"] for event in stage.events(WINDOW) if event["reason"] == "RestoreConflict"]
    assert said
    assert all("the default backend leads to Service new-shop:80 now" in message for message in said)


async def test_an_undo_record_that_cannot_be_read_is_said_once_and_harms_nobody_else(stage: Stage) -> None:
    await opened_for_long(stage)
    garbled = {"metadata": {"annotations": {"upkeep.dev/undo": "{not json"}}}
    stage.cluster.patch("Ingress", TEAM, "shop", garbled)

    without_finalizers(stage)
    await stage.cluster.until(lambda: swapped(stage) == {"shop"}, within=PATIENCE)
    for name in ("next", "after-next"):
        stage.cluster.create(orphan(name))
        await stage.cluster.until(lambda: swapped(stage) == {"shop"}, within=PATIENCE)

    said = [event["message"] for event in stage.events("shop") if event["reason"] == "UndoRecordUnreadable"]
    assert len(said) == 1
    assert "put its backends back by hand or from Git" in said[0]


async def test_a_page_that_does_not_come_up_keeps_the_window_closed(stage: Stage) -> None:
    furnish(stage, page_after=None)
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(duration="3s")))
    await stage.household.operator()

    await stage.cluster.until(
        lambda: stage.status("MaintenanceWindow", WINDOW).get("phase") == "Failed", within=PATIENCE
    )

    assert restored(stage)
    assert not stage.started()
    message = stage.status("MaintenanceWindow", WINDOW)["lastRun"]["message"]
    assert "its maintenance page did not become ready in time" in message
