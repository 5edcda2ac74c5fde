"""Backups: every schedule in its time, one run at a time, and what is proven by them."""

from datetime import timedelta
from typing import Any, Final

import pytest

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import BAD, GOOD, at, minutes, said
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.domain.decision import StartRun
from upkeep.domain.order import RunOrder

DAILY: Final = {"name": "daily", "schedule": "30 2 * * *"}
HOURLY: Final = {"name": "hourly", "schedule": "0 * * * *"}
CHECK: Final[dict[str, Any]] = {"verify": {"integrity": {"schedule": "0 2 * * *"}}}
TEST: Final[dict[str, Any]] = {
    "verify": {
        "restoreTest": {
            "schedule": "0 3 * * *",
            "queries": [{"name": "orders", "query": "SELECT count(*) FROM public.orders", "min": 1}],
            "scratchSize": "5Gi",
        }
    }
}
FACTS: Final = '"facts":{"snapshot":"1a2b3c4d","snapshot_time":"2026-03-02T01:00:04.123456+00:00"}'
METRICS: Final = '"metrics":{"restore_seconds":12.345,"age_seconds":7196.2}'
RESTORED: Final = (
    '{"outcome":"ok","message":"all came back","steps":[{"name":"restore-test","action":"backupRestoreTest",'
    f'"outcome":"ok","message":"all came back",{METRICS},{FACTS}}}]}}'
)
BACKED_UP: Final = (
    '{"outcome":"changed","message":"1 step","steps":[{"name":"hourly","action":"backupPostgres",'
    '"outcome":"changed","message":"snapshot 1a2b, 17 MiB"}]}'
)


def proof(world: BackupWorld, schedule: str) -> dict[str, str]:
    found: dict[str, str] = next(each for each in world.status["schedules"] if each["name"] == schedule)
    return found


class TestSchedules:
    def test_each_schedule_runs_in_its_time(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"schedules": [HOURLY, DAILY], **CHECK})

        world.wait(minutes(110))

        assert world.order == [
            ("hourly", "01:00:00"),
            ("hourly", "02:00:00"),
            ("integrity", "02:00:10"),
            ("daily", "02:30:00"),
        ]
        assert world.status["nextScheduleTime"] == "2026-03-02T03:00:00Z"
        assert proof(world, "daily")["nextScheduleTime"] == "2026-03-03T02:30:00Z"

    def test_what_is_due_while_another_run_is_under_way_waits_for_its_end(self) -> None:
        world = BackupWorld(now=at("02:20"), spec={"schedules": [HOURLY, DAILY]}, takes={"daily": minutes(40)})

        world.wait(minutes(60))

        assert world.order == [("daily", "02:30:00"), ("hourly", "03:10:00")]
        assert {reason for _, reason, _ in world.history} == {"ok"}

    def test_what_waited_until_the_next_one_was_due_is_missed_and_the_next_one_waits_on(self) -> None:
        world = BackupWorld(now=at("02:20"), spec={"schedules": [HOURLY, DAILY]}, takes={"daily": minutes(100)})

        world.wait(minutes(115))

        assert world.order == [("daily", "02:30:00"), ("hourly", "04:10:00")]
        assert ("hourly", "ConcurrencyForbidden", "03:00") in world.history
        (message,) = said(world.events, "MissedConcurrencyForbidden")
        assert "it waited for shop-daily" in message

    def test_found_only_after_the_run_has_ended_the_reason_is_the_same(self) -> None:
        world = BackupWorld(now=at("02:20"), spec={"schedules": [HOURLY, DAILY]}, takes={"daily": minutes(100)})
        world.wait(minutes(11))
        world.sleep(minutes(100))

        world.wait(minutes(1))

        assert ("hourly", "ConcurrencyForbidden", "03:00") in world.history

    def test_while_nobody_was_there_all_but_the_last_are_missed(self) -> None:
        world = BackupWorld(now=at("00:50"))
        world.sleep(minutes(200))

        world.wait(minutes(1))

        assert world.history[1:] == [("hourly", "OperatorDown", f"0{hour}:00") for hour in (3, 2, 1)]
        assert world.order == [("hourly", "04:10:00")]

    def test_too_late_is_missed(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"startingDeadlineSeconds": 300})
        world.sleep(minutes(20))

        world.wait(minutes(1))

        assert world.history == [("hourly", "DeadlineExceeded", "01:00")]

    def test_excluded_is_skipped(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"exclusions": [{"from": "2026-03-02", "reason": "move"}]})

        world.wait(minutes(20))

        assert world.history == [("hourly", "Excluded", "01:00")]

    def test_a_schedule_that_is_added_later_counts_from_then(self) -> None:
        world = BackupWorld(now=at("00:50"))
        world.wait(minutes(130))
        world.edit(schedules=[HOURLY, DAILY])

        world.wait(minutes(5))

        assert [schedule for schedule, _ in world.order] == ["hourly", "hourly", "hourly"]

    def test_a_schedule_that_was_wrong_from_the_beginning_counts_from_when_it_was_right(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"timeZone": "Mars/Olympus"})
        world.wait(minutes(130))
        assert world.status["conditions"][0]["reason"] == "InvalidSchedule"
        world.edit(timeZone="Etc/UTC")

        world.wait(minutes(5))

        assert world.started == []

    @pytest.mark.parametrize("schedules", [[{**HOURLY, "schedule": "5 * * * *"}], [DAILY]])
    def test_what_a_schedule_missed_that_is_changed_or_removed_is_not_forgotten(self, schedules: list[Any]) -> None:
        world = BackupWorld(now=at("00:50"))
        world.wait(minutes(1))
        world.sleep(minutes(80))
        world.edit(schedules=schedules)

        world.act()

        assert world.history == [("hourly", "ScheduleChanged", "02:00"), ("hourly", "ScheduleChanged", "01:00")]

    def test_the_suspended_times_are_missed_also_where_a_run_was_under_way(self) -> None:
        world = BackupWorld(now=at("00:50"), takes={"hourly": minutes(90)})
        world.wait(minutes(15))
        world.edit(suspend=True)
        world.wait(minutes(60))
        assert world.status["phase"] == "Running"
        world.edit(suspend=False)

        world.wait(minutes(5))

        assert world.order == [("hourly", "01:00:00")]
        assert world.history == [("hourly", "Suspended", "02:00")]


class TestOnce:
    def test_a_status_that_was_not_written_starts_nothing_twice(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"schedules": [HOURLY, {"name": "also", "schedule": "0 * * * *"}]})
        world.wait(minutes(9))
        world.now = at("01:00")
        world.act(lose_status=True)

        world.wait(minutes(5))

        assert [schedule for schedule, _ in world.order] == ["hourly", "also"]
        assert sorted(world.history) == [("also", "ok", "01:00"), ("hourly", "ok", "01:00")]

    def test_a_run_by_hand_that_was_not_noted_is_noted_while_another_one_is_under_way(self) -> None:
        # given a run by hand whose status was lost, and a long one of the schedule
        world = BackupWorld(now=at("00:55"), spec={**CHECK}, takes={"hourly": minutes(300)})
        world.ask("integrity/x1")
        world.act(lose_status=True)
        world.sleep(minutes(5))
        world.act(lose_status=True)
        # when that is still under way
        world.wait(minutes(10))
        # then the token is done with, however long that one takes
        assert world.order == [("integrity", "00:55:00"), ("hourly", "01:00:00")]
        assert world.status["phase"] == "Running"
        assert world.status["lastManualRun"] == "integrity/x1"

    def test_what_ran_without_being_noted_is_not_called_missed_later(self) -> None:
        world = BackupWorld(now=at("00:50"))
        world.wait(minutes(9))
        world.now = at("01:00")
        world.act(lose_status=True)
        world.sleep(minutes(70))

        world.wait(minutes(5))

        assert world.history == [("hourly", "ok", "02:00"), ("hourly", "ok", "01:00")]

    def test_a_job_that_is_deleted_is_not_started_again(self) -> None:
        world = BackupWorld(now=at("00:50"), takes={"hourly": None})
        world.wait(minutes(11))
        world.jobs.delete(world.jobs.active[0])

        world.wait(minutes(5))

        assert world.order == [("hourly", "01:00:00")]
        assert world.history == [("hourly", "JobDeleted", "01:00")]

    def test_marks_that_cannot_be_read_start_nothing_again(self) -> None:
        world = BackupWorld(now=at("00:50"))
        world.wait(minutes(11))
        world.status["schedules"][0]["lastScheduleTime"] = "a while ago"
        world.jobs.objects.clear()

        world.wait(minutes(5))

        assert world.order == [("hourly", "01:00:00")]
        assert said(world.events, "StatusUnreadable")


class TestOnDemand:
    @pytest.mark.parametrize(
        ("token", "schedule"),
        [("x1", "hourly"), ("daily/x1", "daily"), ("integrity/x1", "integrity"), ("restore-test/x1", "restore-test")],
    )
    def test_a_token_names_what_runs(self, token: str, schedule: str) -> None:
        verify = {**CHECK["verify"], **TEST["verify"]}
        world = BackupWorld(now=at("00:10"), spec={"schedules": [HOURLY, DAILY], "verify": verify})
        world.ask(token)

        world.wait(minutes(10))

        assert world.order == [(schedule, "00:10:00")]
        assert world.status["lastManualRun"] == token

    def test_a_schedule_that_is_not_there_is_refused_with_those_that_are(self) -> None:
        world = BackupWorld(now=at("00:10"))
        world.ask("weekly/x1")

        world.wait(minutes(10))

        assert said(world.events, "ManualRunRefused") == [
            "run-now 'weekly/x1': there is no schedule 'weekly'; there are: hourly"
        ]

    def test_while_a_run_is_under_way_it_waits(self) -> None:
        world = BackupWorld(now=at("00:59"), takes={"hourly": minutes(5)})
        world.wait(minutes(2))
        world.ask("x1")

        world.wait(minutes(10))

        assert world.order == [("hourly", "01:00:00"), ("hourly", "01:05:00")]

    def test_suspended_it_runs_all_the_same(self) -> None:
        world = BackupWorld(now=at("00:10"), spec={"suspend": True})
        world.ask("x1")

        world.wait(minutes(100))

        assert world.order == [("hourly", "00:10:00")]


class TestProof:
    def test_a_good_backup_says_what_it_kept_and_when(self) -> None:
        world = BackupWorld(now=at("00:50"), says={"hourly": BACKED_UP})

        world.wait(minutes(11))

        assert world.status["lastBackup"] == "snapshot 1a2b, 17 MiB"
        assert world.status["lastBackupTime"] == "2026-03-02T01:00:10Z"
        assert proof(world, "hourly")["lastSuccessfulTime"] == "2026-03-02T01:00:10Z"
        assert "lastIntegrityCheckTime" not in world.status

    def test_a_check_proves_the_repository_and_no_backup(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"schedules": [DAILY], **CHECK})

        world.wait(minutes(75))

        assert world.status["lastIntegrityCheckTime"] == "2026-03-02T02:00:10Z"
        assert "lastBackup" not in world.status

    @pytest.mark.parametrize("message", [BAD, '{"outcome":"skipped"}', '{"outcome":"unknown"}'])
    def test_anything_else_proves_nothing(self, message: str) -> None:
        world = BackupWorld(now=at("00:50"), says={"hourly": message})

        world.wait(minutes(11))

        assert "lastBackup" not in world.status
        assert "lastSuccessfulTime" not in proof(world, "hourly")

    def test_a_run_of_which_nobody_knows_the_schedule_proves_nothing(self) -> None:
        world = BackupWorld(now=at("00:50"), takes={"hourly": None})
        world.wait(minutes(11))
        (name,) = world.jobs.active
        del world.jobs.objects[name]["metadata"]["annotations"]["upkeep.dev/schedule"]
        world.jobs.end(name, world.now, message=BACKED_UP)

        world.wait(timedelta(seconds=1))

        assert "lastBackup" not in world.status


class TestRestores:
    def test_one_that_is_passed_is_the_last_verified_and_says_what_it_measured(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST}, says={"restore-test": RESTORED})

        world.wait(minutes(11))

        assert world.order == [("restore-test", "03:00:00")]
        assert world.status["lastVerified"] == {
            "time": "2026-03-02T03:00:10Z",
            "snapshot": "1a2b3c4d",
            "snapshotTime": "2026-03-02T01:00:04Z",
            "restoreSeconds": 13,
            "ageSeconds": 7197,
        }
        assert verdict(world) == ("True", "RestoreTestPassed")
        assert said(world.events, "BackupVerified")[0].endswith(": all came back")
        assert proof(world, "restore-test")["lastSuccessfulTime"] == "2026-03-02T03:00:10Z"
        assert "lastBackup" not in world.status

    def test_one_that_fails_moves_nothing_and_is_told(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST}, says={"restore-test": RESTORED})
        world.wait(minutes(11))
        before = world.status["lastVerified"]
        world.says["restore-test"] = BAD
        world.ask("restore-test/1")

        world.wait(minutes(5))

        assert world.status["lastVerified"] == before
        assert verdict(world) == ("False", "RestoreTestFailed")
        assert "it broke" in said(world.events, "BackupNotVerified")[0]

    def test_the_verdict_stays_while_the_next_one_runs_and_while_the_spec_cannot_be_read(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST}, says={"restore-test": BAD})
        world.wait(minutes(11))
        world.takes["restore-test"] = minutes(30)
        world.ask("restore-test/1")
        world.wait(minutes(5))
        assert verdict(world) == ("False", "RestoreTestFailed")
        world.edit(timeZone="Mars/Olympus")

        world.wait(minutes(5))

        assert verdict(world) == ("False", "RestoreTestFailed")

    @pytest.mark.parametrize(
        "message",
        [
            '{"outcome":"unknown","message":"no snapshot yet"}',
            GOOD,
            RESTORED.replace(FACTS, '"facts":{}'),
            RESTORED.replace("7196.2", "Infinity"),
            RESTORED.replace("2026-03-02T01:00:04.123456+00:00", "yesterday"),
        ],
    )
    def test_one_that_does_not_say_what_it_proves_proves_nothing(self, message: str) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST}, says={"restore-test": message})

        world.wait(minutes(11))

        assert "lastVerified" not in world.status
        assert verdict(world) == ("Unknown", "RestoreTestUnknown")

    def test_before_the_first_one_nobody_knows(self) -> None:
        world = BackupWorld(now=at("00:50"), spec=TEST, says={"hourly": BACKED_UP})

        world.wait(minutes(11))

        assert verdict(world) == ("Unknown", "NotTestedYet")

    def test_without_such_tests_nothing_is_said_of_them(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST}, says={"restore-test": BAD})
        world.wait(minutes(11))
        world.edit(verify=None)

        world.wait(minutes(1))

        assert verdict(world) == ("", "")

    def test_its_job_has_no_credentials_of_the_source_and_cannot_write_to_the_repository(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST})

        world.wait(minutes(11))

        ((_, start),) = world.started
        assert (start.work.secrets, start.work.only_reads, start.work.scratch) == (
            {"repository": "repository"},
            True,
            "5Gi",
        )
        assert isinstance(start.work.content, RunOrder)
        assert list(start.work.content.connections) == []

    def test_what_makes_backups_can_write_to_it(self) -> None:
        world = BackupWorld(now=at("00:50"), spec=TEST)

        world.wait(minutes(11))

        ((_, start),) = world.started
        assert not start.work.only_reads
        assert set(start.work.secrets) == {"repository", "source"}

    def test_in_a_bucket_it_needs_the_keys_of_the_bucket_and_no_volume(self) -> None:
        s3 = {"endpoint": "http://minio:9000", "bucket": "backups", "secretRef": {"name": "keys"}}
        repository = {"passwordSecretRef": {"name": "repository"}, "s3": s3, "limitUpload": "2Mi"}
        world = BackupWorld(now=at("02:50"), spec={"schedules": [DAILY], **TEST, "repository": repository})

        world.wait(minutes(11))

        ((_, start),) = world.started
        assert start.work.secrets == {"repository": "repository", "storage": "keys"}
        assert start.work.claims == {}
        (found,) = _repositories(start)
        assert found.s3
        assert (found.path, found.s3.bucket, found.limit_upload) == (None, "backups", "2Mi")

    def test_it_knows_the_jobs_that_have_ended_also_those_that_are_gone(self) -> None:
        world = BackupWorld(now=at("00:50"), spec={"successfulRunsHistoryLimit": 0})

        world.wait(minutes(130))

        names = [start.name for _, start in world.started]
        assert [set(_repositories(start)[0].departed) for _, start in world.started] == [
            set(),
            {names[0]},
            {*names[:2]},
        ]

    def test_a_job_that_vanished_may_have_left_a_pod_that_is_still_there(self) -> None:
        world = BackupWorld(now=at("00:50"), takes={"hourly": None})
        world.wait(minutes(15))
        world.jobs.delete(world.started[0][1].name)

        world.wait(minutes(60))

        assert [list(_repositories(start)[0].departed) for _, start in world.started] == [[], []]


def _repositories(start: StartRun) -> list[Repository]:
    """The repositories of the steps of a run."""
    assert isinstance(start.work.content, RunOrder)
    actions = [step.action for step in start.work.content.steps]
    return [action.repository for action in actions if isinstance(action, BackupPostgres | BackupRestoreTest)]


def verdict(world: BackupWorld) -> tuple[str, str]:
    found = next((each for each in world.status["conditions"] if each["type"] == "Verified"), None)
    return (found["status"], found["reason"]) if found else ("", "")
