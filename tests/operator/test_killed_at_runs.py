"""Killed before and after every single write: exactly one Job for each occasion, and the same end."""

from pathlib import Path

import pytest

from replicas import runs
from replicas.replica import Nursery
from replicas.story import KILLED_AFTER, KILLED_BEFORE, Story, retell


@pytest.mark.parametrize("story", runs.ALL, ids=lambda story: story.name)
async def test_killed_at_every_write_each_occasion_has_one_job(story: Story, nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(story, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER)

    assert tellings >= 2 * (2 + story.jobs)
