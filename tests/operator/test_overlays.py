"""Pages that lie over their targets come, follow, and go, and the targets never change."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from fakeapi.audit import Entry
from fakeapi.behaviours import NeverFinish
from fakeapi.resources import ROUTES
from replicas.overlays import COVERED, ORDERLY, PAGES, pages, set_up, untouched
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, opened
from replicas.story import KILLED_AFTER, KILLED_BEFORE, retell
from replicas.windows import WINDOW

PATIENCE: Final = 60.0
SWEEPING: Final = {"UPKEEP_SWEEP_INTERVAL": "0.5"}


@pytest.fixture
async def routed(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Stage]:
    """A cluster that knows routes."""
    async with opened(nursery, tmp_path, others=ROUTES) as stage:
        yield stage


async def _open(stage: Stage) -> None:
    set_up(stage)
    stage.cluster.world.jobs(NeverFinish())
    await stage.household.operator(settings=SWEEPING)
    await stage.cluster.until(lambda: len(pages(stage)) == PAGES, within=PATIENCE)


async def _entered(stage: Stage) -> None:
    await stage.cluster.until(
        lambda: stage.status("MaintenanceWindow", WINDOW).get("phase") == "Active", within=PATIENCE
    )


def _writes_to_routes(entry: Entry) -> bool:
    return entry.resource in {"ingresses", "ingressroutes"}


async def test_killed_at_every_write_nothing_of_it_is_left(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(ORDERLY, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER, writes=_writes_to_routes)

    assert tellings >= 2 * 2 * PAGES


async def test_the_targets_are_never_written_to(routed: Stage) -> None:
    await _open(routed)
    await _entered(routed)

    assert untouched(routed)
    names = {made["metadata"]["name"] for made in COVERED.values()}
    assert not [entry for entry in routed.writes if _writes_to_routes(entry) and entry.name in names]


async def test_a_window_that_is_deleted_takes_its_pages_with_it(routed: Stage) -> None:
    await _open(routed)

    routed.cluster.delete("MaintenanceWindow", TEAM, WINDOW)

    await routed.cluster.until(lambda: not pages(routed), within=PATIENCE)
    assert untouched(routed)


async def test_what_changes_on_a_target_changes_what_lies_over_it(routed: Stage) -> None:
    await _open(routed)
    await _entered(routed)
    another = [{"kind": "Rule", "match": "Host(`new.example`)", "services": [{"name": "api", "port": 80}]}]

    routed.cluster.patch("IngressRoute", TEAM, "api", {"spec": {"routes": another}})

    await routed.cluster.until(
        lambda: any("new.example" in str(each["spec"]) for each in pages(routed)), within=PATIENCE
    )
    assert len(pages(routed)) == PAGES


async def test_a_page_that_somebody_took_away_is_not_put_there_again(routed: Stage) -> None:
    await _open(routed)
    await _entered(routed)
    (page,) = [each for each in pages(routed) if each["kind"] == "IngressRoute"]

    routed.cluster.delete("IngressRoute", TEAM, page["metadata"]["name"])

    def state() -> str:
        targets = routed.status("MaintenanceWindow", WINDOW)["occurrence"]["targets"]
        return str(next(each["state"] for each in targets if each["name"] == "api"))

    await routed.cluster.until(lambda: state() == "Restored", within=PATIENCE)
    assert len(pages(routed)) == PAGES - 1


async def test_without_any_operator_a_command_takes_them_away(routed: Stage) -> None:
    await _open(routed)
    await routed.household.die()

    command = await routed.household.run("restore", "--all")

    assert await command.end() == 0
    assert not pages(routed)
    assert untouched(routed)


async def test_an_ingress_that_another_controller_serves_is_refused_with_what_to_use(routed: Stage) -> None:
    set_up(routed, targets=[{"name": "shop"}])

    await routed.household.operator(settings=SWEEPING)

    def ready() -> str:
        return str(routed.condition("MaintenanceWindow", WINDOW, "Ready").get("message", ""))

    await routed.cluster.until(lambda: "use the strategy BackendSwap" in ready(), within=PATIENCE)
    assert not pages(routed)
