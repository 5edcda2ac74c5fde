"""Restarts a workload as `kubectl rollout restart` does, and waits until all its Pods are new and can be used.

It begins nothing on a workload that is not well, unless it is told to: a restart would take away the Pods that still
work. It never deletes a Pod, and changes nothing but one annotation of the template.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, ObjectName, format_duration
from upkeep.actions.kubernetes.rollout import Rollout, WorkloadKind, obstacle, rollout
from upkeep.actions.kubernetes.session import AbsentError, AwayError, ChangedError, Cluster, cluster

RESTARTED_AT: Final = "kubectl.kubernetes.io/restartedAt"
"""kubectl's own annotation, so that `kubectl rollout history` and people see what they know."""
_ATTEMPTS: Final = 5
"""How often the workload is read anew because somebody changes it at the same time."""
_PAUSE: Final = 1.0
"""Seconds between two looks at the rollout."""
_RESERVE: Final = 2.0
"""Seconds before the step's own deadline at which waiting ends, so that it can be said how far it is."""

Object = Mapping[str, Any]


class KubernetesRestart(Action):
    """Restarts a Deployment, StatefulSet or DaemonSet of the task's namespace, and waits for it.

    Its Pods are replaced as its own update strategy says, so that one with several replicas keeps answering. It is
    refused where nothing would come of it (paused, being deleted, updateStrategy OnDelete or with a partition), and
    where the workload is not well before, unless recover is set. One that is scaled to 0 is skipped. A run that is
    stopped in the middle leaves the rollout to go on by itself.
    Locks: none. Privileges: the task names a ServiceAccount that may `get` and `patch` the workload; the ClusterRole
    upkeep-action-restart of the chart, bound in the namespace, or a Role with resourceNames for one workload alone.
    """

    action_name: ClassVar[str] = "kubernetesRestart"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.degraded": "the workload was not well before",
        "kubernetes.rollout": "it did not come back",
    }

    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    """Deployment, StatefulSet or DaemonSet."""
    name: ObjectName
    """Its name, in the namespace of the task."""
    recover: bool = False
    """True: restarts it also where it is not well. False: such a one is left alone, and the step fails."""
    timeout: Duration = Field(default="10m", validate_default=True)
    """How long its Pods may take until all are new and can be used."""

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {self.name!r}"

    async def run(self, context: Context) -> Result:
        """Restart and wait. A workload that does not come back is a failed result, not an exception."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        limit = begun + max(0.0, min(self.timeout.total_seconds(), context.remaining - _RESERVE))
        async with cluster() as api:
            before, uid = await self._restarted(api)
            if isinstance(before, Result):
                return before
            after = await self._awaited(api, uid, limit)
        return self._result(before, after, clock() - begun)

    async def _restarted(self, api: Cluster) -> tuple[Rollout | Result, str]:
        """Begin; returns where it stood before, or the result where there is nothing to wait for; and its UID."""
        for _ in range(_ATTEMPTS):
            workload = await self._read(api)
            uid = str(workload["metadata"].get("uid"))
            if problem := obstacle(workload):
                msg = f"{self.shown} {problem}"
                raise ActionError(msg)
            before = rollout(self.kind, workload)
            if before.desired == 0:
                return Result(outcome=Outcome.SKIPPED, message=f"{self.shown} has no Pods: nothing to restart"), uid
            if not before.complete and not self.recover:
                return self._left_alone(before), uid
            try:
                await api.patch(self._path(api), _change(workload))
            except ChangedError:
                continue
            return before, uid
        msg = f"{self.shown} was changed by somebody else at each of {_ATTEMPTS} attempts: run this again later"
        raise ActionError(msg)

    async def _awaited(self, api: Cluster, uid: str, limit: float) -> Rollout:
        """Where it stands when all is done, when its controller has given up, or when the time is over."""
        clock = asyncio.get_running_loop().time
        known: Rollout | None = None
        away: AwayError | None = None
        while known is None or clock() < limit:
            try:
                workload, away = await self._read(api), None
                if str(workload["metadata"].get("uid")) != uid:
                    raise self._gone()
                known = rollout(self.kind, workload)
            except AbsentError as error:
                raise self._gone() from error
            except AwayError as error:
                # The rollout goes on without the API server being asked how far it is.
                away = error
            if known and away is None and (known.complete or known.given_up):
                return known
            if clock() >= limit:
                break
            await asyncio.sleep(_PAUSE)
        if away is not None or known is None:
            msg = f"{self.shown} was restarted, but how that went is not known: {away}"
            raise ActionError(msg)
        return known

    async def _read(self, api: Cluster) -> Object:
        return await api.get(self._path(api))

    def _path(self, api: Cluster) -> str:
        return f"/apis/apps/v1/namespaces/{api.namespace}/{self.kind.plural}/{self.name}"

    def _gone(self) -> ActionError:
        return ActionError(f"{self.shown} was deleted while it was restarted: create it again, or remove this step")

    def _left_alone(self, before: Rollout) -> Result:
        message = f"{self.shown} is not well, so it was left alone: {before}; set recover to restart it all the same"
        return Result(outcome=Outcome.FAILED, message=message, findings=[self._degraded(before, Severity.CRITICAL)])

    def _degraded(self, before: Rollout, severity: Severity) -> Finding:
        return Finding(
            check_id="kubernetes.degraded",
            severity=severity,
            object=f"{self.kind}/{self.name}",
            observed=min(before.updated, before.ready),
            threshold=before.desired,
            unit="Pods",
            recommendation=f"it was not well before: `kubectl describe {self.kind.lower()} {self.name}` and its Pods",
        )

    def _result(self, before: Rollout, after: Rollout, seconds: float) -> Result:
        metrics = {
            "desired_pods": float(after.desired),
            "updated_pods": float(after.updated),
            "ready_pods": float(after.ready),
            "rollout_seconds": round(seconds, 1),
        }
        findings = [] if before.complete else [self._degraded(before, Severity.WARNING)]
        if after.complete:
            recovered = "" if before.complete else "; it was not well before"
            message = f"{self.shown}: {after.desired} Pods are new and can be used after {seconds:.0f} s{recovered}"
            return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)
        why = "its controller has given up" if after.given_up else f"after {format_duration(self.timeout)} at most"
        stuck = Finding(
            check_id="kubernetes.rollout",
            severity=Severity.CRITICAL,
            object=f"{self.kind}/{self.name}",
            observed=min(after.updated, after.ready),
            threshold=after.desired,
            unit="Pods",
            recommendation=f"look at its Pods; `kubectl rollout undo {self.kind.lower()}/{self.name}` goes back",
        )
        message = f"{self.shown} was restarted and does not come back, {why}: {after}"
        return Result(outcome=Outcome.FAILED, message=message, findings=[stuck, *findings], metrics=metrics)


def _change(workload: Object) -> list[Object]:
    """The patch, which holds only for the workload as it was looked at."""
    metadata, template = workload["metadata"], workload["spec"]["template"]
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    operations: list[Object] = [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
    ]
    place = "/spec/template/metadata"
    if not (template.get("metadata") or {}).get("annotations"):
        return [*operations, {"op": "add", "path": f"{place}/annotations", "value": {RESTARTED_AT: now}}]
    key = RESTARTED_AT.replace("/", "~1")
    return [*operations, {"op": "add", "path": f"{place}/annotations/{key}", "value": now}]
