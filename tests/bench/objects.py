"""The objects of a round: schedules that are all due in the same minute, and the same Job for every contestant."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from upkeep.api.container import CustomJob
from upkeep.api.status import Trigger
from upkeep.cluster.resources import PODS, TASKS, Resource
from upkeep.domain.decision import Occasion
from upkeep.domain.identity import JOB_NAME_LABEL, Identity
from upkeep.domain.run import run_name
from upkeep.domain.work import Work
from upkeep.resources.job import job

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    """A task that is due at this minute."""
    return {
        "apiVersion": TASKS.api_version,
        "kind": TASKS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "schedule": cron(minute),
            "timeZone": "Etc/UTC",
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


def pod_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The Pod that the Job controller would make for a Job."""
    template = job["spec"]["template"]
    metadata = job["metadata"]
    labels = {**template["metadata"]["labels"], JOB_NAME_LABEL: metadata["name"]}
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {"name": f"{metadata['name']}-0", "namespace": metadata["namespace"], "labels": labels},
        "spec": template["spec"],
    }


def pod_end(now: str) -> dict[str, Any]:
    """The status of a Pod whose container ended well, as a merge patch: there is no kubelet here."""
    terminated = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    container = {"name": "run", "image": IMAGE, "imageID": "", "ready": False, "restartCount": 0}
    return {"status": {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": terminated}}]}}


def job_end(now: str) -> dict[str, Any]:
    """The status of a Job that is complete, as a merge patch: there is no Job controller here."""
    done = {"status": "True", "lastProbeTime": now, "lastTransitionTime": now, "reason": "CompletionsReached"}
    return {
        "status": {
            "startTime": now,
            "completionTime": now,
            "succeeded": 1,
            "conditions": [{"type": "SuccessCriteriaMet", **done}, {"type": "Complete", **done}],
        }
    }
