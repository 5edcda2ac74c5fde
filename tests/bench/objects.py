"""The objects of a round: schedules that are all due in the same minute, and the same Job for every contestant."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from upkeep.api.container import CustomJob
from upkeep.api.status import Trigger
from upkeep.cluster.resources import TASKS, Resource
from upkeep.domain.decision import Occasion
from upkeep.domain.identity import Identity
from upkeep.domain.run import run_name
from upkeep.domain.work import Work
from upkeep.resources.job import job

if TYPE_CHECKING:
    from datetime import datetime

IMAGE = "localhost/nothing:1"
COMMAND = ["true"]
CRON_JOBS = Resource("batch", "v1", "cronjobs", "CronJob")


def names(count: int) -> list[str]:
    """Names of the schedules of a round."""
    return [f"nightly-{number:05d}" for number in range(count)]


def cron(minute: datetime) -> str:
    """The expression that is due at this minute (in UTC), and then not before tomorrow."""
    return f"{minute.minute} {minute.hour} * * *"


def maintenance_task(name: str, namespace: str, minute: datetime) -> dict[str, Any]:
    """A task that is due at this minute; its ended Jobs are removed at once, as in a cluster that runs for long."""
    return {
        "apiVersion": TASKS.api_version,
        "kind": TASKS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "schedule": cron(minute),
            "timeZone": "Etc/UTC",
            "successfulRunsHistoryLimit": 0,
            "job": {"image": IMAGE, "command": COMMAND},
        },
    }


def cron_job(name: str, namespace: str, minute: datetime) -> dict[str, Any]:
    """The same as a CronJob: its Jobs have the very spec that Upkeep gives to its own."""
    template = bare_job(name, namespace, minute)
    return {
        "apiVersion": CRON_JOBS.api_version,
        "kind": CRON_JOBS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "schedule": cron(minute),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 0,
            "jobTemplate": {
                "metadata": {"labels": template["metadata"]["labels"]},
                "spec": template["spec"],
            },
        },
    }


def bare_job(name: str, namespace: str, minute: datetime) -> dict[str, Any]:
    """The Job that Upkeep would create for the task of this name."""
    owner = Identity(kind=TASKS.kind, namespace=namespace, name=name, uid=f"00000000-0000-4000-8000-{name[-5:]:0>12}")
    occasion = Occasion(trigger=Trigger.SCHEDULE, scheduled=minute)
    work = Work(content=CustomJob(image=IMAGE, command=COMMAND), timeout=timedelta(hours=1))
    return job(owner=owner, name=run_name(name, owner.uid, occasion), occasion=occasion, work=work, image=IMAGE)


def completion(now: str) -> dict[str, Any]:
    """The status of a Job that ended well, as a merge patch: there is no kubelet and no Job controller here."""
    done = {"status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": "CompletionsReached"}
    return {
        "status": {
            "startTime": now,
            "completionTime": now,
            "succeeded": 1,
            "conditions": [{"type": "SuccessCriteriaMet", **done}, {"type": "Complete", **done}],
        }
    }
