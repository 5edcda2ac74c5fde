"""Killed before and after every single write of a freeze: nothing begins in it, and all is accounted for once."""

from pathlib import Path

from replicas import freezes
from replicas.replica import Nursery
from replicas.story import KILLED_AFTER, KILLED_BEFORE, retell


async def test_killed_at_every_write_of_a_freeze_nothing_begins_in_it(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(freezes.LEFT_OUT, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)

    # The freeze begins and ends, one window is left out, the other is opened, worked through and closed.
    assert tellings >= 2 * 10
