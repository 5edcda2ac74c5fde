"""What a window requires before it opens: no firing alerts, and checks that pass; and how long it waits for that."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.alertworld import AlertWorld
from unit.domain.backupworld import SPEC as BACKUP_SPEC
from unit.domain.cluster import BAD, GOOD, Object, at, minutes, resource, said
from unit.domain.windowworld import ingress
from upkeep.domain.instants import write_instant

ALERTS: Final[dict[str, Any]] = {
    "noFiringAlerts": {"alertmanager": "main", "matchers": [{"name": "severity", "value": "critical"}]}
}
CHECKS: Final[dict[str, Any]] = {"steps": [{"name": "healthy", "httpCheck": {"url": "http://shop/healthz"}}]}
BACKUP: Final[dict[str, Any]] = {"verifiedBackups": [{"name": "shop-db", "maxAge": "1h"}]}
PAGE: Final[dict[str, Any]] = {"maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}]}}
SECONDS: Final = timedelta(seconds=1)


def requiring(*requirements: dict[str, Any], page: bool = True, **attributes: Any) -> AlertWorld:  # noqa: ANN401
    requires = {key: value for each in requirements for key, value in each.items()}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "requires": requires, **(PAGE if page else {})}
    return AlertWorld(now=at("01:30"), spec=spec, ingresses={"web": ingress("web")}, **attributes)


def tries(world: AlertWorld) -> Sequence[str]:
    return [f"{started:%H:%M:%S}" for started, start in world.started if start.occasion.schedule.startswith("requires")]


class TestNoFiringAlerts:
    @pytest.mark.parametrize("page", [True, False])
    def test_where_none_fires_it_opens_on_time(self, *, page: bool) -> None:
        world = requiring(ALERTS, page=page)

        world.wait(minutes(31))

        assert world.occurrence["openedAt"] == "2026-03-02T02:00:00Z"
        assert said(world.events, "WindowHeld") == []

    def test_an_alert_holds_it_back_before_anybody_sees_a_page(self) -> None:
        world = requiring(ALERTS, firing=["ShopSlow", "BatchLate", "ShopSlow"])

        world.wait(minutes(40))

        assert (world.swapped(), world.pages_shown) == ([], 0)
        assert world.occurrence["waitingFor"] == "AlertsFiring"
        assert said(world.events, "WindowHeld") == [
            "AlertsFiring: 3 alerts fire: BatchLate, ShopSlow; it opens when they are resolved"
        ]

    def test_it_opens_soon_after_they_are_resolved(self) -> None:
        world = requiring(ALERTS, firing=["ShopSlow"], page=False)
        world.wait(minutes(40))
        world.firing = []

        world.wait(10 * SECONDS)

        assert "openedAt" in world.occurrence
        assert world.occurrence.get("waitingFor") is None

    def test_while_they_fire_up_to_its_end_it_is_skipped_with_the_reason(self) -> None:
        world = requiring(ALERTS, firing=["ShopSlow"])

        world.wait(minutes(95))

        (record,) = world.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "RequirementNotMet")
        assert record["message"].startswith("AlertsFiring: an alert fires: ShopSlow")
        assert world.pages_shown == 0

    def test_nothing_is_waited_for_when_no_task_could_start_any_more(self) -> None:
        world = requiring(ALERTS, firing=["ShopSlow"])
        world.edit(cutoff="20m")

        world.wait(minutes(71))

        (record,) = world.status["history"]
        assert (record["reason"], world.occurrence["closedAt"]) == ("RequirementNotMet", "2026-03-02T02:40:00Z")

    def test_what_nobody_can_say_is_not_taken_for_quiet(self) -> None:
        world = requiring(ALERTS, answers=False)

        world.wait(minutes(95))

        (record,) = world.status["history"]
        assert record["message"] == "AlertsUnknown: main does not answer"

    def test_an_alertmanager_that_is_not_configured_says_nothing_either(self) -> None:
        world = requiring(ALERTS, configured=())

        world.wait(minutes(35))

        assert world.occurrence["waitingFor"] == "AlertsUnknown"
        assert "'main' is not configured (configured: none)" in said(world.events, "WindowHeld")[0]

    def test_an_alert_that_the_page_itself_sets_off_changes_nothing(self) -> None:
        world = requiring(ALERTS)
        world.wait(minutes(29.9))
        world.now = at("02:00")
        for _ in range(2):
            world.act()
        assert world.swapped() == ["web"]
        world.firing = ["ShopDown"]

        world.wait(minutes(1))

        assert "openedAt" in world.occurrence

    def test_started_by_hand_it_waits_for_them_all_the_same(self) -> None:
        world = requiring(ALERTS, firing=["ShopSlow"], page=False)
        world.act()
        world.live["metadata"]["annotations"] = {"upkeep.dev/start-now": "1"}
        world.wait(minutes(1))
        assert (world.occurrence["waitingFor"], "openedAt" in world.occurrence) == ("AlertsFiring", False)

        world.firing = []
        world.wait(10 * SECONDS)

        assert "openedAt" in world.occurrence

    def test_nobody_is_asked_while_it_does_not_matter(self) -> None:
        world = requiring(ALERTS)
        world.wait(minutes(20))
        before = world.asked
        world.act()
        assert world.asked == before
        world.wait(minutes(15))
        before = world.asked

        world.wait(minutes(10))

        assert world.asked == before


class TestChecks:
    def test_they_run_ahead_and_it_opens_on_time_when_they_pass(self) -> None:
        world = requiring(CHECKS)

        world.wait(minutes(31))

        assert tries(world) == ["01:59:00"]
        assert world.occurrence["openedAt"] == "2026-03-02T02:00:00Z"

    def test_they_run_ahead_also_where_there_is_no_page(self) -> None:
        world = requiring(CHECKS, page=False)

        world.wait(minutes(31))

        assert tries(world) == ["01:59:00"]
        assert world.occurrence["openedAt"] == "2026-03-02T02:00:00Z"

    def test_after_a_failure_they_run_again_and_again(self) -> None:
        world = requiring(CHECKS, outcomes={"sunday": (10 * SECONDS, BAD)})
        world.wait(minutes(31))
        assert tries(world) == ["01:59:00", "01:59:40", "02:00:20", "02:01:00"]
        assert said(world.events, "WindowHeld")[-1].startswith("ChecksFailed: ")
        assert "it broke" in said(world.events, "WindowHeld")[-1]
        assert len(said(world.events, "WindowHeld")) == 2

        world.outcomes["sunday"] = (10 * SECONDS, GOOD)
        world.wait(minutes(2))

        assert "openedAt" in world.occurrence

    def test_when_they_never_pass_it_is_skipped_and_says_which_check_failed(self) -> None:
        world = requiring(CHECKS, outcomes={"sunday": (10 * SECONDS, BAD)})

        world.wait(minutes(95))

        (record,) = world.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "RequirementNotMet")
        assert "it broke" in record["message"]

    def test_only_the_last_of_many_tries_are_kept(self) -> None:
        world = requiring(CHECKS, outcomes={"sunday": (10 * SECONDS, BAD)})

        world.wait(minutes(80))

        assert len(tries(world)) > 50
        assert len(world.jobs.objects) <= 5

    def test_what_passed_long_ago_is_checked_again(self) -> None:
        world = requiring(CHECKS, page=True, warm_up=None)
        world.wait(minutes(36))
        assert tries(world) == ["01:59:00", "02:04:20"]

    def test_alerts_are_asked_for_before_any_check_runs(self) -> None:
        world = requiring(ALERTS, CHECKS, firing=["ShopSlow"])
        world.wait(minutes(31))
        assert tries(world) == []

        world.firing = []
        world.wait(minutes(1))

        assert "openedAt" in world.occurrence
        assert len(tries(world)) == 1

    def test_a_crash_after_a_check_was_started_starts_no_second_one(self) -> None:
        world = requiring(CHECKS)
        world.wait(minutes(28.9))
        world.now = at("01:59")
        for _ in range(3):
            world.act(crash_after=1)
            world.act()

        world.wait(minutes(2))

        assert tries(world).count("01:59:00") >= 1
        assert len({start.name for _, start in world.started}) == 1

    def test_what_they_find_is_not_counted_as_found_by_the_maintenance(self) -> None:
        found = '{"outcome":"ok","message":"done","counts":{"critical":2,"warning":1}}'
        world = requiring(CHECKS, outcomes={"sunday": (10 * SECONDS, found)})

        world.wait(minutes(95))

        assert [run.report.counts.critical for run in world.jobs.runs() if run.report] == [2]
        assert world.status["lastRun"]["criticalFindings"] == 0
        assert world.status["lastRun"]["warningFindings"] == 0

    def test_a_check_that_somebody_deletes_runs_again(self) -> None:
        world = requiring(CHECKS, outcomes={"sunday": (minutes(5), GOOD)})
        world.wait(minutes(30))
        (name,) = world.jobs.objects
        world.jobs.delete(name)
        world.outcomes["sunday"] = (10 * SECONDS, GOOD)

        world.act()
        world.wait(minutes(1))

        assert "openedAt" in world.occurrence


class TestVerifiedBackups:
    def test_with_one_that_is_young_enough_it_opens_on_time(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy(verified="01:05")})

        world.wait(minutes(31))

        assert world.occurrence["openedAt"] == "2026-03-02T02:00:00Z"
        assert said(world.events, "WindowHeld") == []

    def test_without_one_it_waits_and_says_how_to_get_one(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy()})

        world.wait(minutes(40))

        assert (world.swapped(), world.pages_shown) == ([], 0)
        assert world.occurrence["waitingFor"] == "BackupNotVerified"
        (held,) = said(world.events, "WindowHeld")
        assert "no backup of BackupPolicy 'shop-db' has passed a restore test yet" in held
        assert "kubectl annotate bp shop-db upkeep.dev/run-now=restore-test/" in held

    def test_it_opens_when_one_was_verified(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy()}, page=False)
        world.wait(minutes(40))
        world.policies["shop-db"] = policy(verified="02:05")

        world.act()
        world.wait(SECONDS)

        assert "openedAt" in world.occurrence
        assert world.occurrence.get("waitingFor") is None

    def test_the_age_of_the_backup_counts_and_not_that_of_its_test(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy(verified="00:55", tested="01:50")})

        world.wait(minutes(35))

        assert "snapshot 1a2b3c4d of 2026-03-02T00:55:00Z, is older than 1h" in said(world.events, "WindowHeld")[0]

    def test_after_a_restore_test_that_failed_an_older_proof_does_not_do(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy(verified="01:30", verdict="False")})

        world.wait(minutes(35))

        assert "the last restore test of BackupPolicy 'shop-db' failed: it broke" in said(world.events, "WindowHeld")[0]

    def test_one_that_nobody_could_test_takes_no_proof_away(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy(verified="01:30", verdict="Unknown")})

        world.wait(minutes(31))

        assert "openedAt" in world.occurrence

    def test_of_several_each_must_be_there(self) -> None:
        wanted = {"verifiedBackups": [{"name": "shop-db", "maxAge": "1h"}, {"name": "users-db", "maxAge": "1h"}]}
        world = requiring(wanted, policies={"shop-db": policy(verified="01:30"), "users-db": policy()})

        world.wait(minutes(35))

        assert "'users-db' has passed" in said(world.events, "WindowHeld")[0]

    def test_without_one_up_to_its_end_it_is_skipped_with_the_reason(self) -> None:
        world = requiring(BACKUP, policies={"shop-db": policy()})

        world.wait(minutes(95))

        (record,) = world.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "RequirementNotMet")
        assert record["message"].startswith("BackupNotVerified: no backup of BackupPolicy 'shop-db'")

    @pytest.mark.parametrize(
        ("policies", "reason", "message"),
        [
            ({}, "BackupPolicyNotFound", "BackupPolicy 'shop-db' does not exist in this namespace: create it"),
            ({"shop-db": {"tests": False}}, "BackupNeverVerified", "'shop-db' has no verify.restoreTest"),
        ],
    )
    def test_what_can_never_be_verified_is_said_long_before(
        self, policies: dict[str, Any], reason: str, message: str
    ) -> None:
        made = {name: policy(**arguments) for name, arguments in policies.items()}
        world = requiring(BACKUP, policies=made)

        world.act()

        assert world.condition("Ready") == ("False", reason)
        assert message in world.status["conditions"][0]["message"]

    @pytest.mark.parametrize("status", [None, 7, [], {"lastVerified": 7}, {"conditions": [{"type": "Verified"}]}])
    def test_a_status_that_nobody_can_read_proves_nothing(self, status: object) -> None:
        garbled = policy(verified="01:30")
        garbled["status"] = status
        world = requiring(BACKUP, policies={"shop-db": garbled})

        world.wait(minutes(35))

        assert world.occurrence["waitingFor"] == "BackupNotVerified"


def policy(*, verified: str = "", tested: str = "", verdict: str = "True", tests: bool = True) -> Object:
    """A BackupPolicy with a backup of this time that was verified, and with what its last restore test said."""
    verify = {"restoreTest": {"schedule": "0 5 * * *"}} if tests else {}
    made = resource("BackupPolicy", {**BACKUP_SPEC, "verify": verify}, created=at("00:00"), name="shop-db")
    if verified:
        proof = {"snapshot": "1a2b3c4d", "restoreSeconds": 12, "ageSeconds": 60}
        times = {"snapshotTime": write_instant(at(verified)), "time": write_instant(at(tested or verified))}
        condition = {"type": "Verified", "status": verdict, "reason": "Tested", "message": "it broke"}
        condition["lastTransitionTime"] = times["time"]
        made["status"] = {"lastVerified": proof | times, "conditions": [condition]}
    return made
