"""What was due and did not end well is overdue by itself, whatever was in its way, and is not when it has."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import BAD, GOOD, at, minutes, resource, said
from upkeep.domain.backup import BackupSnapshot, decide
from upkeep.domain.decision import Decision

HOURLY: Final = {"name": "hourly", "schedule": "0 * * * *"}
SOON: Final[dict[str, Any]] = {"overdueAfter": "10m"}


def overdue(world: BackupWorld) -> tuple[str, str, str]:
    (found,) = (each for each in world.status["conditions"] if each["type"] == "Overdue")
    return found["status"], found["reason"], found["message"]


def test_a_backup_that_ends_well_is_on_time() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON)
    world.wait(minutes(125))

    assert overdue(world)[:2] == ("False", "OnTime")
    assert world.status["phase"] == "Scheduled"
    assert not [event for event in world.events if "Overdue" in event.reason or "OnTime" in event.reason]


def test_before_the_first_one_is_due_nothing_is_overdue() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON)
    world.wait(minutes(9))

    assert overdue(world)[0] == "False"


def test_one_that_fails_is_overdue_when_its_time_is_over_and_is_not_when_the_next_ends_well() -> None:
    # given backups that fail
    world = BackupWorld(now=at("00:50"), spec=SOON, says={"hourly": BAD})
    # when the first has failed, then it is not late yet
    world.wait(minutes(15))
    assert overdue(world)[0] == "False"
    # when its time is over, then it is, to the second
    world.wait(minutes(5))
    assert overdue(world) == (
        "True",
        "BackupOverdue",
        (
            "hourly, due at 2026-03-02T01:00:00Z, has not ended well (none ever did): see lastRun and the condition "
            "Ready for why"
        ),
    )
    assert world.status["phase"] == "Overdue"
    # when the next ones fail too, then it is said once
    world.wait(minutes(120))
    assert len(said(world.events, "BackupOverdue")) == 1
    # when one ends well
    world.says["hourly"] = GOOD
    world.wait(minutes(60))
    assert overdue(world)[:2] == ("False", "OnTime")
    assert len(said(world.events, "BackupOnTime")) == 1
    assert world.status["phase"] == "Scheduled"


def test_one_that_runs_for_too_long_is_overdue() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON, takes={"hourly": None})
    world.wait(minutes(21))

    assert overdue(world)[0] == "True"
    assert world.status["phase"] == "Running"


def test_while_nobody_was_there_it_got_overdue() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON)
    world.wait(minutes(20))
    world.sleep(timedelta(days=3))

    world.act()

    assert overdue(world)[0] == "True"
    assert "due at 2026-03-02T02:00:00Z" in overdue(world)[2]
    assert "last one at 2026-03-02T01:00:10Z" in overdue(world)[2]


def test_a_job_that_cannot_be_created_makes_it_overdue_and_is_told() -> None:
    # given a policy whose Job is refused
    world = BackupWorld(now=at("00:50"), spec=SOON)
    world.act()
    world.now = at("01:11")

    def refused() -> Decision:
        snapshot = BackupSnapshot(resource=world.policy, runs=[], now=world.now)
        return decide(replace(snapshot, refusal="jobs.batch is forbidden: exceeded quota"))

    # when that is told
    decision = refused()
    # then nothing is started, nothing is forgotten, and the status says both
    assert decision.actions == ()
    conditions = {each.type: (each.status, each.reason, each.message) for each in decision.status.conditions}
    assert conditions["Ready"] == ("False", "Refused", "jobs.batch is forbidden: exceeded quota")
    assert conditions["Overdue"][:2] == ("True", "BackupOverdue")
    assert decision.status.phase == "Refused"
    # and as soon as it may, it runs
    world.wait(minutes(1))
    assert world.order == [("hourly", "01:11:00")]
    assert overdue(world)[0] == "False"


def test_a_run_by_hand_that_is_refused_is_not_forgotten() -> None:
    world = BackupWorld(now=at("00:50"))
    world.act()
    world.policy["metadata"]["annotations"] = {"upkeep.dev/run-now": "hourly/1"}
    snapshot = BackupSnapshot(resource=world.policy, runs=[], now=world.now, refusal="no")

    assert decide(snapshot).status.last_manual_run is None


@pytest.mark.parametrize(
    ("verify", "schedule"),
    [
        ({"integrity": {"schedule": "30 0 * * *"}}, "integrity"),
        ({"restoreTest": {"schedule": "30 0 * * *"}}, "restore-test"),
    ],
)
def test_a_proof_that_does_not_come_is_overdue_too(verify: dict[str, Any], schedule: str) -> None:
    world = BackupWorld(now=at("00:10"), spec={**SOON, "verify": verify}, says={schedule: BAD})
    world.wait(minutes(45))

    status, reason, message = overdue(world)
    assert (status, reason) == ("True", "VerificationOverdue")
    assert message.startswith(f"{schedule}, due at 2026-03-02T00:30:00Z")
    assert said(world.events, "VerificationOverdue") == [message]


def test_suspended_says_suspended() -> None:
    # given a policy that is overdue
    world = BackupWorld(now=at("00:50"), spec=SOON, says={"hourly": BAD})
    world.wait(minutes(25))
    # when it is suspended
    world.edit(suspend=True)
    world.wait(minutes(300))
    # then nothing is expected of it
    assert overdue(world) == ("False", "Suspended", "suspended since 2026-03-02T01:15:00Z: nothing is expected")
    assert world.status["phase"] == "Suspended"
    assert len(said(world.events, "BackupSuspended")) == 1
    # when it goes on, then what is missing is missing
    world.edit(suspend=False)
    world.act()
    assert overdue(world)[0] == "True"


def test_what_is_excluded_is_not_due() -> None:
    exclusions = [{"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T05:30:00Z"}]
    world = BackupWorld(now=at("00:50"), spec={**SOON, "exclusions": exclusions})
    world.wait(minutes(280))

    assert overdue(world)[0] == "False"


def test_a_schedule_that_is_changed_counts_from_then() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON, says={"hourly": BAD})
    world.wait(minutes(25))
    world.edit(schedules=[{**HOURLY, "schedule": "30 * * * *"}])
    world.act()

    assert overdue(world)[0] == "False"


def test_while_the_spec_cannot_be_read_it_stays_what_it_was() -> None:
    world = BackupWorld(now=at("00:50"), spec=SOON, says={"hourly": BAD})
    world.wait(minutes(25))
    before = overdue(world)
    world.edit(timeZone="Mars/Olympus")
    world.act()

    assert overdue(world) == before


def test_left_out_it_is_as_long_as_a_backup_may_take() -> None:
    world = BackupWorld(now=at("00:50"), spec={"timeout": "30m"}, says={"hourly": BAD})
    world.wait(minutes(35))
    assert overdue(world)[0] == "False"
    world.wait(minutes(5))
    assert overdue(world)[0] == "True"


def test_a_policy_of_another_time_without_the_condition_gets_it() -> None:
    policy = resource("BackupPolicy", BackupWorld(now=at("00:50")).policy["spec"], created=at("00:00"))

    decision = decide(BackupSnapshot(resource={**policy, "status": {"conditions": []}}, runs=[], now=at("00:10")))

    assert [each.status for each in decision.status.conditions if each.type == "Overdue"] == ["False"]
