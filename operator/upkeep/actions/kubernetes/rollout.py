"""How far the Pods of a workload are, read from its status as `kubectl rollout status` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Object = Mapping[str, Any]

_LONGEST: Final = 300


class WorkloadKind(StrEnum):
    """What is restarted."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"

    @property
    def plural(self) -> str:
        """As in a path of the API."""
        return f"{self.lower()}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where a workload stands.

    Attributes:
        desired: how many Pods it is to have.
        updated: how many of them are of its present template.
        ready: how many Pods can be used.
        complete: all that are wanted are of the present template and can be used, and none is left of another.
        trouble: what its controller complains about; empty where it does not.
        given_up: whether its controller has.
    """

    desired: int
    updated: int
    ready: int
    complete: bool
    trouble: str = ""
    given_up: bool = False

    def __str__(self) -> str:
        said = f"{self.updated} of {self.desired} Pods are new, {self.ready} can be used"
        return f"{said}: {self.trouble}" if self.trouble else said


def rollout(kind: WorkloadKind, workload: Object) -> Rollout:
    """Where a workload stands, as it was read from the API server."""
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    observed = int(status.get("observedGeneration") or 0) >= int(workload["metadata"].get("generation") or 0)

    def count(name: str) -> int:
        return int(status.get(name) or 0)

    match kind:
        case WorkloadKind.DEPLOYMENT:
            desired, updated, ready = _replicas(spec), count("updatedReplicas"), count("availableReplicas")
            complete = updated >= desired and count("replicas") <= updated and ready >= updated
        case WorkloadKind.STATEFUL_SET:
            desired, updated, ready = _replicas(spec), count("updatedReplicas"), count("readyReplicas")
            complete = ready >= desired and status.get("currentRevision") == status.get("updateRevision")
        case WorkloadKind.DAEMON_SET:
            desired, updated = count("desiredNumberScheduled"), count("updatedNumberScheduled")
            ready = count("numberAvailable")
            complete = updated >= desired and ready >= desired
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    progress, failure = conditions.get("Progressing") or {}, conditions.get("ReplicaFailure") or {}
    given_up = observed and progress.get("reason") == "ProgressDeadlineExceeded"
    trouble = failure.get("message") if failure.get("status") == "True" else progress.get("message") if given_up else ""
    return Rollout(
        desired=desired,
        updated=updated,
        ready=ready,
        complete=observed and complete,
        trouble=str(trouble or "")[:_LONGEST],
        given_up=given_up,
    )


def obstacle(workload: Object) -> str:
    """Why a restart would do nothing or too little, and what to do; empty where nothing is in its way."""
    metadata, spec = workload["metadata"], workload.get("spec") or {}
    if metadata.get("deletionTimestamp"):
        return "is being deleted: wait until it is gone, or name another one"
    if spec.get("paused"):
        return "is paused, so that nothing would be restarted: `kubectl rollout resume` it first"
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return "replaces its Pods only when somebody deletes them (updateStrategy OnDelete): use RollingUpdate"
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if partition:
        return (
            f"would restart only the Pods from number {partition} on: set updateStrategy.rollingUpdate.partition to 0"
        )
    return ""


def _replicas(spec: Object) -> int:
    replicas = spec.get("replicas")
    return 1 if replicas is None else int(replicas)
