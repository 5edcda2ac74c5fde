"""Compares what nodes and Pods use with what they have, from the metrics API (metrics-server or another).

Disks are not in that API. That a disk is nearly full, a node says by a condition of its own; figures would take the
right `nodes/proxy`, by which one may run commands in every container, so they are left to Prometheus.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Rule
from upkeep.actions.kubernetes.pod import workload
from upkeep.actions.kubernetes.quantity import amount
from upkeep.actions.kubernetes.session import AbsentError, AwayError
from upkeep.actions.kubernetes.view import PODS, Kind, Look, View
from upkeep.actions.text import readable
from upkeep.actions.thresholds import Graded

Object = Mapping[str, Any]
Percent = Annotated[float, Field(ge=0, le=100)]

NODES: Final = Kind("v1", "nodes")
NODE_METRICS: Final = Kind("metrics.k8s.io/v1beta1", "nodes")
POD_METRICS: Final = Kind("metrics.k8s.io/v1beta1", "pods")

_OLDEST: Final = timedelta(minutes=5)
"""Figures that are older are of a node that does not answer any more; metrics-server has new ones every 15 seconds."""
_PRESSURES: Final = {
    "DiskPressure": "a disk of it is nearly full, and Pods are evicted: remove images, logs and volumes, or enlarge it",
    "MemoryPressure": "its memory is nearly used up, and Pods are evicted: limit what its Pods use, or add nodes",
    "PIDPressure": "it has too many processes, and Pods are evicted: find the Pod that starts them",
    "NetworkUnavailable": "its network is not set up: look at the network plugin on it",
}
_NOTHING: Final = "say what is looked at: nodes, pods, or both"
_NO_METRICS: Final = "this cluster has no metrics API: install metrics-server (`kubectl top nodes` tells if it works)"


class CPUThresholds(Graded):
    """From which use of CPU on it is a finding."""

    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")

    warning_percent: Percent = 70
    """Percent from which on it is a warning."""
    critical_percent: Percent = 90
    """Percent from which on it is critical."""


class MemoryThresholds(Graded):
    """From which use of memory on it is a finding."""

    graded_by: ClassVar[tuple[str, str]] = ("warning_percent", "critical_percent")

    warning_percent: Percent = 80
    """Percent from which on it is a warning."""
    critical_percent: Percent = 95
    """Percent from which on it is critical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """How much of something is used.

    Attributes:
        of: `limit`, `request` or `allocatable`.
    """

    name: str
    resource: str
    used: float
    available: float
    of: str

    @property
    def percent(self) -> float:
        return 100 * self.used / self.available


class KubernetesNodeResources(Look):
    """Reports nodes, and Pods of the task's namespace, that use most of their CPU or memory, and nodes under pressure.

    Nodes are compared with what is allocatable on them. Containers are compared with their limits, and where they have
    none with their requests, which is never more than a warning; those without either are not compared. A full disk
    shows as DiskPressure of its node; for percentages of disks ask Prometheus (prometheusQuery). `unknown` where there
    is no metrics API, or where it has no new figures.
    Locks: none. Privileges: the task names a ServiceAccount that may `list` Nodes and their metrics (metrics.k8s.io),
    by a ClusterRoleBinding, and with pods also Pods and their metrics of the namespace; the ClusterRole
    upkeep-action-node-resources of the chart. Source of the defaults: CPU 70 and 90, memory 80 and 95 percent leave
    time to act: work that waits for CPU gets slower, what runs out of memory is killed.
    """

    action_name: ClassVar[str] = "kubernetesNodeResources"
    role: ClassVar[str] = "upkeep-action-node-resources"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.resources.node-cpu": "a node uses most of its CPU",
        "kubernetes.resources.node-memory": "a node uses most of its memory",
        "kubernetes.resources.pod-cpu": "a container uses most of the CPU that it may use",
        "kubernetes.resources.pod-memory": "a container uses most of the memory that it may use",
        "kubernetes.resources.pressure": "a node says that it runs out of disk, memory or processes, or has no network",
        "kubernetes.resources.not-ready": "a node is not ready",
        "kubernetes.resources.no-figures": "there are no new figures of a node",
    }

    nodes: bool = True
    """Whether all nodes are looked at."""
    pods: bool = False
    """Whether the containers of the task's namespace are looked at."""
    cpu: CPUThresholds = Field(default_factory=CPUThresholds)
    """Thresholds of CPU."""
    memory: MemoryThresholds = Field(default_factory=MemoryThresholds)
    """Thresholds of memory."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Something is looked at."""
        rule = "(has(self.nodes) ? self.nodes : true) || (has(self.pods) && self.pods)"
        return ({"rule": rule, "message": _NOTHING},)

    @model_validator(mode="after")
    def _looks_at_something(self) -> Self:
        if not self.nodes and not self.pods:
            raise ValueError(_NOTHING)
        return self

    async def look(self, view: View) -> Result:
        """Read figures and what they are compared with.

        Raises:
            UncheckableError: there is no metrics API, or it does not answer.
        """
        findings: list[Finding] = []
        uses: list[_Use] = []
        try:
            if self.nodes:
                findings += await self._nodes(view, uses)
            if self.pods:
                await self._pods(view, uses)
        except AbsentError:
            raise UncheckableError(_NO_METRICS) from None
        except AwayError as error:
            msg = f"the metrics API, or the API server, does not answer: {error}"
            raise UncheckableError(msg) from None
        view.complete()
        unseen = [each for each in findings if each.check_id.endswith("no-figures")]
        worst = max(uses, key=lambda each: each.percent, default=None)
        message = f"{len(uses)} figures compared"
        if worst:
            message += f", the worst: {worst.name} uses {worst.percent:.0f} % of its {worst.resource} {worst.of}"
        if unseen:
            message += f"; no new figures of {', '.join(each.object for each in unseen[:5])}"
        return Result(
            outcome=Outcome.UNKNOWN if unseen else Outcome.OK,
            message=readable(message),
            findings=[*findings, *(found for use in uses if (found := self._judged(use)))],
            metrics={
                **{f"worst_{kind}_percent": _worst(uses, kind) for kind in ("cpu", "memory")},
                "compared": float(len(uses)),
            },
        )

    async def _nodes(self, view: View, uses: list[_Use]) -> list[Finding]:
        findings: list[Finding] = []
        figures = {each["metadata"]["name"]: each async for each in view.each(NODE_METRICS)}
        async for node in view.each(NODES):
            name = str(node["metadata"]["name"])
            findings += _conditions(name, node)
            figure = figures.get(name)
            if figure is None or _is_old(figure):
                advice = "look whether its kubelet answers, and at the log of metrics-server"
                findings.append(_finding("no-figures", Severity.WARNING, f"Node/{name}", advice))
                continue
            allocatable = (node.get("status") or {}).get("allocatable") or {}
            for resource in ("cpu", "memory"):
                used, available = amount(figure["usage"].get(resource)), amount(allocatable.get(resource))
                if used is not None and available:
                    shown = f"Node/{name}"
                    uses.append(_Use(name=shown, resource=resource, used=used, available=available, of="allocatable"))
        return findings

    async def _pods(self, view: View, uses: list[_Use]) -> None:
        """A Pod that has just begun has no figures yet, which is no trouble of it."""
        where = view.namespace
        figures: dict[tuple[str, str], Object] = {}
        async for each in view.each(POD_METRICS, namespace=where):
            if not _is_old(each):
                pod_name = each["metadata"]["name"]
                figures |= {(pod_name, one["name"]): one["usage"] for one in each.get("containers") or ()}
        async for pod in view.each(PODS, namespace=where):
            for container in pod["spec"].get("containers") or ():
                usage = figures.get((pod["metadata"]["name"], container["name"]))
                resources = container.get("resources") or {}
                name = f"{workload(pod)} container {container['name']}"
                for resource in ("cpu", "memory") if usage else ():
                    for of in ("limit", "request"):
                        available = amount((resources.get(f"{of}s") or {}).get(resource))
                        used = amount((usage or {}).get(resource))
                        if used is not None and available:
                            uses.append(_Use(name=name, resource=resource, used=used, available=available, of=of))
                            break

    def _judged(self, use: _Use) -> Finding | None:
        limits = self.cpu if use.resource == "cpu" else self.memory
        if use.percent < limits.warning_percent:
            return None
        critical = use.percent >= limits.critical_percent and use.of != "request"
        kind = "node" if use.of == "allocatable" else "pod"
        return Finding(
            check_id=f"kubernetes.resources.{kind}-{use.resource}",
            severity=Severity.CRITICAL if critical else Severity.WARNING,
            object=readable(use.name),
            observed=round(use.percent, 1),
            threshold=limits.critical_percent if critical else limits.warning_percent,
            unit="percent",
            recommendation=_ADVICE[kind, use.resource] + (" (of what it requests)" if use.of == "request" else ""),
        )


_ADVICE: Final = {
    ("node", "cpu"): "find what uses it (`kubectl top pods -A --sort-by=cpu`), or add nodes",
    (
        "node",
        "memory",
    ): "find what uses it (`kubectl top pods -A --sort-by=memory`), or add nodes",
    ("pod", "cpu"): "it is slowed down at its limit: raise it, or run more replicas",
    ("pod", "memory"): "it is killed at its limit: raise it, or find what keeps the memory",
}


def _worst(uses: Sequence[_Use], resource: str) -> float:
    return round(max((each.percent for each in uses if each.resource == resource), default=0.0), 1)


def _conditions(name: str, node: Object) -> Iterator[Finding]:
    for condition in (node.get("status") or {}).get("conditions") or ():
        kind, status = str(condition["type"]), condition.get("status")
        if kind in _PRESSURES and status == "True":
            yield _finding("pressure", Severity.CRITICAL, f"Node/{name} {kind}", _PRESSURES[kind])
        elif kind == "Ready" and status != "True":
            advice = f"{condition.get('message') or condition.get('reason')}: look at its kubelet"
            yield _finding("not-ready", Severity.CRITICAL, f"Node/{name}", advice)


def _is_old(figure: Object) -> bool:
    try:
        taken = datetime.fromisoformat(str(figure.get("timestamp")))
    except ValueError:
        return True
    return datetime.now(UTC) - taken > _OLDEST


def _finding(check: str, severity: Severity, name: str, advice: str) -> Finding:
    return Finding(
        check_id=f"kubernetes.resources.{check}",
        severity=severity,
        object=readable(name),
        observed=1,
        threshold=1,
        unit="",
        recommendation=readable(advice),
    )
