"""Maintenance by hand: an annotation on an Ingress or a route opens a window of its own, once; its removal ends it."""

from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from fakeapi.objects import Json
from fakeapi.resources import ROUTES
from replicas import routes, windows
from replicas.replica import Nursery
from replicas.stage import TEAM, Stage, instant, opened
from replicas.story import KILLED_AFTER, KILLED_BEFORE, Disturbance, Story, retell
from upkeep.domain.byhand import REQUEST_ANNOTATION as REQUEST
from upkeep.domain.byhand import SERVED_ANNOTATION as SERVED
from upkeep.domain.instants import read_instant
from upkeep.domain.maintenance import UNTIL_ANNOTATION, semantically_equal

PATIENCE: Final = 60.0


def annotate(stage: Stage, value: str | None, name: str = "shop", kind: str = "Ingress") -> None:
    """What `kubectl annotate ingress shop upkeep.dev/maintenance=30m` does, and with None `upkeep.dev/maintenance-`."""
    stage.cluster.patch(kind, TEAM, name, {"metadata": {"annotations": {REQUEST: value}}})


def furnished(stage: Stage) -> None:
    """Given Ingresses, and a cluster in which pages come up."""
    stage.cluster.world.deployments(ready_after=0.0)
    for ingress in windows.INGRESSES.values():
        stage.cluster.create(ingress)


def by_hand(stage: Stage) -> Json:
    """The only window that there is."""
    (window,) = stage.cluster.list("maintenancewindows", TEAM)
    return window


def phase(stage: Stage) -> str | None:
    found = stage.cluster.list("maintenancewindows", TEAM)
    return (found[0].get("status") or {}).get("phase") if found else None


def annotations(stage: Stage, name: str = "shop") -> dict[str, Any]:
    found: dict[str, Any] = stage.cluster.get("Ingress", TEAM, name)["metadata"].get("annotations") or {}
    return found


def opened_windows(stage: Stage) -> int:
    """How many windows were created, whatever became of them."""
    written = [entry for entry in stage.writes if (entry.verb, entry.resource) == ("create", "maintenancewindows")]
    return sum(entry.committed for entry in written)


async def on_the_page(stage: Stage, value: str = "30m") -> None:
    """Given an operator that has answered a request."""
    furnished(stage)
    await stage.household.operator()
    annotate(stage, value)
    await stage.cluster.until(lambda: windows.swapped(stage) == {"shop"}, within=PATIENCE)
    await stage.cluster.until(lambda: phase(stage) == "Active", within=PATIENCE)


async def test_an_annotation_puts_just_this_ingress_on_the_page_by_a_window_that_belongs_to_it(stage: Stage) -> None:
    await on_the_page(stage)

    window, shop = by_hand(stage), stage.cluster.get("Ingress", TEAM, "shop")
    assert window["spec"]["urgency"] == "Emergency"
    assert window["spec"]["duration"] == "30m"
    (owner,) = window["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Ingress", shop["metadata"]["uid"])
    assert annotations(stage)[SERVED] == "30m"
    assert "MaintenanceByHand" in {event["reason"] for event in stage.events("shop")}


async def test_to_remove_the_annotation_ends_it(stage: Stage) -> None:
    await on_the_page(stage)

    annotate(stage, None)
    await stage.cluster.until(lambda: phase(stage) == "Completed", within=PATIENCE)

    assert windows.restored(stage)
    assert not {REQUEST, SERVED} & annotations(stage).keys()


async def test_another_value_changes_the_end(stage: Stage) -> None:
    await on_the_page(stage)

    annotate(stage, "1h")
    await stage.cluster.until(lambda: annotations(stage)[SERVED] == "1h", within=PATIENCE)

    assert by_hand(stage)["spec"]["duration"] == "1h"
    end = _later(by_hand(stage)["metadata"]["creationTimestamp"], hours=1)
    await stage.cluster.until(lambda: annotations(stage)[UNTIL_ANNOTATION] == end, within=PATIENCE)


async def test_when_its_time_is_over_it_ends_although_the_annotation_stays_and_does_not_begin_again(
    stage: Stage,
) -> None:
    await on_the_page(stage, "4s")

    await stage.cluster.until(lambda: phase(stage) == "Completed", within=PATIENCE)
    await stage.household.die()
    await stage.household.operator()
    annotate(stage, "2s", name="api")
    await stage.cluster.until(lambda: annotations(stage, "api").get(SERVED) == "2s", within=PATIENCE)

    assert annotations(stage)[REQUEST] == "4s"
    assert opened_windows(stage) == 2, "one for each Ingress"


async def test_a_window_that_somebody_deletes_is_not_opened_again(stage: Stage) -> None:
    await on_the_page(stage)

    stage.cluster.delete("MaintenanceWindow", TEAM, by_hand(stage)["metadata"]["name"])
    await stage.cluster.until(lambda: not stage.cluster.list("maintenancewindows", TEAM), within=PATIENCE)
    await stage.household.die()
    await stage.household.operator()
    annotate(stage, "30m", name="api")
    await stage.cluster.until(lambda: annotations(stage, "api").get(SERVED) == "30m", within=PATIENCE)

    assert annotations(stage)[REQUEST] == "30m"
    assert opened_windows(stage) == 2, "one for each Ingress"


async def test_what_is_set_anew_begins_anew(stage: Stage) -> None:
    await on_the_page(stage, "3s")
    first = by_hand(stage)["metadata"]["uid"]
    await stage.cluster.until(lambda: phase(stage) == "Completed", within=PATIENCE)
    annotate(stage, None)
    await stage.cluster.until(lambda: SERVED not in annotations(stage), within=PATIENCE)

    annotate(stage, "3s")
    await stage.cluster.until(lambda: windows.swapped(stage) == {"shop"}, within=PATIENCE)

    assert by_hand(stage)["metadata"]["uid"] != first


@pytest.mark.parametrize("value", ["abc", "0s", "25h", "", "-5m"])
async def test_what_cannot_be_understood_is_said_on_the_ingress_and_changes_nothing(stage: Stage, value: str) -> None:
    furnished(stage)
    await stage.household.operator()

    annotate(stage, value)
    await stage.cluster.until(lambda: stage.events("shop"), within=PATIENCE)

    (event,) = stage.events("shop")
    assert (event["type"], event["reason"]) == ("Warning", "MaintenanceNotUnderstood")
    assert "write for how long, for example upkeep.dev/maintenance=30m, at most 24h" in event["message"]
    assert {entry.resource for entry in stage.writes} == {"events"}


async def test_what_was_asked_for_and_taken_back_while_nobody_was_there_ends(stage: Stage) -> None:
    await on_the_page(stage)
    await stage.household.die()
    annotate(stage, None)

    await stage.household.operator()
    await stage.cluster.until(lambda: windows.restored(stage) and phase(stage) == "Completed", within=PATIENCE)


class TestRoutes:
    """A cluster that knows both kinds, with an Ingress and a route of each kind, all of one name."""

    KINDS: Final = ("Ingress", *routes.MADE)

    @pytest.fixture
    async def routed(self, nursery: Nursery, tmp_path: Path) -> AsyncIterator[Stage]:
        async with opened(nursery, tmp_path, others=ROUTES) as stage:
            stage.cluster.world.deployments(ready_after=0.0)
            for made in (windows.INGRESSES["shop"], *routes.MADE.values()):
                stage.cluster.create(named_shop(made))
            yield stage

    async def test_each_has_a_window_of_its_own_and_comes_back_when_its_annotation_is_removed(
        self, routed: Stage
    ) -> None:
        await routed.household.operator()

        for kind in self.KINDS:
            annotate(routed, "30m", kind=kind)
        await routed.cluster.until(lambda: on_the_page_are(routed, self.KINDS), within=PATIENCE)

        made = routed.cluster.list("maintenancewindows", TEAM)
        assert {owner["kind"] for window in made for owner in window["metadata"]["ownerReferences"]} == {*self.KINDS}

        annotate(routed, None, kind="HTTPRoute")
        await routed.cluster.until(lambda: on_the_page_are(routed, ("Ingress", "IngressRoute")), within=PATIENCE)

        back = routed.cluster.get("HTTPRoute", TEAM, "shop")
        assert semantically_equal(named_shop(routes.MADE["HTTPRoute"]), back)

    @pytest.mark.parametrize("kind", routes.MADE)
    async def test_what_cannot_be_understood_is_said_on_the_route(self, routed: Stage, kind: str) -> None:
        await routed.household.operator()

        annotate(routed, "abc", kind=kind)
        await routed.cluster.until(lambda: routed.events("shop"), within=PATIENCE)

        (event,) = routed.events("shop")
        assert event["involvedObject"]["kind"] == kind
        assert (event["type"], event["reason"]) == ("Warning", "MaintenanceNotUnderstood")
        assert not routed.cluster.list("maintenancewindows", TEAM)

    async def test_what_was_asked_for_while_nobody_was_there_is_served(self, routed: Stage) -> None:
        annotate(routed, "4s", kind="IngressRoute")

        await routed.household.operator()

        await routed.cluster.until(lambda: on_the_page_are(routed, ("IngressRoute",)), within=PATIENCE)
        await routed.cluster.until(lambda: phase(routed) == "Completed", within=PATIENCE)
        assert not on_the_page_are(routed, ("IngressRoute",))
        back = routed.cluster.get("IngressRoute", TEAM, "shop")
        assert back["spec"] == routes.MADE["IngressRoute"]["spec"]
        assert back["metadata"]["annotations"][REQUEST] == "4s"


def named_shop(made: Json) -> Json:
    return {**made, "metadata": {**made["metadata"], "name": "shop"}}


def on_the_page_are(stage: Stage, kinds: Iterable[str]) -> bool:
    """Whether exactly these are in maintenance mode."""
    label = "upkeep.dev/maintenance-mode=on"
    return {kind for kind in TestRoutes.KINDS if stage.cluster.list(kind, labels=label)} == {*kinds}


def _asked(stage: Stage) -> None:
    furnished(stage)
    annotate(stage, "25s")


def _over(stage: Stage) -> bool:
    shop = stage.cluster.get("Ingress", TEAM, "shop")
    back = shop["spec"] == windows.INGRESSES["shop"]["spec"] and not windows.swapped(stage)
    return phase(stage) == "Completed" and back and not windows.page_objects(stage)


def _once(stage: Stage) -> None:
    assert opened_windows(stage) == 1
    assert annotations(stage)[SERVED] == "25s"


ASKED: Final = Story(name="maintenance by hand", begin=_asked, over=_over, jobs=0, check=_once, within=90.0, at_once=24)


@pytest.mark.parametrize("failure", [KILLED_BEFORE, KILLED_AFTER], ids=lambda failure: failure.name)
async def test_killed_at_every_write_one_request_still_opens_one_window(
    failure: Disturbance, nursery: Nursery, tmp_path: Path
) -> None:
    assert await retell(ASKED, nursery, tmp_path, failure)


def _later(text: str, *, hours: int) -> str:
    return instant(read_instant(text) + timedelta(hours=hours))
