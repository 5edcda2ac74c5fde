"""A plan that failed is undone, a page is kept while the checks fail, and a closed window is watched."""

from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

from unit.domain.cluster import BAD, GOOD, at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.container import CustomJob

CHECK: Final = {"steps": [{"name": "up", "httpCheck": {"url": "http://web/healthz"}}]}
UNDO: Final = {"steps": [{"name": "undo", "httpCheck": {"url": "http://web/undo"}}]}
UNDO_BY_CONTAINER: Final = {"job": {"image": "localhost/undo", "command": ["undo"], "runAsUser": 1000}}
PAGE: Final = {"targets": [{"kind": "Ingress", "name": "web"}]}
SECONDS: Final = timedelta(seconds=1)


def open_window(*, undoable: str = "abc", window: str = GOOD, **besides: Any) -> WindowWorld:  # noqa: ANN401
    """A window of an hour from two o'clock whose tasks a, b and c run after each other."""
    bad = besides.pop("bad", "")
    plan = {"tasks": [{"name": name} for name in "abc"], **besides.pop("plan", {})}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "plan": plan, **besides}
    world = WindowWorld(now=at("01:55"), spec=spec, ingresses={"web": ingress("web")})
    for name in "abc":
        world.outcomes[name] = (10 * SECONDS, BAD if name in bad else GOOD)
        if name in undoable:
            world.tasks[name]["spec"]["rollback"] = UNDO
    world.outcomes["sunday"] = (5 * SECONDS, window)
    return world


def windows_own(world: WindowWorld) -> list[str]:
    return [start.occasion.schedule for _, start in world.started if start.owner.kind == "MaintenanceWindow"]


def rollbacks(world: WindowWorld) -> dict[str, tuple[str, str]]:
    found = {task["name"]: task.get("rollback") for task in world.occurrence["tasks"]}
    return {name: (each["state"], each.get("reason", "")) for name, each in found.items() if each}


class TestRollback:
    def test_what_ran_is_undone_the_last_first(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b")

        world.wait(minutes(10))

        assert windows_own(world) == ["rollback-b", "rollback-a"]
        assert rollbacks(world) == {"b": ("Succeeded", ""), "a": ("Succeeded", "")}
        assert world.task_states()["c"] == ("Skipped", "PlanAborted")
        assert world.status["lastRun"]["outcome"] == "failed"
        assert "2 of 2 tasks rolled back" in world.status["lastRun"]["message"]

    def test_a_container_undoes_as_steps_do_with_what_the_task_may(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b", undoable="a")
        spec = {"rollback": UNDO_BY_CONTAINER, "serviceAccountName": "migrator", "retries": 3, "timeout": "7m"}
        world.tasks["b"]["spec"] |= spec

        world.wait(minutes(10))

        assert windows_own(world) == ["rollback-b", "rollback-a"]
        assert rollbacks(world) == {"b": ("Succeeded", ""), "a": ("Succeeded", "")}
        work = next(start.work for _, start in world.started if start.occasion.schedule == "rollback-b")
        assert isinstance(work.content, CustomJob)
        assert (work.content.image, work.content.command) == ("localhost/undo", ["undo"])
        assert (work.service_account, work.retries, work.timeout) == ("migrator", 0, minutes(7))

    def test_a_container_that_fails_ends_the_rollback(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b", undoable="a", window=BAD)
        world.tasks["b"]["spec"]["rollback"] = UNDO_BY_CONTAINER

        world.wait(minutes(10))

        assert rollbacks(world) == {"b": ("Failed", ""), "a": ("Skipped", "RollbackFailed")}

    def test_what_was_stored_as_a_list_of_steps_is_still_executed(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="a", undoable="")
        world.tasks["a"]["spec"]["rollback"] = UNDO["steps"]

        world.wait(minutes(10))

        assert rollbacks(world) == {"a": ("Succeeded", "")}

    def test_each_waits_for_the_one_before_it(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="c")

        world.wait(minutes(10))

        times = [start for start, run in world.started if run.owner.kind == "MaintenanceWindow"]
        assert [later - earlier for earlier, later in pairwise(times)] == [5 * SECONDS] * 2

    def test_after_a_rollback_that_failed_nothing_more_is_undone(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b", window=BAD)

        world.wait(minutes(10))

        assert rollbacks(world) == {"b": ("Failed", ""), "a": ("Skipped", "RollbackFailed")}
        assert said(world.events, "RollbackFailed")

    def test_a_task_without_rollback_steps_is_passed_over_and_said(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b", undoable="a")

        world.wait(minutes(10))

        assert rollbacks(world) == {"b": ("Skipped", "NoRollback"), "a": ("Succeeded", "")}

    def test_abort_undoes_nothing(self) -> None:
        world = open_window(plan={"onFailure": "Abort"}, bad="b")

        world.wait(minutes(10))

        assert windows_own(world) == []

    def test_a_rollback_whose_job_is_deleted_has_failed(self) -> None:
        world = open_window(plan={"onFailure": "Rollback"}, bad="b")
        world.wait(minutes(5) + 22 * SECONDS)
        assert world.status["phase"] == "RollingBack"
        world.jobs.delete(world.jobs.active[0])

        world.wait(minutes(1))

        assert rollbacks(world)["b"] == ("Failed", "JobDeleted")

    def test_a_failed_verification_undoes_the_plan_and_is_repeated_once(self) -> None:
        world = open_window(verify={**CHECK, "onFailure": "Rollback"}, window=BAD)

        world.wait(minutes(10))

        assert windows_own(world) == ["verify", "rollback-c", "verify-2"]
        assert world.occurrence["verified"] is False


class TestKeepPage:
    def test_users_stay_on_the_page_until_the_checks_pass(self) -> None:
        world = open_window(verify={**CHECK, "onFailure": "KeepPage"}, window=BAD, maintenanceMode=PAGE)
        world.wait(minutes(8.5))
        assert (world.swapped(), world.status["phase"]) == (["web"], "Verifying")
        world.outcomes["sunday"] = (5 * SECONDS, GOOD)

        world.wait(minutes(1.5))

        assert world.swapped() == []
        assert world.status["lastRun"]["outcome"] == "ok"
        assert windows_own(world) == ["verify", "verify-2", "verify-3", "verify-4"]

    def test_at_the_end_of_the_window_it_is_lifted_whatever_the_checks_say(self) -> None:
        world = open_window(verify={**CHECK, "onFailure": "KeepPage"}, window=BAD, maintenanceMode=PAGE)

        world.wait(minutes(66))

        assert world.swapped() == []
        assert world.occurrence["closedAt"] == "2026-03-02T03:00:00Z"
        assert "verification failed" in world.status["lastRun"]["message"]


class TestWatch:
    def test_checks_are_made_at_their_times_until_it_is_over(self) -> None:
        world = open_window(verify=CHECK, watch={"duration": "20m", "interval": "5m"})
        world.wait(minutes(7))
        assert world.status["phase"] == "Watching"

        world.wait(minutes(60))

        assert windows_own(world) == ["verify", "watch-0", "watch-1", "watch-2", "watch-3"]
        watch = world.occurrence["watch"]
        assert (watch["checks"], watch.get("failures", 0), watch["healthy"]) == (4, 0, True)
        assert world.status["phase"] == "Scheduled"

    def test_trouble_names_the_window_as_the_probable_cause_once(self) -> None:
        world = open_window(verify=CHECK, watch={"duration": "30m", "interval": "5m"})
        world.wait(minutes(7))
        world.outcomes["sunday"] = (5 * SECONDS, BAD)
        world.wait(minutes(12))

        (event,) = said(world.events, "UnhealthyAfterMaintenance")
        assert "the probable cause is the maintenance of 2026-03-02T02:00:00Z, which closed at" in event
        condition = next(each for each in world.status["conditions"] if each["type"] == "Healthy")
        assert (condition["status"], condition["reason"]) == ("False", "ChecksFailed")
        world.outcomes["sunday"] = (5 * SECONDS, GOOD)
        world.wait(minutes(6))
        assert len(said(world.events, "HealthyAgain")) == 1

    def test_checks_for_which_nobody_was_there_are_left_out(self) -> None:
        world = open_window(verify=CHECK, watch={"duration": "30m", "interval": "5m"})
        world.wait(minutes(7))
        world.sleep(minutes(11))

        world.wait(minutes(60))

        assert windows_own(world)[1:] == ["watch-0", "watch-2", "watch-3", "watch-4", "watch-5"]

    def test_a_window_that_did_not_open_is_not_watched(self) -> None:
        world = open_window(verify=CHECK, watch={"duration": "30m"}, exclusions=[{"from": "2026-03-02"}])

        world.wait(minutes(30))

        assert windows_own(world) == []
