"""Stops a workload by taking its Pods away, and brings back as many as there were.

What it takes away it writes down on the workload itself, in the same patch, so that nobody has to remember it. It never
works against an autoscaler, and never deletes a Pod itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, ObjectName, Rule, format_duration
from upkeep.actions.kubernetes.session import AbsentError, AwayError, ChangedError, Cluster, cluster

BEFORE: Final = "upkeep.dev/replicas-before"
"""Annotation of a workload that was scaled: how many Pods it was to have before."""

_ATTEMPTS: Final = 5
_PAUSE: Final = 1.0
_RESERVE: Final = 2.0
"""Seconds before the step's own deadline at which waiting ends, so that it can be said how far it is."""
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_ONE: Final[Rule] = {
    "rule": "has(self.replicas) != (has(self.restore) && self.restore)",
    "message": "say either replicas, or restore: true to put back how many there were",
}

Object = Mapping[str, Any]


class ScalableKind(StrEnum):
    """What is scaled."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"


class KubernetesScale(Action):
    """Scales a Deployment or StatefulSet of the task's namespace, and waits for its Pods to be there, or to be gone.

    How many there were stands in the workload's annotation upkeep.dev/replicas-before until restore puts them back.
    With an autoscaler, only to 0 and back: a HorizontalPodAutoscaler leaves alone what is scaled to 0. A run that is
    stopped in the middle leaves it as it is; restore works all the same.
    Locks: none. Privileges: the task names a ServiceAccount that may `get` and `patch` the workload, `get` its `scale`,
    and `list` Pods and HorizontalPodAutoscalers; the ClusterRole upkeep-action-scale of the chart, bound in the
    namespace.
    """

    action_name: ClassVar[str] = "kubernetesScale"
    finds: ClassVar[Mapping[str, str]] = {"kubernetes.scale": "its Pods are not there, or not gone, in time"}

    kind: ScalableKind = ScalableKind.DEPLOYMENT
    """Deployment or StatefulSet."""
    name: ObjectName
    """Its name, in the namespace of the task."""
    replicas: Annotated[int | None, Field(ge=0, le=10000)] = None
    """How many Pods it is to have; 0 stops it."""
    restore: bool = False
    """True: as many as it had before; skipped where nothing is written down."""
    timeout: Duration = Field(default="10m", validate_default=True)
    """How long that may take."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """One of both ways."""
        return (_ONE,)

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        if (self.replicas is not None) == self.restore:
            raise ValueError(_ONE["message"])
        return self

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"{self.kind} {self.name!r}"

    async def run(self, context: Context) -> Result:
        """Scale and wait. A workload that does not get there is a failed result, not an exception."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        limit = begun + max(0.0, min(self.timeout.total_seconds(), context.remaining - _RESERVE))
        async with cluster() as api:
            change = await self._scaled(api)
            if isinstance(change, Result):
                return change
            state = await self._awaited(api, change, limit)
        return self._result(change, state, clock() - begun)

    async def _scaled(self, api: Cluster) -> "_Change | Result":
        """Begin; returns what is to come about, or the result where there is nothing to do."""
        for _ in range(_ATTEMPTS):
            workload = await self._read(api)
            metadata, before = workload["metadata"], _replicas(workload)
            if metadata.get("deletionTimestamp"):
                msg = f"{self.shown} is being deleted: wait until it is gone, or name another one"
                raise ActionError(msg)
            remembered = (metadata.get("annotations") or {}).get(BEFORE)
            if self.restore and remembered is None:
                message = f"{self.shown} has {before} Pods, and no annotation {BEFORE}: nothing to put back"
                return Result(outcome=Outcome.SKIPPED, message=message)
            wanted = self._wanted(remembered)
            await self._demand_no_autoscaler(api, wanted)
            change = _Change(uid=str(metadata["uid"]), before=before, wanted=wanted)
            operations = _operations(workload, change, remembered=remembered, restore=self.restore)
            try:
                if operations:
                    await api.patch(self._path(api), operations)
            except ChangedError:
                continue
            return change
        msg = f"{self.shown} was changed by somebody else at each of {_ATTEMPTS} attempts: run this again later"
        raise ActionError(msg)

    def _wanted(self, remembered: str | None) -> int:
        if not self.restore:
            return self.replicas or 0
        try:
            wanted = int(remembered or "")
        except ValueError:
            wanted = -1
        if wanted < 0:
            msg = f"annotation {BEFORE} of {self.shown} is {remembered!r}, no number of Pods: correct or remove it"
            raise ActionError(msg)
        return wanted

    async def _demand_no_autoscaler(self, api: Cluster, wanted: int) -> None:
        """Refuse what an autoscaler would undo.

        Raises:
            ActionError: there is one that would.
        """
        try:
            listed = await api.get(f"/apis/autoscaling/v2/namespaces/{api.namespace}/horizontalpodautoscalers")
        except AbsentError:
            return
        for scaler in listed.get("items") or ():
            target = (scaler.get("spec") or {}).get("scaleTargetRef") or {}
            if (target.get("kind"), target.get("name")) != (str(self.kind), self.name):
                continue
            owners = scaler["metadata"].get("ownerReferences") or ()
            keda = next((owner["name"] for owner in owners if owner.get("kind") == "ScaledObject"), None)
            if keda and not self.restore:
                msg = (
                    f"{self.shown} is scaled by the ScaledObject {keda!r} of KEDA, which would undo this: pause that "
                    "by its annotation autoscaling.keda.sh/paused-replicas instead"
                )
                raise ActionError(msg)
            if wanted and not self.restore:
                msg = (
                    f"{self.shown} is scaled by the HorizontalPodAutoscaler {scaler['metadata']['name']!r}, which "
                    "would undo this: change its minReplicas and maxReplicas; to stop the workload, say replicas: 0"
                )
                raise ActionError(msg)

    async def _awaited(self, api: Cluster, change: "_Change", limit: float) -> "_State":
        clock = asyncio.get_running_loop().time
        state = _State()
        away: AwayError | None = None
        while True:
            try:
                workload, away = await self._read(api), None
                if str(workload["metadata"].get("uid")) != change.uid:
                    msg = f"{self.shown} was deleted while it was scaled: create it again, or remove this step"
                    raise ActionError(msg)
                state = _State.of(workload, await self._pods(api) if change.wanted == 0 else None)
            except AwayError as error:
                away = error
            if away is None and state.reached(change.wanted):
                return state
            if clock() >= limit:
                break
            await asyncio.sleep(_PAUSE)
        if away is not None:
            msg = f"{self.shown} was scaled, but how that went is not known: {away}"
            raise ActionError(msg)
        return state

    async def _read(self, api: Cluster) -> Object:
        return await api.get(self._path(api))

    async def _pods(self, api: Cluster) -> int:
        """How many Pods of it are left, those that are on their way out too: they still do what they do."""
        scale = await api.get(f"{self._path(api)}/scale")
        selector = quote(str((scale.get("status") or {}).get("selector") or ""), safe="")
        listed = await api.get(f"/api/v1/namespaces/{api.namespace}/pods?labelSelector={selector}")
        phases = ((pod.get("status") or {}).get("phase") for pod in listed.get("items") or ())
        return sum(phase not in _ENDED for phase in phases)

    def _path(self, api: Cluster) -> str:
        return f"/apis/apps/v1/namespaces/{api.namespace}/{self.kind.lower()}s/{self.name}"

    def _result(self, change: "_Change", state: "_State", seconds: float) -> Result:
        metrics = {
            "pods_before": float(change.before),
            "desired_pods": float(change.wanted),
            "ready_pods": float(state.ready),
            "scale_seconds": round(seconds, 1),
        }
        if state.reached(change.wanted):
            what = "all its Pods are gone" if change.wanted == 0 else f"{change.wanted} Pods can be used"
            same = change.before == change.wanted
            message = f"{self.shown}: {what} after {seconds:.0f} s, there were {change.before}"
            outcome = Outcome.OK if same else Outcome.CHANGED
            return Result(outcome=outcome, message=message, metrics=metrics)
        finding = Finding(
            check_id="kubernetes.scale",
            severity=Severity.CRITICAL,
            object=f"{self.kind}/{self.name}",
            observed=state.ready if change.wanted else state.left,
            threshold=change.wanted,
            unit="Pods",
            recommendation=f"look at its Pods: `kubectl describe {self.kind.lower()} {self.name}`",
        )
        how = f"{state.left} Pods are left" if change.wanted == 0 else f"{state.ready} of {change.wanted} can be used"
        message = f"{self.shown} is not there after {format_duration(self.timeout)} at most: {how}"
        return Result(outcome=Outcome.FAILED, message=message, findings=[finding], metrics=metrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """From how many Pods to how many."""

    uid: str
    before: int
    wanted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """Where a workload stands.

    Attributes:
        observed: whether its controller has seen the present spec.
        present: how many Pods its controller counts.
        ready: how many of them can be used.
        left: how many Pods there are of whatever state, where nobody is to be left.
    """

    observed: bool = False
    present: int = 0
    ready: int = 0
    left: int = 0

    @classmethod
    def of(cls, workload: Object, left: int | None) -> "_State":
        status = workload.get("status") or {}
        present = int(status.get("replicas") or 0)
        ready = status.get("availableReplicas") if workload.get("kind") == "Deployment" else status.get("readyReplicas")
        return cls(
            observed=int(status.get("observedGeneration") or 0) >= int(workload["metadata"].get("generation") or 0),
            present=present,
            ready=int(ready or 0),
            left=max(present, left or 0),
        )

    def reached(self, wanted: int) -> bool:
        return self.observed and (self.left == 0 if wanted == 0 else self.present == wanted == self.ready)


def _replicas(workload: Object) -> int:
    replicas = (workload.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _operations(workload: Object, change: _Change, *, remembered: str | None, restore: bool) -> list[Object]:
    """The patch, which holds only for the workload as it was looked at; none where nothing is to be changed."""
    metadata = workload["metadata"]
    place = f"/metadata/annotations/{BEFORE.replace('/', '~1')}"
    operations: list[Object] = []
    if change.before != change.wanted:
        operations.append({"op": "add", "path": "/spec/replicas", "value": change.wanted})
    if restore:
        operations.append({"op": "remove", "path": place})
    elif remembered is None and operations:
        if metadata.get("annotations"):
            operations.append({"op": "add", "path": place, "value": str(change.before)})
        else:
            value = {BEFORE: str(change.before)}
            operations.append({"op": "add", "path": "/metadata/annotations", "value": value})
    if not operations:
        return []
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
        *operations,
    ]
