"""What people ask of a window by annotations: start now, end now, cancel, extend."""

from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.cluster import GOOD, at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.domain.identity import OWNER_KIND_LABEL

PAGE: Final[dict[str, Any]] = {"maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}]}}
PLAN: Final[dict[str, Any]] = {"plan": {"tasks": [{"name": "clean"}]}}


def nightly(now: str = "01:30", **besides: Any) -> WindowWorld:  # noqa: ANN401
    takes = besides.pop("takes", minutes(20))
    spec = {"schedule": "0 2 * * *", "duration": "1h", **PAGE, **PLAN, **besides}
    return WindowWorld(now=at(now), spec=spec, ingresses={"web": ingress("web")}, outcomes={"clean": (takes, GOOD)})


def ask(world: WindowWorld, **annotations: str | None) -> None:
    """`kubectl annotate`; None removes."""
    metadata = world.live["metadata"]
    known = metadata.setdefault("annotations", {})
    for name, value in annotations.items():
        key = f"upkeep.dev/{name.replace('_', '-')}"
        known.pop(key, None)
        if value is not None:
            known[key] = value


class TestStartNow:
    def test_it_opens_at_once_for_its_duration_and_goes_on_by_schedule(self) -> None:
        world = nightly("00:10", takes=minutes(5))
        world.act()
        ask(world, start_now="1", requested_by="alice")

        world.wait(minutes(1))

        assert world.swapped() == ["web"]
        assert (world.occurrence["trigger"], world.occurrence["endTime"]) == ("Manual", "2026-03-02T01:10:00Z")
        assert world.occurrence["interventions"][0]["by"] == "alice"
        world.wait(minutes(130))
        assert [(f"{start:%H:%M}") for start, _ in world.started] == ["00:10", "02:00"]
        assert [each["outcome"] for each in world.status["history"]] == ["ok", "ok"]

    def test_the_same_value_is_no_second_request_and_another_one_is(self) -> None:
        world = nightly("00:10", takes=timedelta(seconds=5))
        ask(world, start_now="1")
        world.wait(minutes(10))
        world.wait(minutes(10))
        assert len(world.started) == 1

        ask(world, start_now="2")
        world.wait(minutes(10))
        assert len(world.started) == 2

    def test_one_that_is_suspended_says_why_it_does_not_start(self) -> None:
        world = nightly("00:10", suspend=True)
        ask(world, start_now="1")

        world.wait(minutes(5))

        assert world.started == []
        assert ["it is suspended" in event for event in said(world.events, "RequestRefused")] == [True]

    def test_a_status_that_has_forgotten_what_was_asked_starts_nothing(self) -> None:
        world = nightly("00:10", takes=timedelta(seconds=5))
        ask(world, start_now="1")
        world.wait(minutes(10))
        world.live["status"]["requests"] = "garbage"

        world.wait(minutes(10))

        assert len(world.started) == 1


class TestEndNow:
    def test_it_closes_and_what_was_not_done_is_said(self) -> None:
        world = nightly(plan={"tasks": [{"name": "clean"}, {"name": "next"}]})
        world.wait(minutes(35))
        ask(world, end_now="1", requested_by="bob")

        world.wait(minutes(1))

        assert world.swapped() == []
        assert world.task_states() == {"clean": ("Failed", "Overran"), "next": ("Skipped", "WindowClosed")}
        assert "it was ended early" in world.status["lastRun"]["message"]
        assert list(said(world.events, "WindowEnded")) == ["ended early by bob"]

    def test_it_does_nothing_to_the_next_opening(self) -> None:
        world = nightly(schedule="0 2,4 * * *")
        world.wait(minutes(35))
        ask(world, end_now="1")
        world.wait(minutes(120))

        assert world.occurrence["startTime"] == "2026-03-02T04:00:00Z"
        assert "closedAt" not in world.occurrence

    def test_a_window_that_is_closed_says_that_it_is(self) -> None:
        world = nightly()
        ask(world, end_now="1")

        world.wait(minutes(5))
        world.wait(minutes(1))

        assert len(said(world.events, "RequestRefused")) == 1


class TestCancel:
    def test_the_next_opening_is_left_out_and_the_one_after_it_is_not(self) -> None:
        world = nightly(schedule="0 2,4 * * *")
        world.act()
        ask(world, cancel="1", requested_by="carol")
        world.act()
        assert world.status["nextScheduleTime"] == "2026-03-02T04:00:00Z"
        assert "2026-03-02T02:00:00Z was cancelled by carol" in said(world.events, "WindowCancelled")[0]

        world.wait(minutes(60))
        assert world.started == []
        (record,) = world.status["history"]
        assert (record["reason"], record["message"]) == ("Cancelled", "it was cancelled by carol")
        world.wait(minutes(120))
        assert len(world.started) == 1
        assert "cancelled" not in world.status

    def test_one_that_is_cancelled_is_not_forgotten_when_the_schedule_is_edited(self) -> None:
        world = nightly(schedule="0 4 * * *")
        world.act()
        ask(world, cancel="1")
        world.act()
        world.edit(schedule="0 2,4 * * *")

        world.wait(minutes(180))

        assert [f"{start:%H:%M}" for start, _ in world.started] == ["02:00"]

    def test_in_preparation_it_does_not_open(self) -> None:
        world = nightly()
        world.wait(minutes(29.5))
        assert world.page is not None
        ask(world, cancel="1")

        world.wait(minutes(10))

        assert not (world.started)
        assert not (world.swapped())
        assert not (world.page)
        assert world.status["history"][0]["reason"] == "Cancelled"

    def test_while_it_is_open_its_tasks_are_stopped(self) -> None:
        world = nightly()
        world.wait(minutes(35))
        ask(world, cancel="1")

        world.wait(minutes(1))

        assert (world.jobs.active, world.swapped()) == ([], [])
        assert world.task_states()["clean"] == ("Failed", "Stopped")
        assert "it was cancelled while it was open" in world.status["lastRun"]["message"]

    def test_a_window_that_opens_once_is_cancelled_for_good(self) -> None:
        world = nightly(schedule=None, startAt="2026-03-02T02:00:00Z")
        del world.live["spec"]["schedule"]
        ask(world, cancel="1")

        world.wait(minutes(60))

        assert (world.started, world.status["phase"]) == ([], "Cancelled")


class TestExtend:
    @pytest.mark.parametrize(("value", "end"), [("30m", "03:30"), ("2h", "05:00")])
    def test_the_end_moves_by_so_much(self, value: str, end: str) -> None:
        world = nightly(takes=None)
        world.wait(minutes(35))
        ask(world, extend=value)

        world.wait(minutes(20))

        assert world.occurrence["endTime"] == f"2026-03-02T{end}:00Z"
        assert world.pages_shown == 2
        world.wait(minutes(180))
        assert world.occurrence["closedAt"] == f"2026-03-02T{end}:00Z"

    def test_another_value_counts_from_the_end_as_it_was_planned(self) -> None:
        world = nightly(takes=None)
        world.wait(minutes(35))
        for value in ("30m", "45m", "10m"):
            ask(world, extend=value)
            world.wait(minutes(1))

        assert world.occurrence["endTime"] == "2026-03-02T03:10:00Z"

    @pytest.mark.parametrize("value", ["", "soon", "-5m", "99999999999h"])
    def test_what_is_no_duration_is_refused_with_an_example(self, value: str) -> None:
        world = nightly(takes=None)
        world.wait(minutes(35))
        ask(world, extend=value)

        world.wait(minutes(1))

        assert world.occurrence["endTime"] == "2026-03-02T03:00:00Z"
        assert "for example 30m" in said(world.events, "RequestRefused")[0]


class TestTakenBack:
    @staticmethod
    def preparing() -> WindowWorld:
        """A window whose page does not come up."""
        world = nightly("00:10")
        world.warm_up = None
        return world

    def test_a_start_that_is_not_asked_for_any_more_is_called_off_while_its_page_comes_up(self) -> None:
        world = self.preparing()
        ask(world, start_now="1")
        world.wait(minutes(1))
        assert world.status["phase"] == "Preparing"

        ask(world, start_now=None)
        world.wait(minutes(1))

        assert world.status["phase"] == "Scheduled"
        record = world.status["history"][0]
        assert (record["ending"], record["reason"]) == ("Skipped", "Cancelled")
        assert "taken back" in record["message"]

    def test_what_is_open_stays_open_when_its_request_goes(self) -> None:
        world = nightly("00:10", takes=minutes(5))
        ask(world, start_now="1")
        world.wait(minutes(1))

        ask(world, start_now=None)
        world.wait(minutes(1))

        assert world.swapped() == ["web"]

    @pytest.mark.parametrize("ran_for", [0, 30])
    def test_maintenance_by_hand_that_is_taken_back_before_its_page_is_up_was_cancelled(self, ran_for: int) -> None:
        world = WindowWorld(
            now=at("00:10"),
            spec={"urgency": "Emergency", "duration": "30m", "maintenanceMode": {"targets": [{"name": "web"}]}},
            ingresses={"web": ingress("web")},
            warm_up=None,
        )
        world.live["metadata"]["labels"] = {OWNER_KIND_LABEL: "Ingress"}
        ask(world, maintenance="30m")
        if ran_for:
            world.wait(timedelta(seconds=ran_for))
            assert world.status["phase"] == "Preparing"
        else:
            world.now += timedelta(seconds=5)

        ask(world, maintenance=None)
        world.edit(duration=f"{max(1, ran_for)}s")
        world.wait(minutes(1))

        assert world.status["phase"] == "Cancelled"
        assert world.pages_shown == 0 or world.page is None
