"""When a MaintenanceTask runs, and what is written down about the times at which it does not."""

from datetime import timedelta

import pytest

from unit.domain.cluster import at, minutes, said
from unit.domain.taskworld import TaskWorld

HOURLY = {"schedule": "0 * * * *"}
EVERY_MINUTE = {"schedule": "* * * * *"}


def test_a_task_runs_at_each_of_its_times_and_only_then() -> None:
    world = TaskWorld(now=at("00:30"), spec=HOURLY)

    world.wait(minutes(149))

    assert world.scheduled_starts == ["01:00", "02:00"]
    assert [started for started, _ in world.started] == [at("01:00"), at("02:00")]
    assert world.history == [("Ran", "ok", "02:00"), ("Ran", "ok", "01:00")]
    assert world.status["nextScheduleTime"] == "2026-03-02T03:00:00Z"
    assert world.wake_at == at("03:00")


def test_a_task_that_nobody_has_seen_counts_from_its_creation() -> None:
    world = TaskWorld(now=at("00:30"), spec=HOURLY)
    world.sleep(minutes(120))

    world.wait(minutes(1))

    assert world.history == [("Ran", "ok", "02:00"), ("Missed", "OperatorDown", "01:00")]


def test_the_last_of_several_missed_is_caught_up_and_each_other_is_named() -> None:
    world = TaskWorld(now=at("00:30"), spec=HOURLY)
    world.wait(minutes(1))
    world.sleep(minutes(240))

    world.wait(minutes(1))

    assert world.scheduled_starts == ["04:00"]
    assert world.history == [
        ("Ran", "ok", "04:00"),
        ("Missed", "OperatorDown", "03:00"),
        ("Missed", "OperatorDown", "02:00"),
        ("Missed", "OperatorDown", "01:00"),
    ]
    assert len(said(world.events, "MissedOperatorDown")) == 3


def test_five_missed_are_named_one_by_one_and_six_become_one_record() -> None:
    few, many = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE), TaskWorld(now=at("00:30"), spec=EVERY_MINUTE)
    few.sleep(minutes(6))
    many.sleep(minutes(7))

    few.act()
    many.act()

    assert [ending for ending, _, _ in few.history] == ["Missed"] * 5
    (record,) = many.status["history"]
    assert (record["count"], record["scheduledTime"]) == (6, "2026-03-02T00:31:00Z")
    assert record["message"].startswith("6 occurrences, 2026-03-02T00:31:00Z to 2026-03-02T00:36:00Z")


def test_more_than_a_hundred_missed_are_one_record_that_does_not_claim_to_have_counted() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE)
    world.sleep(timedelta(days=400))

    world.act()

    (record,) = world.status["history"]
    assert record["count"] == 100
    assert record["message"].startswith("at least 100 occurrences up to 2027-04-06T00:29:00Z: nobody was there")
    assert world.scheduled_starts == ["00:30"]


def test_exactly_a_hundred_and_one_are_at_least_a_hundred_missed_and_one_run() -> None:
    world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE)
    world.sleep(minutes(101))

    world.act()

    assert [record["count"] for record in world.status["history"]] == [100]


def test_the_same_time_is_never_started_twice_even_if_the_status_was_not_written() -> None:
    world = TaskWorld(now=at("00:59:59"), spec=HOURLY)
    world.act()
    world.sleep(timedelta(seconds=1))
    first = world.act(lose_status=True)

    world.wait(minutes(5))

    assert first.actions
    assert world.scheduled_starts == ["01:00"]
    assert world.history == [("Ran", "ok", "01:00")]


def test_the_same_time_is_never_started_twice_even_if_its_job_was_removed() -> None:
    world = TaskWorld(now=at("00:59:59"), spec=HOURLY, takes=None)
    world.wait(minutes(1))
    world.jobs.delete(world.jobs.active[0])

    world.wait(minutes(5))

    assert world.scheduled_starts == ["01:00"]
    assert world.history == [("Ran", "JobDeleted", "01:00")]
    assert said(world.events, "RunUnknown")[0].endswith("its Job was deleted before it ended")
    assert world.status["lastRun"]["outcome"] == "unknown"
    assert world.status.get("active", []) == []


def test_what_ran_without_being_noted_is_not_called_missed_later() -> None:
    world = TaskWorld(now=at("00:59:59"), spec=HOURLY)
    world.act()
    world.sleep(timedelta(seconds=1))
    world.act(lose_status=True)
    world.sleep(minutes(120))

    world.wait(minutes(5))

    assert world.history == [("Ran", "ok", "03:00"), ("Missed", "OperatorDown", "02:00"), ("Ran", "ok", "01:00")]


class TestDeadline:
    def test_a_run_that_would_start_too_late_is_missed(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "startingDeadlineSeconds": 600})
        world.sleep(minutes(41))

        world.act()

        assert world.history == [("Missed", "DeadlineExceeded", "01:00")]
        assert world.status["history"][0]["message"] == "660s late, startingDeadlineSeconds is 600"

    def test_at_the_deadline_itself_it_still_starts(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "startingDeadlineSeconds": 600})
        world.sleep(minutes(40))

        world.act()

        assert world.scheduled_starts == ["01:00"]


class TestJitter:
    def test_a_run_starts_within_its_jitter_at_the_same_offset_for_everybody(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "jitter": "20m"})
        other = TaskWorld(now=at("00:30"), spec={**HOURLY, "jitter": "20m"})
        world.wait(minutes(60))
        other.wait(minutes(60))

        ((started, _),) = world.started
        assert at("01:00") < started < at("01:20")
        assert other.started[0][0] == started

    def test_a_jitter_longer_than_the_schedule_delays_no_run_beyond_the_next(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={"schedule": "*/10 * * * *", "jitter": "3h"})

        world.wait(minutes(60))

        assert world.scheduled_starts == ["00:40", "00:50", "01:00", "01:10", "01:20"]
        assert {ending for ending, _, _ in world.history} == {"Ran"}

    def test_the_deadline_counts_from_the_start_that_the_jitter_gives(self) -> None:
        spec = {**HOURLY, "jitter": "59m", "startingDeadlineSeconds": 1}
        world = TaskWorld(now=at("00:30"), spec=spec)

        world.wait(minutes(95))

        assert world.scheduled_starts == ["01:00"]


class TestExclusions:
    def test_an_excluded_time_is_skipped_with_the_reason_that_was_given(self) -> None:
        freeze = {"from": "2026-03-02T01:30:00Z", "to": "2026-03-02T02:30:00Z", "reason": "release day"}
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "exclusions": [freeze]})

        world.wait(minutes(180))

        assert world.history == [("Ran", "ok", "03:00"), ("Skipped", "Excluded", "02:00"), ("Ran", "ok", "01:00")]
        assert world.status["history"][1]["message"] == "release day"

    def test_excluded_times_are_skipped_and_not_missed_however_many_they_are(self) -> None:
        freeze = {"from": "2026-03-02T00:31:00Z", "to": "2026-03-02T01:00:00Z", "reason": "holidays"}
        world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "exclusions": [freeze]})
        world.sleep(minutes(40))

        world.act()

        counts = {(record["ending"], record["reason"]): record["count"] for record in world.status["history"]}
        assert counts == {("Skipped", "Excluded"): 29, ("Missed", "OperatorDown"): 10}
        assert world.scheduled_starts == ["01:10"]

    def test_the_next_time_that_is_announced_is_one_that_will_run(self) -> None:
        freeze = {"from": "2026-03-02", "reason": "today"}
        world = TaskWorld(now=at("00:30"), spec={**HOURLY, "exclusions": [freeze]})

        world.act()

        assert world.status["nextScheduleTime"] == "2026-03-03T00:00:00Z"


class TestConcurrency:
    def test_forbid_leaves_out_what_is_due_while_the_last_run_still_runs(self) -> None:
        world = TaskWorld(now=at("00:30"), spec=EVERY_MINUTE, takes=minutes(3))

        world.wait(minutes(2.5))

        assert world.scheduled_starts == ["00:31"]
        assert world.history[0] == ("Missed", "ConcurrencyForbidden", "00:32")
        assert world.status["history"][0]["message"] == f"{world.jobs.active[0]} still ran"

    def test_allow_starts_it_besides(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "concurrencyPolicy": "Allow"}, takes=minutes(3))

        world.wait(minutes(2.5))

        assert world.scheduled_starts == ["00:31", "00:32"]
        assert len(world.status["active"]) == 2

    def test_replace_stops_the_old_one_and_says_so(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "concurrencyPolicy": "Replace"}, takes=minutes(3))

        world.wait(minutes(2.5))

        assert world.scheduled_starts == ["00:31", "00:32"]
        assert len(world.jobs.active) == 1
        assert world.history == [("Ran", "JobDeleted", "00:31")]
        assert world.status["active"] == world.jobs.active

    def test_a_run_that_was_replaced_counts_once_though_its_job_lingers(self) -> None:
        world = TaskWorld(now=at("00:30"), spec={**EVERY_MINUTE, "concurrencyPolicy": "Replace"}, takes=minutes(3))
        world.wait(minutes(1))
        old = world.jobs.active[0]
        lingering = world.jobs.objects[old], world.jobs.pods[old]
        world.wait(minutes(1))
        world.jobs.objects[old], world.jobs.pods[old] = lingering
        world.act()
        world.jobs.delete(old)

        world.act()

        assert world.history == [("Ran", "JobDeleted", "00:31")]
        assert world.status["consecutiveFailures"] == 1

    @pytest.mark.parametrize("policy", ["Forbid", "Allow", "Replace"])
    def test_a_run_much_longer_than_the_history_is_counted_once(self, policy: str) -> None:
        spec = {**EVERY_MINUTE, "concurrencyPolicy": policy, "schedule": "* 0 * * *"}
        world = TaskWorld(now=at("00:30"), spec=spec, takes=minutes(15), good=False)

        world.wait(minutes(80))

        ended = said(world.events, "RunFailed", "RunUnknown")
        assert len(ended) == len(world.started)
        assert len({message.partition(":")[0] for message in ended}) == len(ended)
        assert world.status["consecutiveFailures"] == len(ended)
