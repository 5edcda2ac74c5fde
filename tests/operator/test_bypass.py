"""Testers pass by the page: the routes for them come before it, go after it, and never stay behind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from fakeapi.audit import Entry
from fakeapi.behaviours import NeverFinish
from fakeapi.resources import ROUTES
from replicas.replica import Nursery
from replicas.routes import (
    BYPASS,
    MADE,
    PASSED_BY,
    as_before,
    companions,
    on_page,
    set_up,
    set_up_with_bypass,
)
from replicas.stage import TEAM, Stage, opened
from replicas.story import KILLED_AFTER, KILLED_BEFORE, retell
from replicas.windows import WINDOW
from upkeep.api.window import Bypass
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import Companion, bypass
from upkeep.resources.companion import companion_object

PATIENCE: Final = 60.0
SWEEPING: Final = {"UPKEEP_SWEEP_INTERVAL": "0.5"}
PLURALS: Final = {kind.plural for kind in ROUTES}


@pytest.fixture
async def routed(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Stage]:
    """A cluster that knows both kinds of routes, and in which nothing ends by itself."""
    async with opened(nursery, tmp_path, others=ROUTES) as stage:
        yield stage


async def _open(stage: Stage) -> None:
    set_up_with_bypass(stage)
    stage.cluster.world.jobs(NeverFinish())
    await stage.household.operator(settings=SWEEPING)
    await stage.cluster.until(lambda: on_page(stage) == MADE.keys(), within=PATIENCE)


def _writes_to_routes(entry: Entry) -> bool:
    return entry.resource in PLURALS


def _verbs(stage: Stage, plural: str) -> list[str]:
    return [entry.verb for entry in stage.writes if entry.resource == plural and entry.committed]


def _edit(stage: Stage, mode: dict[str, Any]) -> None:
    stage.cluster.patch("MaintenanceWindow", TEAM, WINDOW, {"spec": {"maintenanceMode": mode}})


async def test_killed_at_every_write_to_a_route_nothing_of_it_is_left(nursery: Nursery, tmp_path: Path) -> None:
    tellings = await retell(PASSED_BY, nursery, tmp_path, KILLED_BEFORE, KILLED_AFTER, writes=_writes_to_routes)

    # Of each route: the one for testers, onto the page, off the page, forgotten, and the one for testers removed.
    assert tellings >= 2 * 10


async def test_who_may_pass_can_do_so_before_anybody_meets_the_page(routed: Stage) -> None:
    await _open(routed)

    for plural in PLURALS:
        assert _verbs(routed, plural) == ["create", "patch"]
    owner = routed.cluster.get("MaintenanceWindow", TEAM, WINDOW)["metadata"]["uid"]
    assert [each["metadata"]["ownerReferences"][0]["uid"] for each in companions(routed)] == [owner, owner]
    (web,) = [each for each in companions(routed) if each["kind"] == "HTTPRoute"]
    assert [each["name"] for each in web["spec"]["rules"][0]["backendRefs"]] == ["web", "canary"]


async def test_a_window_that_is_deleted_takes_them_with_it_after_the_targets_are_back(routed: Stage) -> None:
    await _open(routed)

    routed.cluster.delete("MaintenanceWindow", TEAM, WINDOW)

    await routed.cluster.until(lambda: not companions(routed) and as_before(routed), within=PATIENCE)
    for plural in PLURALS:
        assert _verbs(routed, plural) == ["create", "patch", "patch", "delete", "patch"]


async def test_who_may_pass_can_be_changed_while_it_is_open(routed: Stage) -> None:
    await _open(routed)

    _edit(routed, {"bypass": {"header": {"name": "X-Preview", "value": "another-7f3a"}}})
    await routed.cluster.until(
        lambda: all("another-7f3a" in str(each["spec"]) for each in companions(routed)), within=PATIENCE
    )
    assert len(companions(routed)) == len(MADE)

    _edit(routed, {"bypass": None})
    await routed.cluster.until(lambda: not companions(routed), within=PATIENCE)
    assert on_page(routed) == MADE.keys()


async def test_who_may_pass_can_be_said_only_when_it_is_open(routed: Stage) -> None:
    set_up(routed)
    routed.cluster.world.jobs(NeverFinish())
    await routed.household.operator(settings=SWEEPING)
    await routed.cluster.until(lambda: on_page(routed) == MADE.keys(), within=PATIENCE)

    _edit(routed, {"bypass": BYPASS})

    await routed.cluster.until(lambda: len(companions(routed)) == len(MADE), within=PATIENCE)
    (web,) = [each for each in companions(routed) if each["kind"] == "HTTPRoute"]
    assert [each["name"] for each in web["spec"]["rules"][0]["backendRefs"]] == ["web", "canary"]


async def test_what_a_window_has_lost_sight_of_is_swept(routed: Stage) -> None:
    set_up(routed)
    routed.cluster.world.jobs(NeverFinish())
    uid = routed.cluster.get("MaintenanceWindow", TEAM, WINDOW)["metadata"]["uid"]
    owner = Identity(kind="MaintenanceWindow", namespace=TEAM, name=WINDOW, uid=uid)
    made = bypass(MADE["HTTPRoute"], Bypass.model_validate(BYPASS))
    assert isinstance(made, Companion)
    routed.cluster.create(companion_object(owner, made, datetime(2020, 1, 1, tzinfo=UTC)))

    await routed.household.operator(settings=SWEEPING)

    await routed.cluster.until(lambda: not companions(routed), within=PATIENCE)


async def test_without_any_operator_a_command_removes_them_too(routed: Stage) -> None:
    await _open(routed)
    await routed.household.die()

    command = await routed.household.run("restore", "--all")

    assert await command.end() == 0
    assert as_before(routed)
    assert not companions(routed)
    assert "removed, beside HTTPRoute/web" in command.log


async def test_a_command_for_one_target_removes_what_stands_beside_it(routed: Stage) -> None:
    await _open(routed)
    await routed.household.die()

    command = await routed.household.run("restore", "ingressroute/api", "-n", TEAM)

    assert await command.end() == 0
    assert {each["kind"] for each in companions(routed)} == {"HTTPRoute"}
    assert on_page(routed) == {"HTTPRoute"}


async def test_a_route_of_somebody_else_that_has_its_name_is_left_alone_and_said(routed: Stage) -> None:
    await _open(routed)
    (web,) = [each for each in companions(routed) if each["kind"] == "HTTPRoute"]
    name, spec = web["metadata"]["name"], {**web["spec"], "hostnames": ["elsewhere.example"]}
    routed.cluster.delete("HTTPRoute", TEAM, name)
    mine = {"apiVersion": web["apiVersion"], "kind": "HTTPRoute", "metadata": {"name": name, "namespace": TEAM}}

    routed.cluster.create({**mine, "spec": spec})
    _edit(routed, {"page": {"title": "Closed"}})

    await routed.cluster.until(
        lambda: any("does not belong to" in event["message"] for event in routed.events(WINDOW)), within=PATIENCE
    )
    assert routed.cluster.get("HTTPRoute", TEAM, name)["spec"]["hostnames"] == ["elsewhere.example"]
