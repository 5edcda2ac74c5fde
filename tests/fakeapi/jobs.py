"""The simulated Job controller: Pods for Jobs, and the Jobs' status as Kubernetes 1.34 reports it.

It exists because an operator learns how a run went from a Job's conditions, in the order in which the real
controller sets them: first `SuccessCriteriaMet` or `FailureTarget`, in a write of its own, then `Complete` or
`Failed`. It must never say how a Pod fares: behaviours do. Left out: indexed Jobs, Pod failure policies,
parallelism above one, time to live.
"""

from dataclasses import dataclass

from fakeapi.behaviours import Choice, choose
from fakeapi.fields import Writer
from fakeapi.kubelet import Kubelet
from fakeapi.objects import Change, Json, Key, Record
from fakeapi.resources import JOBS, PODS, ResourceType
from fakeapi.store import Deletion, Store
from fakeapi.timers import Timers

_CONTROLLER = Writer("kube-controller-manager")
_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass
class _Run:
    """What the controller remembers of one Job.

    Attributes:
        key: the Job's namespace and name.
        pod: the Pod that has not ended yet, if any.
        ready: whether that Pod is ready.
        may_start: whether the next Pod may start, which it may not right after a failure.
        succeeded: Pods that succeeded.
        failed: Pods that failed or vanished.
        deadline: whether the deadline is being watched.
    """

    key: Key
    pod: Key | None = None
    ready: bool = False
    may_start: bool = True
    succeeded: int = 0
    failed: int = 0
    deadline: bool = False


class JobController:
    """Follows Jobs and their Pods.

    Args:
        store: where they are.
        timers: for what takes time.
        choice: how the Pods fare.
        backoff: seconds between a failed Pod and the next (10 doubling in the real controller).
    """

    def __init__(self, store: Store, timers: Timers, choice: Choice, *, backoff: float) -> None:
        self._store = store
        self._timers = timers
        self.choice = choice
        self._backoff = backoff
        self._kubelet = Kubelet(store, timers)
        self._runs: dict[str, _Run] = {}
        store.observe(JOBS, self._on_job)
        store.observe(PODS, self._on_pod)
        for job in store.select(JOBS):
            self._runs[job.uid] = _Run(job.key)
            self._soon(job.uid)

    def _on_job(self, _: ResourceType, change: Change) -> None:
        uid = change.record.uid
        if change.type == "DELETED":
            self._runs.pop(uid, None)
            return
        self._runs.setdefault(uid, _Run(change.record.key))
        self._soon(uid)

    def _on_pod(self, _: ResourceType, change: Change) -> None:
        run = self._runs.get(_owner(change.record))
        if run is None or run.pod != change.record.key:
            return
        phase = change.record.object["status"]["phase"]
        if phase == "Succeeded":
            run.succeeded += 1
        elif phase == "Failed" or (change.type == "DELETED" and not self._stopped(run)):
            run.failed += 1
            run.may_start = False
            self._timers.after(self._backoff, lambda: self._allow(_owner(change.record)))
        run.ready = phase == "Running"
        if phase in _ENDED or change.type == "DELETED":
            run.pod, run.ready = None, False
        self._soon(_owner(change.record))

    def _soon(self, uid: str) -> None:
        self._timers.after(0, lambda: self._sync(uid))

    def _stopped(self, run: _Run) -> bool:
        job = self._store.find(JOBS, run.key)
        return job is None or bool(job.object["spec"].get("suspend"))

    def _sync(self, uid: str) -> None:
        run = self._runs.get(uid)
        job = self._store.find(JOBS, run.key) if run else None
        if run is None or job is None or job.uid != uid or _is_over(job.object):
            return
        spec, status = job.object["spec"], job.object.get("status", {})
        if spec.get("suspend"):
            self._suspend(run, job)
            return
        if "startTime" not in status:
            status = {**status, "startTime": self._store.now()}
        if _condition(job.object, "Suspended"):
            status = _with(status, "Suspended", "JobResumed", "Job resumed", now=self._store.now(), holds="False")
        self._watch_deadline(run, uid, spec)
        if run.succeeded >= spec.get("completions", 1):
            reached = "CompletionsReached", "Reached expected number of succeeded pods"
            self._end(run, status, ("SuccessCriteriaMet", "Complete"), *reached)
        elif run.failed > spec.get("backoffLimit", 6):
            exceeded = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
            self._end(run, status, ("FailureTarget", "Failed"), *exceeded)
        else:
            if run.pod is None and run.may_start:
                pod = self._store.create(PODS, run.key[0], _pod(job), writer=_CONTROLLER)
                run.pod = pod.key
                self._kubelet.run(pod, job.object, choose(self.choice, job.object))
            self._report(run, status)

    def _allow(self, uid: str) -> None:
        run = self._runs.get(uid)
        if run is not None:
            run.may_start = True
            self._sync(uid)

    def _watch_deadline(self, run: _Run, uid: str, spec: Json) -> None:
        seconds = spec.get("activeDeadlineSeconds")
        if seconds is not None and not run.deadline:
            run.deadline = True
            self._timers.after(seconds, lambda: self._exceed_deadline(uid))

    def _exceed_deadline(self, uid: str) -> None:
        run = self._runs.get(uid)
        job = self._store.find(JOBS, run.key) if run else None
        if run is None or job is None or _is_over(job.object):
            return
        if self._stopped(run):
            run.deadline = False
            return
        self._remove_pod(run)
        exceeded = "DeadlineExceeded", "Job was active longer than specified deadline"
        self._end(run, job.object.get("status", {}), ("FailureTarget", "Failed"), *exceeded)

    def _suspend(self, run: _Run, job: Record) -> None:
        self._remove_pod(run)
        status = {key: value for key, value in job.object.get("status", {}).items() if key != "active"}
        suspended = _condition(job.object, "Suspended")
        if suspended is None or suspended["status"] != "True":
            status = _with(status, "Suspended", "JobSuspended", "Job suspended", now=self._store.now())
        self._report(run, status)

    def _remove_pod(self, run: _Run) -> None:
        # The real controller deletes Pods that are not wanted any more, with their termination messages.
        if run.pod is not None and self._store.find(PODS, run.pod) is not None:
            self._store.delete(PODS, run.pod, Deletion())

    def _end(self, run: _Run, status: Json, conditions: tuple[str, str], reason: str, message: str) -> None:
        now = self._store.now()
        decided = _with(status, conditions[0], reason, message, now=now)
        self._report(run, decided)
        ended = _with(decided, conditions[1], reason, message, now=now)
        self._report(run, {**ended, "completionTime": now} if conditions[1] == "Complete" else ended)

    def _report(self, run: _Run, status: Json) -> None:
        counts = {"active": int(run.pod is not None), "succeeded": run.succeeded, "failed": run.failed}
        status = {key: value for key, value in status.items() if key not in counts}
        status |= {key: count for key, count in counts.items() if count}
        status |= {"ready": int(run.ready), "terminating": 0, "uncountedTerminatedPods": {}}
        self._store.update(
            JOBS,
            run.key,
            lambda record: {**record.object, "status": status},
            writer=_CONTROLLER,
            subresource="status",
        )


def _pod(job: Record) -> Json:
    template = job.object["spec"]["template"]
    name = job.key[1]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name,
        "uid": job.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {**template.get("metadata", {}), "generateName": f"{name}-", "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _owner(pod: Record) -> str:
    owners = pod.object["metadata"].get("ownerReferences", [])
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _condition(job: Json, kind: str) -> Json | None:
    conditions = job.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == kind), None)


def _is_over(job: Json) -> bool:
    ends = (_condition(job, "Complete"), _condition(job, "Failed"))
    return any(end is not None and end["status"] == "True" for end in ends)


def _with(status: Json, kind: str, reason: str, message: str, *, now: str, holds: str = "True") -> Json:
    condition = {
        "type": kind,
        "status": holds,
        "lastProbeTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    others = [other for other in status.get("conditions", []) if other["type"] != kind]
    return {**status, "conditions": [*others, condition]}
