"""Killed before and after every single write of a window: the Ingresses come back, and its plan is what it was."""

from pathlib import Path

from replicas import windows
from replicas.replica import Nursery
from replicas.story import KILLED_AFTER, KILLED_BEFORE, retell


async def test_killed_at_every_write_of_a_window_all_is_as_before(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(windows.ORDERLY, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)

    assert tellings >= 2 * 30


async def test_killed_at_every_write_a_plan_keeps_the_tasks_that_it_chose(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(windows.LABELLED, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)

    assert tellings >= 2 * 8
