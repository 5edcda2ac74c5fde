"""What happens when somebody edits, suspends, breaks or deletes a window while it is being prepared or open."""

from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.cluster import GOOD, at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.domain.decision import PatchTarget
from upkeep.domain.maintenance import semantically_equal
from upkeep.domain.window.closing import PAGE_LINGER

TARGETS: Final = [{"kind": "Ingress", "name": "web"}, {"kind": "Ingress", "name": "api"}]
SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "1h",
    "maintenanceMode": {"targets": TARGETS},
    "plan": {"tasks": [{"name": "clean"}, {"name": "sweep"}]},
}
PREPARING: Final = minutes(29.5)
OPEN: Final = minutes(35)
SECOND: Final = timedelta(seconds=1)


def world_at(moment: timedelta, **changes: object) -> WindowWorld:
    """A window whose first task takes ten minutes, so long after 01:30."""
    ingresses = {name: ingress(name) for name in ("web", "api")}
    world = WindowWorld(
        now=at("01:30"), spec={**SPEC, **changes}, ingresses=ingresses, outcomes={"clean": (minutes(10), GOOD)}
    )
    world.wait(moment)
    return world


def assert_all_is_as_before(world: WindowWorld) -> None:
    for name, item in world.ingresses.items():
        assert semantically_equal(item, ingress(name))
        assert {"manager": "upkeep"} not in item["metadata"]["managedFields"]
    assert world.page is None
    if world.window is not None:
        assert world.live["metadata"].get("finalizers", []) == []


def records(world: WindowWorld) -> list[tuple[str, str]]:
    return [(each["ending"], each.get("reason", "")) for each in world.status["history"]]


@pytest.mark.parametrize(
    ("change", "record"),
    [
        ({"suspend": True}, ("Missed", "Suspended")),
        ({"schedule": "0 5 * * *"}, ("Missed", "ScheduleChanged")),
        ({"timeZone": "Asia/Tokyo"}, ("Missed", "ScheduleChanged")),
        ({"exclusions": [{"from": "2026-03-02", "reason": "freeze"}]}, ("Skipped", "Excluded")),
        ({"duration": "long"}, ("Missed", "InvalidSpec")),
    ],
)
def test_edited_while_it_is_prepared_it_does_not_open(change: dict[str, object], record: tuple[str, str]) -> None:
    world = world_at(PREPARING)
    world.edit(**change)

    world.wait(minutes(60))

    assert world.started == []
    assert records(world) == [record]
    assert_all_is_as_before(world)


def test_an_edit_that_leaves_its_time_alone_does_not_stop_it() -> None:
    world = world_at(PREPARING)
    world.edit(schedule="0 2,14 * * *", maintenanceMode={"targets": TARGETS[:1]})

    world.wait(minutes(5))

    assert world.swapped() == ["web"]
    world.wait(minutes(60))
    assert records(world) == [("Ran", "")]
    assert_all_is_as_before(world)


@pytest.mark.parametrize("change", [{"suspend": True}, {"schedule": "0 5 * * *"}, {"exclusions": [{"from": "03-02"}]}])
def test_edited_while_it_is_open_it_is_brought_to_its_end(change: dict[str, object]) -> None:
    world = world_at(OPEN)
    world.edit(**change)

    world.wait(minutes(30))

    assert [start.owner.name for _, start in world.started] == ["clean", "sweep"]
    assert records(world) == [("Ran", "")]
    assert_all_is_as_before(world)


def test_made_unreadable_while_it_is_open_it_lets_go_at_once_and_starts_nothing_more() -> None:
    world = world_at(OPEN)
    world.edit(duration="long")

    world.wait(minutes(1))

    assert_all_is_as_before(world)
    assert [start.owner.name for _, start in world.started] == ["clean"]
    assert world.status["lastRun"]["message"].startswith("its spec was made invalid while it was open")
    assert world.status["phase"] == "Failed"


def test_repaired_it_does_not_open_for_what_is_past() -> None:
    world = world_at(minutes(1))
    world.edit(duration="long")
    world.wait(minutes(40))
    world.edit(duration="1h")

    world.wait(minutes(30))

    assert world.started == []
    assert records(world) == [("Missed", "InvalidSpec")]
    assert world.status["nextScheduleTime"] == "2026-03-03T02:00:00Z"


def test_resumed_in_its_time_it_does_not_open_for_what_is_past() -> None:
    world = world_at(minutes(1), suspend=True)
    world.wait(minutes(40))
    world.edit(suspend=False)

    world.wait(minutes(30))

    assert world.started == []
    assert records(world) == [("Missed", "Suspended")]


def test_resumed_just_before_it_opens() -> None:
    world = world_at(minutes(1), suspend=True)
    world.wait(minutes(28.5))
    world.edit(suspend=False)

    world.wait(minutes(1))

    assert world.status["phase"] == "Active"


def test_a_target_that_is_taken_out_while_it_is_open_is_brought_back_at_the_end() -> None:
    world = world_at(OPEN)
    world.edit(maintenanceMode={"targets": TARGETS[:1]})

    world.wait(minutes(30))

    assert_all_is_as_before(world)


def test_a_target_that_is_taken_out_between_two_patches_is_let_go() -> None:
    world = world_at(PREPARING)
    world.now = at("02:00")
    world.act()
    decision = world.act(crash_after=2)
    assert decision is not None
    assert [type(action) for action in decision.actions] == [PatchTarget, PatchTarget]
    assert world.swapped() == ["web", "api"]
    world.edit(maintenanceMode={"targets": TARGETS[:1]})

    world.wait(minutes(1))

    assert world.swapped() == ["web"]
    assert semantically_equal(world.ingresses["api"], ingress("api"))


def test_maintenance_mode_that_is_removed_while_it_is_open_is_still_lifted() -> None:
    world = world_at(OPEN)
    world.edit(maintenanceMode=None)

    world.wait(minutes(30))

    assert_all_is_as_before(world)


@pytest.mark.parametrize("moment", [minutes(1), PREPARING, OPEN])
def test_deleted_it_puts_everything_back_and_goes(moment: timedelta) -> None:
    world = world_at(moment)
    world.delete()

    world.wait(minutes(1))

    assert world.window is None
    assert_all_is_as_before(world)


def test_deleted_its_page_stays_for_as_long_as_somebody_may_be_on_the_way_to_it() -> None:
    world = world_at(OPEN)
    world.delete()

    world.wait(PAGE_LINGER - SECOND)

    assert world.swapped() == []
    assert world.page is not None
    world.wait(2 * SECOND)
    assert world.window is None
    assert world.page is None


def test_deleted_after_the_operator_was_away_its_page_stays_as_long() -> None:
    world = world_at(OPEN)
    world.delete()
    world.sleep(minutes(5))

    world.wait(PAGE_LINGER - SECOND)

    assert world.swapped() == []
    assert world.page is not None


def test_deleted_just_after_its_end_its_page_stays_as_long() -> None:
    world = world_at(OPEN)
    while world.occurrence.get("closedAt") is None:
        world.wait(SECOND)
    world.delete()

    world.wait(PAGE_LINGER - 2 * SECOND)

    assert world.page is not None
    world.wait(3 * SECOND)
    assert world.window is None
    assert world.page is None


def test_deleted_with_all_its_targets_it_goes_at_once() -> None:
    world = world_at(OPEN)
    world.delete()
    world.wait(SECOND)
    world.ingresses.clear()

    world.wait(3 * SECOND)

    assert world.window is None


def test_deleted_with_an_ingress_whose_record_is_garbled_it_goes_and_says_what_is_left_to_do() -> None:
    world = world_at(OPEN)
    world.ingresses["api"]["metadata"]["annotations"]["upkeep.dev/undo"] = "{"
    world.delete()

    world.wait(minutes(1))

    assert world.window is None
    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert "put its backends back by hand" in said(world.events, "RestoreConflict")[0]


def test_an_ingress_that_is_deleted_meanwhile_does_not_hold_up_the_others() -> None:
    world = world_at(OPEN)
    del world.ingresses["api"]

    world.wait(minutes(30))

    assert_all_is_as_before(world)
    assert [each["state"] for each in world.occurrence["targets"]] == ["Restored", "Missing"]


def test_an_ingress_that_is_made_anew_meanwhile_is_left_as_it_was_made() -> None:
    world = world_at(OPEN)
    world.ingresses["api"] = ingress("api")

    world.wait(minutes(30))

    assert_all_is_as_before(world)


def test_two_windows_on_one_ingress_do_not_bring_it_back_before_the_last_of_them_ends() -> None:
    sunday = world_at(OPEN)
    other = WindowWorld(
        now=sunday.now, spec={**SPEC, "plan": None, "startAt": "2026-03-02T02:05:00Z", "schedule": None}
    )
    other.live["metadata"] |= {"uid": "uid-other", "name": "other"}
    other.live["spec"] = {key: value for key, value in other.live["spec"].items() if value is not None}
    other.live["spec"]["verify"] = {"steps": [{"name": "up", "httpCheck": {"url": "http://shop"}}]}
    other.ingresses = sunday.ingresses
    other.outcomes = {"sunday": (None, GOOD), "other": (None, GOOD)}
    other.wait(minutes(1))
    sunday.wait(minutes(20))
    assert records(sunday) == [("Ran", "")]
    assert sunday.swapped() == ["web", "api"]

    other.wait(minutes(70))

    assert_all_is_as_before(other)


def test_a_status_that_lost_what_is_open_lets_go_of_everything() -> None:
    world = world_at(OPEN)
    world.status["occurrence"]["endTime"] = "soon"

    world.wait(minutes(1))

    assert_all_is_as_before(world)
    assert said(world.events, "StatusUnreadable")
    world.wait(minutes(60))
    assert [start.owner.name for _, start in world.started] == ["clean"]
