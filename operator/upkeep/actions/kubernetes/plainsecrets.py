"""Finds secrets where everybody who may read workloads can read them: in environment variables and ConfigMaps.

It must never show a value, nor any part of one. It reads no Secret.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Outcome, Result
from upkeep.actions.kubernetes.allowance import Allowed, allows
from upkeep.actions.kubernetes.pod import Object, containers, controller
from upkeep.actions.kubernetes.suspicion import Suspicion, suspicion, suspicions
from upkeep.actions.kubernetes.view import PODS, Kind, Look, View
from upkeep.actions.text import readable

CONFIG_MAPS: Final = Kind("v1", "configmaps")
WORKLOADS: Final[Mapping[str, Kind]] = {
    "Deployment": Kind("apps/v1", "deployments"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "DaemonSet": Kind("apps/v1", "daemonsets"),
    "CronJob": Kind("batch/v1", "cronjobs"),
    "Job": Kind("batch/v1", "jobs"),
    "Pod": PODS,
}
_LONGEST: Final = 262_144
"""Characters of a key of a ConfigMap that are looked at; what is longer is data."""
_LINES: Final = 5
"""Lines that one finding names."""


class KubernetesPlainSecrets(Look):
    """Reports environment variables and ConfigMaps of the task's namespace whose values look like secrets.

    Known forms of keys and tokens, passwords in URLs and random values under names like DB_PASSWORD are critical, other
    values under such names a warning, random values under other names worth knowing. References to Secrets, names of
    files and placeholders are none. No value is shown; no Secret is read. Command lines are not looked at.
    Locks: none. Privileges: the task names a ServiceAccount that may `list` Deployments, StatefulSets, DaemonSets,
    CronJobs, Jobs, Pods and ConfigMaps of the namespace; the ClusterRole upkeep-action-plain-secrets of the chart,
    bound by a RoleBinding.
    """

    action_name: ClassVar[str] = "kubernetesPlainSecrets"
    role: ClassVar[str] = "upkeep-action-plain-secrets"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.plain-secret": "a value that looks like a secret stands in an environment variable or a ConfigMap",
    }

    allowed: Allowed = Field(default_factory=list)
    """What is no secret although it looks like one, as Kind/name/KEY, for example Deployment/web/SESSION_TOKEN_NAME or
    ConfigMap/fonts/*; `*` is any text."""

    async def look(self, view: View) -> Result:
        """Read workloads and ConfigMaps, keeping nothing of them but what is suspicious."""
        looked_at, found = 0, list[tuple[str, Finding]]()
        for name, kind in WORKLOADS.items():
            async for each in view.each(kind, namespace=view.namespace):
                if name in {"Job", "Pod"} and controller(each):
                    continue
                looked_at += 1
                found += _of_workload(name, each)
        async for each in view.each(CONFIG_MAPS, namespace=view.namespace):
            looked_at += 1
            found += _of_config_map(each)
        view.complete()
        left = [each for name, each in found if not allows(self.allowed, name)]
        return Result(
            outcome=Outcome.OK,
            message=f"{looked_at} workloads and ConfigMaps of namespace {view.namespace} looked at: "
            + (f"{len(left)} values look like secrets" if left else "no value looks like a secret")
            + (f", {len(found) - len(left)} allowed" if len(found) > len(left) else ""),
            findings=left,
            metrics={
                "objects": float(looked_at),
                "findings": float(len(left)),
                "allowed": float(len(found) - len(left)),
            },
        )


def _of_workload(kind: str, found: Object) -> Iterator[tuple[str, Finding]]:
    """What is suspicious, by what users call it in `allowed`."""
    spec = found["spec"]
    if kind == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = spec if kind == "Pod" else spec["template"]["spec"]
    for container in containers(pod):
        for variable in container.get("env") or ():
            name = str(variable["name"])
            if doubt := suspicion(name, str(variable.get("value") or "")):
                variable_name = f"{kind}/{found['metadata']['name']}/{name}"
                place = f"{variable_name} (container {container['name']})"
                yield variable_name, _finding(place, doubt, "valueFrom.secretKeyRef", f"{kind}s")


def _of_config_map(found: Object) -> Iterator[tuple[str, Finding]]:
    for key, text in (found.get("data") or {}).items():
        name = f"ConfigMap/{found['metadata']['name']}/{key}"
        # One finding for all lines that have the same name, so that it is known again when lines move.
        alike: dict[str, list[Suspicion]] = defaultdict(list)
        for doubt in suspicions(key, str(text)[:_LONGEST]):
            alike[doubt.place].append(doubt)
        for place, doubts in alike.items():
            worst = max(doubts, key=lambda doubt: doubt.severity.rank)
            lines = ", ".join(str(doubt.line) for doubt in doubts[:_LINES]) + (" …" if doubts[_LINES:] else "")
            told = replace(worst, reason=f"line {lines}: {worst.reason}") if place else worst
            where = f"{name} ({place})" if place else name
            yield name, _finding(where, told, "a mounted Secret or envFrom.secretRef", "ConfigMaps")


def _finding(place: str, doubt: Suspicion, reference: str, kinds: str) -> Finding:
    return Finding(
        check_id="kubernetes.plain-secret",
        severity=doubt.severity,
        object=readable(place),
        observed=1,
        threshold=1,
        unit="",
        recommendation=f"{doubt.reason}: put it into a Secret, refer to it by {reference}, and change it, for "
        f"everybody who may read {kinds} has been able to read it",
    )
