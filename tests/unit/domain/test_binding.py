"""What names windows runs while one of them is open, and never while a freeze forbids it, also across namespaces."""

from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import Object, at, minutes, resource
from unit.domain.taskworld import TaskWorld
from upkeep.domain.binding import Surroundings, Waiting, binding_problem, verdict
from upkeep.domain.instants import write_instant

NIGHT: Final = "platform/night"


def window(name: str = "night", *, namespace: str = "platform", **spec: Any) -> Object:  # noqa: ANN401 - any field
    declared = {"schedule": "0 2 * * *", "duration": "1h", "sharedWith": ["shop"], **spec}
    made = resource("MaintenanceWindow", declared, created=at("00:00"), name=name)
    made["metadata"]["namespace"] = namespace
    return made


def freeze(**spec: Any) -> Object:  # noqa: ANN401 - any field
    return window("sale", kind="Freeze", reason="sale", **spec)


def stands(item: Object, **status: object) -> Object:
    """The window with a status of its present generation."""
    return {**item, "status": {"observedGeneration": 1, **status}}


def opened(item: Object, start: str = "02:00", end: str = "03:00", **occurrence: object) -> Object:
    times = {"startTime": write_instant(at(start)), "endTime": write_instant(at(end))}
    told = {**times, "openedAt": times["startTime"], **occurrence}
    return stands(item, occurrence=told, lastScheduleTime=times["startTime"])


def asked(now: str, *freezes: Object, **windows: Object) -> str:
    """The answer at a time: starts, waits, or the reason why not."""
    named = {name.replace("__", "/"): item for name, item in windows.items()}
    answer = verdict(list(named), Surroundings(windows=named, freezes=freezes), "shop", at(now))
    if answer is None:
        return "starts"
    return f"waits until {answer.until:%H:%M}" if isinstance(answer, Waiting) else f"{answer.ending}({answer.reason})"


class TestWindows:
    def test_it_starts_while_the_window_says_that_it_is_open(self) -> None:
        assert asked("02:10", platform__night=opened(window())) == "starts"

    def test_it_waits_for_a_window_that_has_not_told_yet_whether_it_opens(self) -> None:
        assert asked("02:00", platform__night=stands(window())) == "waits until 03:00"
        assert asked("02:00", platform__night=window()) == "waits until 03:00"

    def test_it_waits_while_something_holds_the_opening_back(self) -> None:
        held = opened(window(), openedAt=None)
        del held["status"]["occurrence"]["openedAt"]

        assert asked("02:10", platform__night=held) == "waits until 03:00"

    def test_a_window_that_was_closed_before_its_time_is_closed(self) -> None:
        assert (
            asked("02:30", platform__night=opened(window(), closedAt="2026-03-02T02:20:00Z")) == "Missed(WindowClosed)"
        )

    def test_an_opening_that_was_skipped_is_not_waited_for(self) -> None:
        skipped = stands(window(), lastScheduleTime="2026-03-02T02:00:00Z")

        assert asked("02:10", platform__night=skipped) == "Missed(WindowClosed)"

    def test_what_began_before_the_schedule_was_seen_never_opens(self) -> None:
        anchor = {"expression": "0 2 * * * Etc/UTC", "since": "2026-03-02T02:05:00Z"}

        assert asked("02:10", platform__night=stands(window(), scheduleAnchor=anchor)) == "Missed(WindowClosed)"

    def test_it_starts_while_a_window_is_open_beyond_what_its_schedule_says(self) -> None:
        assert asked("03:30", platform__night=opened(window(), end="04:00")) == "starts"

    def test_outside_of_all_it_is_missed(self) -> None:
        assert asked("01:00", platform__night=window(), day=window(namespace="shop")) == "Missed(WindowClosed)"

    def test_one_open_window_is_enough(self) -> None:
        day = opened(window("day", namespace="shop", schedule="0 1 * * *", duration="4h"), start="01:00", end="05:00")

        assert asked("02:00", platform__night=stands(window()), day=day) == "starts"

    @pytest.mark.parametrize("change", [{"suspend": True}, {"duration": "long"}], ids=["suspended", "unreadable"])
    def test_a_window_that_does_not_open_is_not_waited_for(self, change: dict[str, Any]) -> None:
        assert asked("02:00", platform__night=stands(window(**change))) == "Missed(WindowClosed)"


class TestFreezes:
    def test_where_only_freezes_are_named_it_starts_at_any_time_but_then(self) -> None:
        assert [asked(time, platform__sale=freeze()) for time in ("01:59", "02:00", "02:59", "03:00")] == [
            "starts",
            "Skipped(Frozen)",
            "Skipped(Frozen)",
            "starts",
        ]

    def test_a_freeze_that_is_named_wins_over_a_window_that_is_open(self) -> None:
        assert asked("02:10", platform__night=opened(window()), platform__sale=freeze()) == "Skipped(Frozen)"

    def test_a_freeze_over_the_namespace_of_the_window_wins_too(self) -> None:
        late = freeze(schedule="5 2 * * *")

        assert asked("02:10", late, platform__night=opened(window())) == "Skipped(Frozen)"
        assert asked("02:04", late, platform__night=opened(window())) == "starts"

    def test_an_opening_that_is_frozen_is_not_waited_for(self) -> None:
        assert asked("02:00", freeze(), platform__night=stands(window())) == "Skipped(Frozen)"

    def test_a_freeze_over_another_namespace_means_nothing(self) -> None:
        elsewhere = window("sale", namespace="bank", kind="Freeze", sharedWith=["shop"])

        assert asked("02:10", elsewhere, platform__night=opened(window())) == "starts"

    def test_an_emergency_goes_on_where_the_freeze_allows_it(self) -> None:
        emergency = window(urgency="Emergency", schedule=None, startAt="2026-03-02T02:00:00Z")
        emergency["spec"].pop("schedule")
        is_open = opened(emergency)

        assert asked("02:10", freeze(allowEmergency=True), platform__night=is_open) == "starts"
        assert asked("02:10", freeze(), platform__night=is_open) == "Skipped(Frozen)"


class TestReferences:
    @pytest.mark.parametrize(
        ("shared", "reason"),
        [(["shop"], None), (["*"], None), (["bank"], "WindowNotShared"), ([], "WindowNotShared")],
    )
    def test_a_window_of_another_namespace_has_to_be_shared(self, shared: list[str], reason: str | None) -> None:
        surroundings = Surroundings(windows={NIGHT: window(sharedWith=shared)})

        problem = binding_problem([NIGHT], surroundings, "shop")

        assert (problem.reason if problem else None) == reason
        assert problem is None or "ask its owners to add shop to its spec.sharedWith" in problem.message

    def test_a_window_of_the_own_namespace_need_not_be(self) -> None:
        windows = {"night": window(namespace="shop", sharedWith=[])}

        assert binding_problem(["night"], Surroundings(windows=windows), "shop") is None

    def test_one_that_is_not_there_is_named_with_its_namespace(self) -> None:
        problem = binding_problem([NIGHT], Surroundings(), "shop")

        assert problem
        assert problem.reason == "WindowNotFound"
        assert "'night' does not exist in namespace 'platform'" in problem.message

    def test_one_of_a_namespace_that_is_not_watched_is_said_not_to_have_been_looked_for(self) -> None:
        problem = binding_problem([NIGHT], Surroundings(served=frozenset({"shop"})), "shop")

        assert problem
        assert problem.reason == "WindowNotFound"
        assert "does not watch namespace 'platform'" in problem.message


class TestTasks:
    SPEC: Final = {"schedule": "0 * * * *", "windows": [NIGHT]}

    def test_it_waits_for_the_window_and_starts_when_that_opens(self) -> None:
        world = TaskWorld(now=at("01:30"), spec=self.SPEC, windows={NIGHT: stands(window())})
        world.wait(minutes(35))
        (ready,) = [each for each in world.status["conditions"] if each["type"] == "Ready"]
        assert (world.status["phase"], ready["message"]) == (
            "Waiting",
            "waits for MaintenanceWindow platform/night to open, until 2026-03-02T03:00:00Z",
        )
        assert not world.started

        world.windows[NIGHT] = opened(window(), openedAt="2026-03-02T02:05:00Z")
        world.act()

        assert world.scheduled_starts == ["02:00"]

    def test_a_window_that_does_not_open_to_its_end_is_a_reason_to_miss_it(self) -> None:
        world = TaskWorld(now=at("01:30"), spec={**self.SPEC, "schedule": "30 2 * * *"}, windows={NIGHT: window()})
        world.windows[NIGHT] = stands(window())

        world.wait(minutes(100))

        assert world.history == [("Missed", "WindowClosed", "02:30")]

    def test_the_next_one_takes_the_place_of_one_that_waits(self) -> None:
        spec = {**self.SPEC, "schedule": "*/20 * * * *"}
        world = TaskWorld(now=at("01:59"), spec=spec, windows={NIGHT: stands(window())})

        world.wait(minutes(42))

        assert world.history == [("Missed", "WindowClosed", "02:20"), ("Missed", "WindowClosed", "02:00")]
        assert world.status["phase"] == "Waiting"

    def test_its_starting_deadline_counts_while_it_waits(self) -> None:
        spec = {**self.SPEC, "startingDeadlineSeconds": 60}
        world = TaskWorld(now=at("01:59"), spec=spec, windows={NIGHT: stands(window())})

        world.wait(minutes(5))

        assert world.history == [("Missed", "DeadlineExceeded", "02:00")]

    def test_in_a_freeze_that_it_names_it_is_skipped_and_says_why(self) -> None:
        spec = {"schedule": "0 * * * *", "windows": ["platform/sale"]}
        world = TaskWorld(now=at("00:30"), spec=spec, windows={"platform/sale": freeze()})

        world.wait(timedelta(hours=3))

        assert world.scheduled_starts == ["01:00", "03:00"]
        (skipped,) = [each for each in world.status["history"] if each["ending"] == "Skipped"]
        assert skipped["message"] == "frozen by platform/sale until 2026-03-02T03:00:00Z: sale"

    def test_a_window_that_is_not_shared_with_it_is_a_problem_and_runs_are_missed(self) -> None:
        world = TaskWorld(now=at("01:30"), spec=self.SPEC, windows={NIGHT: opened(window(sharedWith=[]))})

        world.wait(minutes(40))

        assert world.status["phase"] == "Invalid"
        assert world.history == [("Missed", "InvalidSpec", "02:00")]


class TestBackups:
    SPEC: Final = {"windows": [NIGHT]}

    def test_a_backup_waits_for_the_window_and_starts_when_that_opens(self) -> None:
        world = BackupWorld(now=at("01:30"), spec=self.SPEC, windows={NIGHT: stands(window())})
        world.wait(minutes(35))
        assert (world.status["phase"], world.started) == ("Waiting", [])

        world.windows[NIGHT] = opened(window())
        world.act()

        assert world.order == [("hourly", "02:05:00")]

    def test_outside_it_is_missed(self) -> None:
        world = BackupWorld(now=at("00:30"), spec=self.SPEC, windows={NIGHT: stands(window())})

        world.wait(minutes(60))

        assert world.history == [("hourly", "WindowClosed", "01:00")]

    def test_a_window_that_is_not_shared_with_it_is_a_problem(self) -> None:
        world = BackupWorld(now=at("01:30"), spec=self.SPEC, windows={NIGHT: window(sharedWith=[])})

        world.wait(minutes(40))

        (ready,) = [each for each in world.status["conditions"] if each["type"] == "Ready"]
        assert ready["reason"] == "WindowNotShared"
        assert world.history == [("hourly", "InvalidSpec", "02:00")]
