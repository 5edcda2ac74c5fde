"""Routes go onto the page and come back like Ingresses, also where a cluster does not know them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jsonpatch
import pytest

from fakeapi.audit import Entry
from fakeapi.behaviours import NeverFinish
from fakeapi.resources import ROUTES
from replicas.replica import Nursery
from replicas.routes import MADE, ORDERLY, as_before, on_page, set_up
from replicas.stage import TEAM, Stage, opened, resource
from replicas.story import KILLED_AFTER, KILLED_BEFORE, retell
from replicas.windows import WINDOW, furnish, restored, swapped, window_spec
from upkeep.domain.maintenance import Holder, swap

if TYPE_CHECKING:
    from fakeapi.objects import Json

PATIENCE: Final = 60.0
SWEEPING: Final = {"UPKEEP_SWEEP_INTERVAL": "0.5"}


@pytest.fixture
async def routed(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Stage]:
    """A cluster that knows both kinds of routes."""
    async with opened(nursery, tmp_path, others=ROUTES) as stage:
        yield stage


def _writes_to_routes(entry: Entry) -> bool:
    return entry.resource in {kind.plural for kind in ROUTES}


async def test_killed_at_every_write_to_a_route_all_is_as_before(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(ORDERLY, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER, writes=_writes_to_routes)

    # Of each route: onto the page, off the page, forgotten.
    assert tellings >= 2 * 6


@pytest.mark.parametrize("kind", MADE)
async def test_a_route_that_nobody_holds_any_more_is_swept(routed: Stage, kind: str) -> None:
    page = Holder(uid="gone", window="long-ago", until=datetime(2020, 1, 1, tzinfo=UTC), service="page", port=80)
    made = {**MADE[kind], "metadata": {**MADE[kind]["metadata"], "resourceVersion": "1"}}
    answer = swap(made, page)
    assert isinstance(answer, list)
    left: Json = jsonpatch.apply_patch(made, answer)
    del left["metadata"]["resourceVersion"]
    routed.cluster.create(left)

    await routed.household.operator(settings=SWEEPING)

    await routed.cluster.until(lambda: as_before(routed), within=PATIENCE)
    assert not on_page(routed)
    (event,) = [event for event in routed.events() if event["reason"] == "Restored"]
    assert event["involvedObject"]["kind"] == kind


async def test_without_any_operator_a_command_puts_routes_back_too(routed: Stage) -> None:
    set_up(routed)
    routed.cluster.world.jobs(NeverFinish())
    await routed.household.operator()
    await routed.cluster.until(lambda: on_page(routed) == MADE.keys(), within=PATIENCE)
    await routed.household.die()

    command = await routed.household.run("restore", "--all")

    assert await command.end() == 0
    assert as_before(routed)
    assert "HTTPRoute team/web: restored" in command.log
    assert "2 of 2 targets are off their maintenance page" in command.log


async def test_a_command_puts_one_route_back(routed: Stage) -> None:
    set_up(routed)
    routed.cluster.world.jobs(NeverFinish())
    await routed.household.operator()
    await routed.cluster.until(lambda: on_page(routed) == MADE.keys(), within=PATIENCE)
    await routed.household.die()

    command = await routed.household.run("restore", "ingressroute/api", "-n", TEAM)

    assert await command.end() == 0
    assert on_page(routed) == {"HTTPRoute"}


async def test_where_a_kind_is_not_known_its_targets_say_so_and_all_others_are_served(stage: Stage) -> None:
    furnish(stage)
    targets = [{"kind": "HTTPRoute", "selector": {}}, {"kind": "IngressRoute", "name": "api"}, {"name": "shop"}]
    stage.cluster.create(resource("MaintenanceWindow", WINDOW, window_spec(maintenanceMode={"targets": targets})))
    stage.cluster.world.jobs(NeverFinish())

    await stage.household.operator(settings=SWEEPING)

    await stage.cluster.until(lambda: swapped(stage) == {"shop"}, within=PATIENCE)
    ready = stage.condition("MaintenanceWindow", WINDOW, "Ready")
    assert ready["reason"] == "TargetNotFound"
    assert "this cluster does not know the kind IngressRoute: install Traefik's resources" in ready["message"]
    stage.cluster.delete("MaintenanceWindow", TEAM, WINDOW)
    await stage.cluster.until(lambda: restored(stage) and not swapped(stage), within=PATIENCE)
