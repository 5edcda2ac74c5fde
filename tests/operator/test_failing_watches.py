"""What the watches do not tell, or tell twice or late, changes nothing in the end."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from replicas import runs
from replicas.replica import Nursery
from replicas.stage import Stage
from replicas.story import Story, tell

HEALING: Final = {"UPKEEP_RELIST_INTERVAL": "1"}
"""Settings of an operator that soon notices what the watches did not tell."""
KINDS: Final = ("maintenancetasks", "jobs", "pods")


def disturbed(story: Story, kind: str, how: str) -> Story:
    """The story with watches of one kind that do not do as they should."""

    def begin(stage: Stage) -> None:
        getattr(stage.cluster.faults.on_watch(kind), how)()
        story.begin(stage)

    return replace(story, begin=begin, settings={**story.settings, **HEALING})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["duplicate", "lose", "silence", "hold"])
async def test_it_ends_as_it_does_with_good_watches(how: str, kind: str, nursery: Nursery, tmp_path: Path) -> None:
    model = await tell(runs.ONCE, nursery, tmp_path / "undisturbed")

    await tell(disturbed(runs.ONCE, kind, how), nursery, tmp_path / "disturbed", like=model)


async def test_watches_that_end_and_whose_history_is_forgotten_are_taken_up_again(
    nursery: Nursery, tmp_path: Path
) -> None:
    model = await tell(runs.ONCE, nursery, tmp_path / "undisturbed")

    async def forget(stage: Stage) -> None:
        await stage.cluster.until(lambda: stage.status("MaintenanceTask", runs.NAME), within=30)
        stage.cluster.compact()
        stage.cluster.end_watches()

    ending = await tell(replace(runs.ONCE, meanwhile=forget), nursery, tmp_path / "disturbed", like=model)

    assert ending.state == model.state


async def test_a_task_that_no_watch_tells_of_is_found_by_the_next_full_list(stage: Stage) -> None:
    stage.cluster.faults.on_watch("maintenancetasks").silence()
    await stage.household.operator(settings=HEALING)
    await stage.watched()

    runs.ONCE.begin(stage)

    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=30)
    assert len(stage.started()) == 1
