"""Edits, suspensions and repairs of a MaintenanceTask: none of them sets off what is past, and nothing gets lost."""

from typing import Any, Final

import pytest

from unit.domain.cluster import at, minutes, said
from unit.domain.taskworld import TaskWorld

HOURLY = {"schedule": "0 * * * *"}


class TestEdits:
    def test_an_edited_schedule_counts_from_when_the_edit_was_seen(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.wait(minutes(45))
        world.edit(schedule="10 * * * *")

        world.wait(minutes(40))

        assert world.scheduled_starts == ["01:00"]
        assert world.status["nextScheduleTime"] == "2026-03-02T02:10:00Z"

    def test_what_the_former_schedule_missed_is_not_forgotten(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.wait(minutes(1))
        world.sleep(minutes(100))
        world.edit(schedule="55 * * * *")

        world.wait(minutes(60))

        assert world.history == [
            ("Ran", "ok", "02:55"),
            ("Missed", "ScheduleChanged", "02:00"),
            ("Missed", "ScheduleChanged", "01:00"),
        ]

    def test_another_time_zone_is_another_schedule(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"schedule": "0 2 * * *"})
        world.wait(minutes(1))
        world.edit(timeZone="America/New_York")

        world.wait(minutes(600))

        assert world.scheduled_starts == ["07:00"]

    def test_a_schedule_that_is_added_later_does_not_count_from_the_creation(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={})
        world.wait(minutes(120))
        world.edit(**HOURLY)

        world.wait(minutes(45))

        assert world.scheduled_starts == ["03:00"]

    def test_a_schedule_that_is_removed_and_put_back_does_not_fire_the_past(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.wait(minutes(1))
        world.edit(schedule=None)
        world.wait(minutes(120))
        world.edit(**HOURLY)

        world.wait(minutes(10))

        assert world.started == []
        assert world.history == []

    def test_a_task_that_was_edited_before_anybody_saw_it_does_not_fire_the_past(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"schedule": "0 12 * * *"})
        world.sleep(minutes(120))
        world.edit(**HOURLY)

        world.wait(minutes(10))

        assert world.started == []

    def test_whatever_stood_there_before_never_stops_a_decision(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.act()
        world.task["status"]["scheduleAnchor"]["expression"] = "written by another version"

        world.wait(minutes(45))

        assert world.scheduled_starts == ["01:00"]


class TestASingleTime:
    def test_it_runs_once(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"runAt": "2026-03-02T01:00:00Z"})

        world.wait(minutes(180))

        assert world.scheduled_starts == ["01:00"]
        assert world.status["phase"] == "Idle"
        assert world.wake_at is None

    def test_the_past_means_at_once(self) -> None:
        world = TaskWorld(now=at("02:30"), spec={"runAt": "2026-03-02T01:00:00Z"})

        world.wait(minutes(180))

        assert [started for started, _ in world.started] == [at("02:30")]

    def test_moved_before_it_ran_it_runs_at_the_new_time_only(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"runAt": "2026-03-02T01:00:00Z"})
        world.wait(minutes(10))
        world.edit(runAt="2026-03-02T02:00:00+01:00")
        world.wait(minutes(10))
        world.edit(runAt="2026-03-02T03:00:00Z")

        world.wait(minutes(180))

        assert world.scheduled_starts == ["03:00"]
        assert {ending for ending, _, _ in world.history} == {"Ran"}


class TestSuspension:
    def test_a_suspended_task_starts_nothing_and_resumed_it_fires_nothing_of_the_past(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.wait(minutes(1))
        world.edit(suspend=True)
        world.wait(minutes(130))
        assert world.status["suspendedSince"] == "2026-03-02T00:31:00Z"
        assert (world.status["phase"], world.wake_at) == ("Suspended", None)
        world.edit(suspend=False)

        world.wait(minutes(25))

        assert world.scheduled_starts == ["03:00"]
        assert world.history[1:] == [("Missed", "Suspended", "02:00"), ("Missed", "Suspended", "01:00")]
        assert "suspendedSince" not in world.status

    def test_suspended_while_it_runs_it_does_not_forget_that_it_was(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY, takes=minutes(200))
        world.wait(minutes(31))
        world.edit(suspend=True)
        world.wait(minutes(70))
        world.edit(suspend=False)

        world.wait(minutes(5))

        assert world.scheduled_starts == ["01:00"]
        assert world.history == [("Missed", "Suspended", "02:00")]

    def test_suspended_with_a_missing_connection_it_does_not_forget_that_it_was(self) -> None:
        step = {"name": "check", "redisMemory": {"connection": "cache"}}
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "job": None, "steps": [step], "suspend": True})
        world.wait(minutes(70))
        target = {"name": "cache", "redis": {"host": "redis"}}
        world.edit(suspend=False, connections=[target])

        world.wait(minutes(5))

        assert world.started == []
        assert world.history == [("Missed", "Suspended", "01:00")]

    def test_what_was_missed_before_the_suspension_keeps_its_own_reason(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.act()
        world.sleep(minutes(40))
        world.edit(suspend=True)
        world.wait(minutes(60))
        world.edit(suspend=False)

        world.act()

        assert world.history == [("Missed", "Suspended", "02:00"), ("Missed", "OperatorDown", "01:00")]

    def test_a_schedule_that_is_changed_while_resuming_accounts_for_the_suspended_times(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "suspend": True})
        world.wait(minutes(60))
        world.edit(suspend=False, schedule="45 * * * *")

        world.wait(minutes(20))

        assert world.history == [("Ran", "ok", "01:45"), ("Missed", "Suspended", "01:00")]


class TestProblems:
    @pytest.mark.parametrize(
        ("wrong", "right", "reason"),
        [
            ({"schedule": "61 * * * *"}, HOURLY, "InvalidSchedule"),
            ({"timeZone": "Mars/Olympus"}, {"timeZone": "Etc/UTC"}, "InvalidSchedule"),
            ({"timeout": "soon"}, {"timeout": "1h"}, "InvalidSpec"),
        ],
    )
    def test_a_spec_that_cannot_be_read_stalls_and_repaired_it_does_not_fire_the_past(
        self, wrong: dict[str, object], right: dict[str, object], reason: str
    ) -> None:
        world = TaskWorld(now=at("00:30"), spec=HOURLY)
        world.wait(minutes(1))
        world.edit(**wrong)
        world.wait(minutes(60))
        stalled = next(each for each in world.status["conditions"] if each["type"] == "Stalled")
        assert (stalled["status"], stalled["reason"], world.status["phase"]) == ("True", reason, "Invalid")
        world.edit(**right)

        world.wait(minutes(60))

        assert world.scheduled_starts == ["02:00"]
        assert world.history[1:] == [("Missed", "InvalidSpec", "01:00")]

    def test_created_wrong_and_repaired_later_it_does_not_fire_the_past(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"schedule": "0 0 31 2 *"})
        world.wait(minutes(60))
        world.edit(**HOURLY)

        world.wait(minutes(45))

        assert world.scheduled_starts == ["02:00"]
        assert {ending for ending, _, _ in world.history} == {"Ran"}

    def test_what_runs_is_followed_to_its_end_though_the_spec_is_wrong_by_now(self) -> None:
        world = TaskWorld(now=at("00:59:59"), spec=HOURLY, takes=None)
        world.wait(minutes(1))
        name = world.jobs.active[0]
        world.edit(timeout="soon")
        world.act()
        world.jobs.end(name, world.now, seen=False)

        world.wait(minutes(1))

        assert world.history == [("Ran", "ok", "01:00")]

    def test_a_connection_that_is_not_defined_is_named_with_those_that_are(self) -> None:
        step = {"name": "check", "redisMemory": {"connection": "cache"}}
        defined = [{"name": "store", "redis": {"host": "redis"}}]
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "job": None, "steps": [step], "connections": defined})

        world.wait(minutes(45))

        ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
        assert ready["reason"] == "ConnectionNotDefined"
        assert ready["message"] == ("step 'check' uses connection 'cache': add it to spec.connections (defined: store)")
        assert world.history == [("Missed", "InvalidSpec", "01:00")]
        assert said(world.events, "MissedInvalidSpec")


NIGHT: Final[dict[str, Any]] = {"spec": {"schedule": "0 1 * * *", "duration": "30m"}, "metadata": {"name": "night"}}


class TestWindows:
    def test_it_runs_only_while_one_of_its_windows_is_open(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"schedule": "*/15 * * * *", "windows": ["night"]})
        world.windows = {"night": NIGHT}

        world.wait(minutes(74))

        assert world.scheduled_starts == ["01:00", "01:15"]
        closed = [due for ending, reason, due in world.history if (ending, reason) == ("Missed", "WindowClosed")]
        assert closed == ["01:30", "00:45"]

    @pytest.mark.parametrize(
        "change", [{"suspend": True}, {"duration": "0s"}, {"exclusions": [{"from": "03-02"}]}, {"schedule": "nightly"}]
    )
    def test_a_window_that_does_not_open_is_closed(self, change: dict[str, object]) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "windows": ["night"]})
        world.windows = {"night": {**NIGHT, "spec": {**NIGHT["spec"], **change}}}

        world.wait(minutes(45))

        assert world.history == [("Missed", "WindowClosed", "01:00")]

    def test_a_window_that_is_not_there_is_named(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "windows": ["night"]})

        world.act()

        ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WindowNotFound")
        assert "'night' does not exist in this namespace: create it" in ready["message"]
