"""A run as it can be seen from its Job and Pods."""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from upkeep.actions.contract import Outcome
from upkeep.api.status import (
    Ending,
    FindingSummary,
    OccurrenceRecord,
    RunSummary,
    StepSummary,
    Trigger,
)
from upkeep.api.task import FindingAge
from upkeep.domain.decision import Occasion
from upkeep.domain.identity import (
    OWNER_UID_LABEL,
    SCHEDULE_ANNOTATION,
    SCHEDULED_TIME_ANNOTATION,
    TOKEN_ANNOTATION,
    TRIGGER_ANNOTATION,
    WINDOW_UID_LABEL,
)
from upkeep.domain.instants import read_instant, read_optional, write_optional
from upkeep.domain.order import CONTAINER, PREPARATION
from upkeep.domain.report import FindingReport, RunReport

Manifest = Mapping[str, Any]

_NAME_ROOM: Final = 36
_KEPT_FINDINGS: Final = 10
_NO_AGES: Final[Mapping[str, FindingAge]] = {}
_REFUSALS: Final = (
    "a ServiceAccount that does not exist, a quota or a policy is in the way; `kubectl describe job {name}` tells which"
)
_POLICY: Final = "BackupPolicy"
_SCRATCH: Final = re.compile(r'EmptyDir volume "(?:scratch|output)"')
_WAITING_TROUBLE: Final = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CreateContainerConfigError": "ContainerConfigError",
    "CreateContainerError": "ContainerError",
    "RunContainerError": "ContainerError",
}


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a Pod does not get on, while it still may."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        name, uid: of its Job.
        owner_uid: UID of the resource that it runs for.
        occasion: what it is for.
        state: Running until its Job is complete or failed.
        created, started, finished: instants; None where it has not come to that.
        report: what it said, None for a foreign container or where it was killed before it could.
        words: for a foreign container or a killed run: what is known of its end.
        trouble: why its Pod does not get on.
        settled: whether its Pod's end was seen too, or cannot be seen any more, so that the report is final.
    """

    name: str
    uid: str
    owner_uid: str
    occasion: Occasion
    state: RunState
    created: datetime
    started: datetime | None
    finished: datetime | None
    report: RunReport | None
    words: str
    trouble: Trouble | None
    settled: bool

    @property
    def active(self) -> bool:
        """Whether it still runs."""
        return self.state is RunState.RUNNING

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs. A Job that failed is never better than failed or unknown."""
        if self.active:
            return None
        if self.report is None:
            return Outcome.OK if self.state is RunState.SUCCEEDED else Outcome.FAILED
        if self.state is RunState.FAILED and self.report.outcome.good:
            return Outcome.FAILED
        return self.report.outcome

    @property
    def message(self) -> str:
        """One sentence about its end."""
        said = self.report.message if self.report else ""
        if self.outcome is Outcome.FAILED and self.report and self.report.outcome.good:
            return self.words or said
        return said or self.words

    def record(self) -> OccurrenceRecord:
        """As the history keeps it."""
        return OccurrenceRecord(
            ending=Ending.RAN,
            message=self.message[:300],
            schedule=self.occasion.schedule or None,
            scheduled_time=write_optional(self.occasion.scheduled),
            trigger=self.occasion.trigger,
            job=self.name,
            start_time=write_optional(self.started or self.created),
            completion_time=write_optional(self.finished),
            outcome=self.outcome,
        )

    def summary(self, ages: Mapping[str, FindingAge] = _NO_AGES) -> RunSummary:
        """As `lastRun` shows it; `ages` are those of findings, by fingerprint."""
        report = self.report or RunReport(outcome=Outcome.OK)
        return RunSummary(
            **dict(self.record()),
            findings=[
                finding_summary(found, ages.get(found.fingerprint)) for found in report.findings[:_KEPT_FINDINGS]
            ],
            critical_findings=report.counts.critical,
            warning_findings=report.counts.warning,
            steps=[
                StepSummary(
                    name=step.name, outcome=step.outcome, message=step.message[:300], seconds=f"{step.seconds:.1f}"
                )
                for step in report.steps
            ],
        )


def finding_summary(found: FindingReport, age: FindingAge | None = None) -> FindingSummary:
    """A finding with its numbers as people read them."""
    return FindingSummary(
        severity=found.severity,
        check_id=found.check_id,
        object=found.object,
        observed=_with_unit(found.observed, found.unit),
        threshold=_with_unit(found.threshold, found.unit),
        recommendation=found.recommendation,
        first_seen=age.first_seen if age else None,
        due=age.due if age else None,
    )


def run_name(owner_name: str, owner_uid: str, occasion: Occasion) -> str:
    """The name of the Job: the same for the same occasion of the same owner, on every replica and after any crash.

    It is at most 63 characters, since the names of Pods and label values derive from it.
    """
    minute = f"-{int(occasion.scheduled.timestamp()) // 60}" if occasion.scheduled else ""
    kind = {Trigger.SCHEDULE: "", Trigger.MANUAL: "-manual", Trigger.WINDOW: "-window"}[occasion.trigger]
    schedule = f"-{occasion.schedule}" if occasion.schedule else ""
    identity = "\0".join(
        [
            owner_uid,
            occasion.trigger,
            occasion.schedule,
            occasion.token,
            occasion.window_uid,
            occasion.scheduled.isoformat() if occasion.scheduled else "",
        ]
    )
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    stem = f"{owner_name}{schedule}"[:_NAME_ROOM].rstrip("-.").replace(".", "-")
    return f"{stem}{kind}{minute}-{digest}"


def observe(job: Manifest, pods: Sequence[Manifest]) -> Run:
    """The run of a Job that Upkeep made, with what its newest Pod says.

    Raises:
        ValueError: Upkeep did not make it, or somebody has edited what it is for.
    """
    metadata, status = job["metadata"], job.get("status", {})
    conditions = {
        condition["type"]: condition for condition in status.get("conditions", ()) if condition["status"] == "True"
    }
    ended = conditions.get("Complete") or conditions.get("Failed")
    state = RunState.RUNNING
    if ended:
        state = RunState.SUCCEEDED if ended["type"] == "Complete" else RunState.FAILED
    newest = max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]), default=None)
    if state is RunState.SUCCEEDED and newest is not None and _failed(newest):
        newest = None  # that of an attempt before: the one that made the Job complete was not seen yet
    end = _terminated(newest)
    return Run(
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=metadata.get("labels", {}).get(OWNER_UID_LABEL, ""),
        occasion=_occasion(metadata),
        state=state,
        created=read_instant(metadata["creationTimestamp"]),
        started=read_optional(status.get("startTime")),
        finished=_finished(status, ended),
        report=RunReport.decode(end["message"]) if end and end.get("message") else None,
        words=_last_words(job, newest, end, ended),
        trouble=None if ended else _trouble(job, newest),
        settled=_overran(ended) or (_is_over(newest) and len(pods) >= _failures(state, status)),
    )


def _occasion(metadata: Manifest) -> Occasion:
    annotations = metadata.get("annotations") or {}
    return Occasion(
        trigger=Trigger(annotations.get(TRIGGER_ANNOTATION, Trigger.MANUAL)),
        scheduled=read_optional(annotations.get(SCHEDULED_TIME_ANNOTATION)),
        schedule=annotations.get(SCHEDULE_ANNOTATION, ""),
        token=annotations.get(TOKEN_ANNOTATION, ""),
        window_uid=(metadata.get("labels") or {}).get(WINDOW_UID_LABEL, ""),
    )


def _finished(status: Manifest, ended: Manifest | None) -> datetime | None:
    if not ended:
        return None
    return read_optional(status.get("completionTime") or ended.get("lastTransitionTime"))


def _overran(ended: Manifest | None) -> bool:
    """Whether the Job was stopped for its deadline: its Pod is deleted then, so that no last words will come."""
    return ended is not None and ended["type"] == "Failed" and ended.get("reason") == "DeadlineExceeded"


def _is_over(pod: Manifest | None) -> bool:
    return (pod or {}).get("status", {}).get("phase") in {"Succeeded", "Failed"} or _terminated(pod) is not None


def _failures(state: RunState, status: Manifest) -> int:
    """How many Pods a failed Job counts: the last of them may not have been seen yet."""
    return int(status.get("failed", 0)) if state is RunState.FAILED else 0


def _failed(pod: Manifest) -> bool:
    end = _terminated(pod)
    return bool(end.get("exitCode", 0)) if end else pod.get("status", {}).get("phase") == "Failed"


def _terminated(pod: Manifest | None) -> Manifest | None:
    """How the container that does the work ended, or the one before it, where it failed and nothing came after.

    A sidecar that others injected says nothing about it.
    """
    status = (pod or {}).get("status", {})
    before = _ending(status.get("initContainerStatuses", ()), PREPARATION)
    if before and before.get("exitCode", 0):
        return before
    return _ending(status.get("containerStatuses", ()), CONTAINER)


def _ending(containers: Sequence[Manifest], name: str) -> Manifest | None:
    found = next((container for container in containers if container["name"] == name), {})
    terminated: Manifest | None = found.get("state", {}).get("terminated")
    return terminated


def _last_words(job: Manifest, pod: Manifest | None, end: Manifest | None, ended: Manifest | None) -> str:
    if _overran(ended):
        if _without_pods(job):
            return f"no Pod of it was admitted before its timeout: {_REFUSALS.format(name=job['metadata']['name'])}"
        return "it took longer than its timeout and was stopped"
    pod_status = (pod or {}).get("status", {})
    if pod_status.get("reason") == "Evicted":
        why = pod_status.get("message", "").rstrip(". ")
        can_be_raised = any(each["kind"] == _POLICY for each in job["metadata"].get("ownerReferences", ()))
        advice = ": raise scratchSize" if can_be_raised and _SCRATCH.search(why) else ""
        return f"its Pod was evicted: {why}{advice}"
    if end:
        code, reason = end.get("exitCode", 0), end.get("reason", "")
        if reason == "OOMKilled":
            return "it ran out of memory and was killed: raise its memory limit"
        said = (end.get("message") or "").strip().splitlines()
        tail = f": {said[-1][:200]}" if said and not said[-1].startswith("{") else ""
        return f"exit code {code}{tail}" if code else tail.removeprefix(": ")
    if ended and ended.get("reason") == "PodFailurePolicy":
        return "its Pod was evicted, as those of a drained node are: nothing of it goes on; run it again"
    if ended and ended["type"] == "Failed":
        return ended.get("message") or "its Job failed, and its Pod is gone"
    return ""


def _without_pods(job: Manifest) -> bool:
    """Whether the Job controller has tried to create a Pod and none came of it.

    It notes the start of the Job and its first Pod in one write, and every Pod that is gone in another.
    """
    status = job.get("status", {})
    counted = any(status.get(count) for count in ("active", "succeeded", "failed", "terminating"))
    return "startTime" in status and not counted and not any((status.get("uncountedTerminatedPods") or {}).values())


def _trouble(job: Manifest, pod: Manifest | None) -> Trouble | None:
    if pod is None:
        message = f"no Pod of it is admitted: {_REFUSALS.format(name=job['metadata']['name'])}"
        return Trouble(reason="PodRefused", message=message) if _without_pods(job) else None
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting") or {}
        reason = _WAITING_TROUBLE.get(waiting.get("reason", ""))
        if reason:
            message = waiting.get("message") or waiting["reason"]
            return Trouble(reason=reason, message=f"{container.get('image') or 'container'}: {message}")
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Trouble(reason="Unschedulable", message=condition.get("message", "no node can run its Pod"))
    return None


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if not math.isfinite(value) or value == int(value) else f"{value:,.2f}"
    return f"{number} {unit}".strip()
