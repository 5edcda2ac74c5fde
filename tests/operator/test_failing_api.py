"""Whatever the API server does to a single write: exactly one Job for each occasion, and the same end."""

from dataclasses import replace
from pathlib import Path

import pytest

from replicas import runs
from replicas.replica import Nursery
from replicas.story import FAILURES, IMPATIENT, Disturbance, retell


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
async def test_a_task_runs_once(failure: Disturbance, nursery: Nursery, tmp_path: Path) -> None:
    story = replace(runs.ONCE, settings={**runs.ONCE.settings, **IMPATIENT})

    assert await retell(story, nursery, tmp_path, failure)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
async def test_a_backup_and_its_check_run_once_each(failure: Disturbance, nursery: Nursery, tmp_path: Path) -> None:
    story = replace(runs.BACKUP, settings={**runs.BACKUP.settings, **IMPATIENT})

    assert await retell(story, nursery, tmp_path, failure)
