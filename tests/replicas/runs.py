"""Stories about Jobs: what makes Upkeep start one, each told until the last of them is accounted for."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from fakeapi.behaviours import Finish
from fakeapi.objects import Json
from replicas.stage import REPORT, TEAM, Stage, in_seconds, resource
from replicas.story import Story

NAME: Final = "tidy"
JOB: Final[Json] = {"image": "registry.example/tidy:1"}


@cache
def _minutes_ago(*minutes: int) -> str:
    """A cron expression for minutes of this hour that have just passed; the next is most of an hour away.

    It stays the same for all tellings, however long they take.
    """
    now = datetime.now(UTC)
    return ",".join(str((now - timedelta(minutes=ago)).minute) for ago in minutes) + " * * * *"


def runs_end_well(stage: Stage) -> None:
    """Let every Pod run for a moment and end well."""
    stage.cluster.world.jobs(Finish(outcome=lambda _: (0, REPORT), running=0.05))


def _told(kind: str, name: str, endings: list[str]) -> Any:  # noqa: ANN401 - a predicate over a stage
    def over(stage: Stage) -> bool:
        status = stage.status(kind, name)
        history = status.get("history", ())
        return [each["ending"] for each in history] == endings and not status.get("active")

    return over


def _once(stage: Stage) -> None:
    runs_end_well(stage)
    stage.cluster.create(resource("MaintenanceTask", NAME, {"runAt": in_seconds(0.5), "job": JOB}))


def _scheduled(stage: Stage) -> None:
    runs_end_well(stage)
    spec = {"schedule": _minutes_ago(0), "job": JOB, "successfulRunsHistoryLimit": 0}
    stage.created_long_ago(resource("MaintenanceTask", NAME, spec))


def _job_is_cleared_away(stage: Stage) -> bool:
    return _told("MaintenanceTask", NAME, ["Ran"])(stage) and not stage.cluster.list("jobs", TEAM)


def _late(stage: Stage) -> None:
    runs_end_well(stage)
    stage.created_long_ago(resource("MaintenanceTask", NAME, {"schedule": _minutes_ago(5, 3, 1), "job": JOB}))


def _by_hand(stage: Stage) -> None:
    runs_end_well(stage)
    asked = {"upkeep.dev/run-now": "please"}
    stage.cluster.create(resource("MaintenanceTask", NAME, {"job": JOB}, annotations=asked))


def _backup(stage: Stage) -> None:
    runs_end_well(stage)
    spec = {
        "source": {"postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}},
        "repository": {"passwordSecretRef": {"name": "password"}, "volume": {"claimName": "backups"}},
        "schedules": [{"name": "daily", "schedule": _minutes_ago(0)}],
        "verify": {"integrity": {"schedule": _minutes_ago(1)}},
    }
    stage.created_long_ago(resource("BackupPolicy", NAME, spec))


ONCE: Final = Story(name="a task with runAt", begin=_once, over=_told("MaintenanceTask", NAME, ["Ran"]), jobs=1)
SCHEDULED: Final = Story(
    name="a task that is due and keeps no Jobs", begin=_scheduled, over=_job_is_cleared_away, jobs=1
)
LATE: Final = Story(
    name="a task of which three occurrences came due while nobody was there",
    begin=_late,
    over=_told("MaintenanceTask", NAME, ["Ran", "Missed", "Missed"]),
    jobs=1,
)
BY_HAND: Final = Story(
    name="a task that is run by hand", begin=_by_hand, over=_told("MaintenanceTask", NAME, ["Ran"]), jobs=1
)
BACKUP: Final = Story(
    name="a backup and its check, both due", begin=_backup, over=_told("BackupPolicy", NAME, ["Ran", "Ran"]), jobs=2
)

ALL: Final = (ONCE, SCHEDULED, LATE, BY_HAND, BACKUP)
