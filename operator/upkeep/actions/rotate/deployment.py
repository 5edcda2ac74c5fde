"""Gives a changed Secret to the workloads that use it: restarts them, one after the other, and waits until all is well.

A workload that was restarted for a rotation carries its token, so that a run that goes on does not restart it again.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model, ObjectName
from upkeep.actions.kubernetes.rollout import Rollout, WorkloadKind, obstacle, rollout
from upkeep.actions.kubernetes.session import AwayError, ChangedError, Cluster

_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at a rollout, which become rarer."""

Object = Mapping[str, Any]


class Workload(Model):
    """What reads the Secret."""

    kind: WorkloadKind = WorkloadKind.DEPLOYMENT
    """Deployment, StatefulSet or DaemonSet."""
    name: ObjectName
    """Its name, in the namespace of the task."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def mark(secret: str) -> str:
    """The annotation of Pod templates that says for which rotation of this Secret they were restarted."""
    return f"upkeep.dev/rotated-{hashlib.sha256(secret.encode()).hexdigest()[:8]}"


async def demand_well(api: Cluster, workloads: Sequence[Workload]) -> None:
    """Refuse to begin where a restart would take away what still works, or would do nothing.

    Raises:
        ActionError: one of them is not there, is not well or would not be restarted.
    """
    for workload in workloads:
        found = await api.get(_path(api, workload))
        _demand_restartable(workload, found)
        state = rollout(workload.kind, found)
        if not state.complete:
            msg = f"{workload} is not well ({state}), so that nothing was begun: let it recover first"
            raise ActionError(msg)


async def deploy(api: Cluster, workloads: Sequence[Workload], *, secret: str, token: str, limit: float) -> str:
    """Restart those that have not been restarted for this yet, and wait until each is well before the next.

    Args:
        api: the API server.
        workloads: in this order.
        secret: name of the Secret.
        token: of the rotation.
        limit: instant of the loop's clock until which each may take.

    Returns:
        Why one of them does not become well; empty where all are.

    Raises:
        ActionError: one of them is not there, or would not be restarted.
        AwayError: it is not known how far they are.
    """
    for workload in workloads:
        await _restart(api, workload, annotation=mark(secret), token=token)
        state = await _awaited(api, workload, limit)
        if not state.complete:
            why = "its controller has given up" if state.given_up else "it took too long"
            return f"{workload} does not become well, {why}: {state}"
    return ""


async def _restart(api: Cluster, workload: Workload, *, annotation: str, token: str) -> None:
    for _ in range(_ATTEMPTS):
        found = await api.get(_path(api, workload))
        metadata, template = found["metadata"], found["spec"]["template"]
        annotations = (template.get("metadata") or {}).get("annotations") or {}
        if annotations.get(annotation) == token:
            return
        _demand_restartable(workload, found)
        place = "/spec/template/metadata/annotations"
        change: Object = {"op": "add", "path": place, "value": {annotation: token}}
        if annotations:
            change = {"op": "add", "path": f"{place}/{annotation.replace('/', '~1')}", "value": token}
        conditions: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
        ]
        try:
            await api.patch(_path(api, workload), [*conditions, change])
        except ChangedError:
            continue
        return
    msg = f"{workload} was changed by somebody else at each of {_ATTEMPTS} attempts: run this again later"
    raise ActionError(msg)


async def _awaited(api: Cluster, workload: Workload, limit: float) -> Rollout:
    """Where it stands when all is done, when its controller has given up, or when the time is over."""
    clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
    while True:
        try:
            state = rollout(workload.kind, await api.get(_path(api, workload)))
        except AwayError:
            if clock() >= limit:
                raise
        else:
            if state.complete or state.given_up or clock() >= limit:
                return state
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _demand_restartable(workload: Workload, found: Object) -> None:
    if problem := obstacle(found):
        msg = f"{workload} {problem}"
        raise ActionError(msg)


def _path(api: Cluster, workload: Workload) -> str:
    return f"/apis/apps/v1/namespaces/{api.namespace}/{workload.kind.plural}/{workload.name}"
