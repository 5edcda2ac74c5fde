"""A maintenance window from its preparation to its end: what users see, what runs, and what is left afterwards."""

from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.cluster import BAD, GOOD, at, minutes, resource, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.domain.maintenance import semantically_equal

SECONDS: Final = timedelta(seconds=1)
NIGHTLY: Final[dict[str, Any]] = {"schedule": "0 2 * * *", "duration": "1h"}
PAGE: Final[dict[str, Any]] = {"maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}]}}


def plan(*tasks: str | dict[str, Any], **settings: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a plan
    return {"plan": {"tasks": [{"name": each} if isinstance(each, str) else each for each in tasks], **settings}}


def furnished(spec: dict[str, Any], *, now: str = "01:30", **attributes: Any) -> WindowWorld:  # noqa: ANN401
    return WindowWorld(now=at(now), spec=spec, ingresses={"web": ingress("web")}, **attributes)


def order(world: WindowWorld) -> list[tuple[str, str]]:
    return [(start.owner.name, f"{started:%H:%M:%S}") for started, start in world.started]


class TestMaintenanceMode:
    def test_the_page_comes_up_ahead_and_is_shown_from_the_start_to_the_end(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean")}, outcomes={"clean": (minutes(20), GOOD)})
        world.wait(minutes(29.5))
        assert (world.page, world.swapped(), world.status["phase"]) == (at("01:59"), [], "Preparing")
        world.wait(minutes(1))
        assert (world.swapped(), world.status["phase"]) == (["web"], "Active")
        world.wait(minutes(20))

        assert world.swapped() == []
        assert semantically_equal(world.ingresses["web"], ingress("web"))
        assert world.ingresses["web"]["metadata"]["managedFields"] == [{"manager": "kubectl"}]
        assert world.live["metadata"]["finalizers"] == []
        assert world.page is None
        assert world.status["phase"] == "Scheduled"
        assert world.status["lastRun"]["message"] == "1 of 1 tasks succeeded, 1 of 1 targets restored"

    def test_the_page_stays_a_moment_longer_than_the_ingress_leads_to_it(self) -> None:
        world = furnished({**NIGHTLY, **PAGE})
        world.wait(minutes(90))
        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"

        world.wait(timedelta(seconds=14))
        assert world.page is not None
        world.wait(timedelta(seconds=1))
        assert world.page is None

    def test_no_one_is_sent_to_a_page_that_does_not_answer(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean")}, warm_up=None)

        world.wait(minutes(95))

        assert world.started == []
        assert world.ingresses["web"] == ingress("web")
        assert world.status["lastRun"]["outcome"] == "failed"
        assert "its maintenance page did not become ready in time" in world.status["lastRun"]["message"]
        assert world.page is None

    def test_a_page_that_is_slow_delays_the_opening_and_not_the_end(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean")}, warm_up=90 * SECONDS, outcomes={"clean": (None, GOOD)})

        world.wait(minutes(91))

        assert order(world) == [("clean", "02:00:30")]
        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"
        assert world.swapped() == []

    def test_an_ingress_that_cannot_show_a_page_skips_the_opening_and_says_why(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean")})
        annotations = {"nginx.ingress.kubernetes.io/ssl-passthrough": "true"}
        world.ingresses["web"]["metadata"]["annotations"] = annotations

        world.wait(minutes(40))

        assert (world.started, world.page) == ([], None)
        (record,) = world.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "TargetRefused")
        assert "passes TLS through" in record["message"]

    def test_an_ingress_that_is_refused_only_when_it_opens_brings_the_others_back(self) -> None:
        targets = [{"name": "web"}, {"name": "api"}]
        world = furnished({**NIGHTLY, **plan("clean"), "maintenanceMode": {"targets": targets}})
        world.ingresses["api"] = ingress("api")
        world.wait(minutes(29.5))
        world.ingresses["api"]["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"}

        world.wait(minutes(2))

        assert world.started == []
        assert world.swapped() == []
        assert world.ingresses["web"]["metadata"]["managedFields"] == [{"manager": "kubectl"}]
        assert "a target cannot be put into maintenance mode" in world.status["lastRun"]["message"]

    def test_a_missing_ingress_is_named_and_the_others_are_served(self) -> None:
        targets = [{"name": "web"}, {"name": "gone"}]
        world = furnished({**NIGHTLY, **plan("clean"), "maintenanceMode": {"targets": targets}})
        world.wait(minutes(30.1))

        ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
        assert ready["reason"] == "TargetNotFound"
        assert "Ingress 'gone' does not exist" in ready["message"]
        assert world.swapped() == ["web"]
        world.wait(minutes(5))
        assert world.status["lastRun"]["message"] == "1 of 1 tasks succeeded, 1 of 2 targets restored"

    def test_what_somebody_changed_meanwhile_is_left_alone_and_the_window_has_failed(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean")})
        world.wait(minutes(30.1))
        mine = {"service": {"name": "mine", "port": {"number": 1}}}
        world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"][0]["backend"] = mine

        world.wait(minutes(5))

        assert world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"][0]["backend"] == mine
        assert world.occurrence["targets"][0]["state"] == "RestoreConflict"
        assert len(said(world.events, "RestoreConflict")) == 1
        assert world.status["lastRun"]["outcome"] == "failed"


class TestEndings:
    def test_without_a_plan_it_stays_open_to_its_end(self) -> None:
        world = furnished(NIGHTLY)

        world.wait(minutes(89))
        assert (world.status["phase"], world.occurrence["openedAt"]) == ("Active", "2026-03-02T02:00:00Z")
        world.wait(minutes(2))

        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"
        assert world.status["lastRun"]["outcome"] == "ok"

    def test_what_is_not_done_at_its_end_has_overrun(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("slow", "next")}, outcomes={"slow": (None, GOOD)})

        world.wait(minutes(91))

        assert world.swapped() == []
        assert world.task_states() == {"slow": ("Failed", "Overran"), "next": ("Skipped", "WindowClosed")}
        assert said(world.events, "WindowFailed")

    def test_found_by_nobody_until_its_end_it_is_missed(self) -> None:
        world = furnished({**NIGHTLY, **plan("clean")})
        world.wait(minutes(1))
        world.sleep(minutes(89))

        world.wait(minutes(1))

        assert world.started == []
        assert [(each["ending"], each["reason"]) for each in world.status["history"]] == [("Missed", "OperatorDown")]

    def test_found_in_its_time_it_opens_late_and_still_ends_in_time(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean", "next")}, outcomes={"next": (None, GOOD)})
        world.wait(minutes(1))
        world.sleep(minutes(70))

        world.wait(minutes(25))

        assert order(world)[0] == ("clean", "02:41:05")
        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"
        assert world.swapped() == []

    def test_while_the_operator_is_away_at_its_end_it_is_closed_as_soon_as_he_is_back(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("slow")}, outcomes={"slow": (None, GOOD)})
        world.wait(minutes(31))
        world.sleep(minutes(120))
        assert world.swapped() == ["web"]

        world.wait(SECONDS)

        assert world.swapped() == []
        assert world.occurrence["closedAt"] == "2026-03-02T04:01:00Z"


class TestVerification:
    VERIFY: Final[dict[str, Any]] = {"verify": {"steps": [{"name": "up", "httpCheck": {"url": "http://shop"}}]}}

    def test_users_come_back_only_after_the_checks_have_passed(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **plan("clean"), **self.VERIFY})

        world.wait(minutes(30.5))

        assert order(world) == [("clean", "02:00:00"), ("sunday", "02:00:20")]
        assert (world.status["phase"], world.swapped()) == ("Verifying", ["web"])
        world.wait(minutes(1))
        assert world.status["lastRun"]["message"].startswith("1 of 1 tasks succeeded, verification passed")

    def test_checks_that_fail_make_the_window_fail_and_lift_the_page(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **self.VERIFY}, outcomes={"sunday": (SECONDS, BAD)})

        world.wait(minutes(81))

        assert world.swapped() == []
        assert world.status["lastRun"]["outcome"] == "failed"
        assert said(world.events, "VerificationFailed")[0].endswith("it broke")

    def test_without_a_plan_the_checks_run_when_just_their_time_is_left(self) -> None:
        world = furnished({**NIGHTLY, **self.VERIFY})

        world.wait(minutes(85))

        assert order(world) == [("sunday", "02:50:00")]
        assert world.occurrence["verified"] is True

    def test_checks_that_take_too_long_do_not_keep_the_window_open(self) -> None:
        world = furnished({**NIGHTLY, **PAGE, **self.VERIFY}, outcomes={"sunday": (None, GOOD)})

        world.wait(minutes(91))

        assert world.swapped() == []
        assert "the window ended before its plan and verification did" in world.status["lastRun"]["message"]

    def test_checks_whose_job_is_removed_are_not_repeated_and_prove_nothing(self) -> None:
        world = furnished({**NIGHTLY, **self.VERIFY}, outcomes={"sunday": (None, GOOD)})
        world.wait(minutes(81))
        world.jobs.delete(world.jobs.active[0])

        world.wait(minutes(5))

        assert len(world.started) == 1
        assert world.status["lastRun"]["outcome"] == "failed"

    def test_of_its_jobs_the_newest_are_kept(self) -> None:
        spec = {"schedule": "*/10 * * * *", "duration": "5m", **self.VERIFY}
        world = furnished(spec)

        world.wait(minutes(71))

        assert len(world.started) == 7
        assert len(world.jobs.objects) == 3


class TestOneOff:
    def test_it_opens_once_and_is_completed(self) -> None:
        world = furnished({"startAt": "2026-03-02T02:00:00Z", "duration": "10m", **PAGE, **plan("clean")})

        world.wait(minutes(300))

        assert order(world) == [("clean", "02:00:00")]
        assert world.status["phase"] == "Completed"
        assert world.wake_at is None

    def test_set_to_the_past_but_not_over_it_opens_at_once(self) -> None:
        world = furnished({"startAt": "2026-03-02T01:25:00Z", "duration": "10m", **plan("clean")})

        world.wait(minutes(1))

        assert order(world) == [("clean", "01:30:00")]

    def test_a_failed_one_says_so(self) -> None:
        spec = {"startAt": "2026-03-02T02:00:00Z", "duration": "10m", **plan("clean")}
        world = furnished(spec, outcomes={"clean": (SECONDS, BAD)})

        world.wait(minutes(60))

        assert world.status["phase"] == "Failed"


class TestRecurring:
    def test_each_opening_has_runs_of_its_own(self) -> None:
        world = furnished({"schedule": "0 * * * *", "duration": "10m", **PAGE, **plan("clean")})

        world.wait(minutes(120))

        assert order(world) == [("clean", "02:00:00"), ("clean", "03:00:00")]
        assert len({start.name for _, start in world.started}) == 2
        assert [each["outcome"] for each in world.status["history"]] == ["ok", "ok"]

    def test_one_that_is_due_before_the_last_is_over_opens_late_or_is_missed_for_that(self) -> None:
        spec = {"schedule": "*/30 * * * *", "duration": "80m", **plan("slow")}
        world = furnished(spec, outcomes={"slow": (None, GOOD)}, now="01:45")

        world.wait(minutes(100))

        missed = [each for each in world.status["history"] if each["ending"] == "Missed"]
        assert [(each["reason"], each["scheduledTime"][11:16]) for each in missed] == [
            ("ConcurrencyForbidden", "02:30")
        ]
        assert world.occurrence["startTime"] == "2026-03-02T03:00:00Z"

    def test_an_excluded_one_is_skipped_with_its_reason(self) -> None:
        freeze = [{"from": "2026-03-02", "reason": "release"}]
        world = furnished({**NIGHTLY, **PAGE, **plan("clean"), "exclusions": freeze})

        world.wait(minutes(60))

        assert (world.started, world.page) == ([], None)
        (record,) = world.status["history"]
        assert (record["ending"], record["reason"], record["message"]) == ("Skipped", "Excluded", "release")
        assert world.status["nextScheduleTime"] == "2026-03-03T02:00:00Z"


@pytest.mark.parametrize("missing", ["plan", "maintenanceMode"])
def test_a_problem_is_looked_at_again_and_gone_when_it_is_mended(missing: str) -> None:
    spec = {**NIGHTLY, **PAGE, **plan("clean")}
    world = furnished(spec)
    task, web = world.tasks.pop("clean"), world.ingresses.pop("web")
    if missing == "plan":
        world.ingresses["web"] = web
    else:
        world.tasks["clean"] = task
    world.wait(minutes(1))
    assert world.status["conditions"][0]["status"] == "False"
    world.tasks["clean"], world.ingresses["web"] = task, web

    world.wait(minutes(1))

    assert world.status["conditions"][0]["status"] == "True"


def test_a_task_that_lacks_its_connection_fails_in_the_plan_and_says_what_to_do() -> None:
    world = furnished({**NIGHTLY, **plan("clean")})
    step = {"name": "memory", "redisMemory": {"connection": "cache"}}
    world.tasks["clean"] = resource("MaintenanceTask", {"steps": [step]}, created=at("01:00"), name="clean")

    world.wait(minutes(31))

    assert world.task_states() == {"clean": ("Failed", "TaskInvalid")}
    assert "add it to spec.connections" in world.occurrence["tasks"][0]["message"]
