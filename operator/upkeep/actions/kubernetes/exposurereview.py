"""Tells what can be reached in a namespace that perhaps should not be, and from where.

It reads what the objects say. Whether a network plugin enforces policies, and what a firewall in front of the cluster
lets through, the API server does not know.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Outcome, Result, Severity
from upkeep.actions.kubernetes.allowance import Allowed, allows
from upkeep.actions.kubernetes.pod import Object, containers, ended, workload
from upkeep.actions.kubernetes.selection import selects
from upkeep.actions.kubernetes.view import PODS, Kind, Look, View
from upkeep.actions.text import readable

SERVICES: Final = Kind("v1", "services")
NETWORK_POLICIES: Final = Kind("networking.k8s.io/v1", "networkpolicies")
INGRESSES: Final = Kind("networking.k8s.io/v1", "ingresses")

_HALF: Final = 1
"""A network with a prefix of so few bits is half of all addresses or more."""
_INTERNAL: Final = {
    "service.beta.kubernetes.io/aws-load-balancer-internal": {"true", "0.0.0.0/0"},
    "service.beta.kubernetes.io/aws-load-balancer-scheme": {"internal"},
    "service.beta.kubernetes.io/azure-load-balancer-internal": {"true"},
    "networking.gke.io/load-balancer-type": {"Internal"},
    "cloud.google.com/load-balancer-type": {"Internal"},
    "service.beta.kubernetes.io/oci-load-balancer-internal": {"true"},
}
"""Annotations, with their values, of load balancers that the clouds put into their private networks."""
_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
"""What Services had before there was a field for it, and some still have."""
_TLS_ELSEWHERE: Final = ("alb.ingress.kubernetes.io/certificate-arn", "networking.gke.io/managed-certificates")
"""Annotations by which an Ingress has its certificate from a cloud."""


@dataclass(slots=True)
class _Group:
    """Pods of one workload that are alike in how they can be reached."""

    labels: dict[str, str]
    count: int = 0
    host_network: bool = False
    host_ports: set[int] = field(default_factory=set)


class KubernetesExposureReview(Look):
    """Reports what in the task's namespace can be reached from more places than it must.

    These are Pods that no NetworkPolicy selects, policies that allow everything, Services of type LoadBalancer without
    source ranges, NodePorts, external IPs, Ingresses without TLS, and Pods in the network of their node. Whether the
    network plugin enforces policies cannot be seen.
    Locks: none. Privileges: the task names a ServiceAccount that may `list` Pods, Services, NetworkPolicies and
    Ingresses of the namespace; the ClusterRole upkeep-action-exposure-review of the chart, bound by a RoleBinding.
    """

    action_name: ClassVar[str] = "kubernetesExposureReview"
    role: ClassVar[str] = "upkeep-action-exposure-review"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.exposure.ingress-open": "Pods to which everybody may connect: no NetworkPolicy selects them",
        "kubernetes.exposure.egress-open": "Pods that may connect to everything: no NetworkPolicy selects them",
        "kubernetes.exposure.ingress-policy": "a rule of a NetworkPolicy that lets everybody in",
        "kubernetes.exposure.egress-policy": "a rule of a NetworkPolicy that lets Pods out to everywhere",
        "kubernetes.exposure.load-balancer": "a Service of type LoadBalancer that takes connections from everywhere",
        "kubernetes.exposure.node-port": "a Service that is open on every node",
        "kubernetes.exposure.external-ip": "a Service that takes the traffic of addresses that are not the cluster's",
        "kubernetes.exposure.ingress-tls": "hosts of an Ingress that are served without TLS",
        "kubernetes.exposure.host-network": "Pods in the network of their node, past every NetworkPolicy",
        "kubernetes.exposure.host-port": "Pods that listen on ports of their node",
    }

    allowed: Allowed = Field(default_factory=list)
    """What is meant to be as it is, as Kind/name, for example Service/web or Deployment/node-agent; `*` is any text."""

    async def look(self, view: View) -> Result:
        """Read the objects of the namespace, then judge."""
        where = view.namespace
        groups = await _groups(view, where)
        policies = [each async for each in view.each(NETWORK_POLICIES, namespace=where)]
        services = [each async for each in view.each(SERVICES, namespace=where)]
        ingresses = [each async for each in view.each(INGRESSES, namespace=where)]
        view.complete()
        findings = [
            *(found for name, group in groups.items() for found in _of_pods(name, group, policies)),
            *(found for policy in policies for found in _of_policy(policy)),
            *(found for service in services for found in _of_service(service)),
            *(found for ingress in ingresses for found in _of_ingress(ingress)),
        ]
        meant = [each for each in findings if allows(self.allowed, each.object.partition(" ")[0])]
        left = [each for each in findings if not allows(self.allowed, each.object.partition(" ")[0])]
        unprotected = sum(each.check_id == "kubernetes.exposure.ingress-open" for each in left)
        looked_at = f"{len(groups)} workloads, {len(policies)} NetworkPolicies, {len(services)} Services and "
        looked_at += f"{len(ingresses)} Ingresses of namespace {where} looked at"
        return Result(
            outcome=Outcome.OK,
            message=f"{looked_at}: {len(left)} findings" + (f", {len(meant)} allowed" if meant else ""),
            findings=left,
            metrics={
                "workloads": float(len(groups)),
                "workloads_without_ingress_policy": float(unprotected),
                "findings": float(len(left)),
                "allowed": float(len(meant)),
            },
        )


async def _groups(view: View, namespace: str) -> dict[str, _Group]:
    """The Pods that run, by workload; where labels differ, so that policies may tell them apart, each by itself."""
    groups: dict[str, _Group] = {}
    async for pod in view.each(PODS, namespace=namespace):
        if ended(pod):
            continue
        labels = dict(pod["metadata"].get("labels") or {})
        name = workload(pod)
        if name in groups and not _alike(groups[name].labels, labels):
            name = f"{name} (Pod {pod['metadata']['name']})"
        group = groups.setdefault(name, _Group(labels))
        group.count += 1
        group.host_network |= bool(pod["spec"].get("hostNetwork"))
        for container in containers(pod["spec"]):
            group.host_ports |= {int(each["hostPort"]) for each in container.get("ports") or () if each.get("hostPort")}
    return groups


def _alike(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether two Pods of a workload differ in nothing but what their controller writes on each."""
    own = {
        *("pod-template-hash", "controller-revision-hash", "pod-template-generation"),
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"),
        *("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"),
        "batch.kubernetes.io/job-completion-index",
    }
    return {k: v for k, v in one.items() if k not in own} == {k: v for k, v in other.items() if k not in own}


def _of_pods(name: str, group: _Group, policies: Sequence[Object]) -> Iterator[Finding]:
    if group.host_network:
        yield _finding(
            "host-network",
            Severity.WARNING,
            name,
            group.count,
            "Pods",
            "they share the node's network, past every NetworkPolicy: leave hostNetwork out, unless they manage nodes",
        )
        return
    if group.host_ports:
        ports = ", ".join(map(str, sorted(group.host_ports)))
        advice = f"it listens on port {ports} of its nodes (hostPort): publish it by a Service"
        yield _finding("host-port", Severity.WARNING, name, len(group.host_ports), "ports", advice)
    for direction, severity in (("Ingress", Severity.WARNING), ("Egress", Severity.INFO)):
        if any(_covers(policy, direction, group.labels) for policy in policies):
            continue
        what = "everybody may connect to it" if direction == "Ingress" else "it may connect to everything"
        yield _finding(
            f"{direction.lower()}-open",
            severity,
            name,
            group.count,
            "Pods",
            f"no NetworkPolicy for {direction.lower()} selects it, so {what}: deny all in the namespace, "
            "then allow what is needed",
        )


def _covers(policy: Object, direction: str, labels: dict[str, str]) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return direction in types and selects(spec.get("podSelector") or {}, labels)


def _of_policy(policy: Object) -> Iterator[Finding]:
    name, spec = f"NetworkPolicy/{policy['metadata']['name']}", policy["spec"]
    for direction, side, severity in (("ingress", "from", Severity.WARNING), ("egress", "to", Severity.INFO)):
        for number, rule in enumerate(spec.get(direction) or ()):
            if wide := _width(rule.get(side) or ()):
                ports = "" if rule.get("ports") else ", on every port"
                yield _finding(
                    f"{direction}-policy",
                    severity,
                    f"{name} {direction}[{number}]",
                    1,
                    "rules",
                    f"it allows {direction} {side} {wide}{ports}: name the Pods, namespaces or networks that need it",
                )


def _width(peers: Sequence[Object]) -> str:
    """Why these peers are too many, in words; empty where they are not."""
    if not peers:
        return "everywhere"
    for peer in peers:
        block = peer.get("ipBlock")
        if block and _is_wide(str(block.get("cidr"))):
            return f"{block['cidr']}"
        everywhere = peer.get("namespaceSelector") == {} and not peer.get("podSelector")
        if everywhere:
            return "all Pods of all namespaces"
    return ""


def _is_wide(network: str) -> bool:
    _, _, bits = network.partition("/")
    return bits.isdecimal() and int(bits) <= _HALF


def _of_service(service: Object) -> Iterator[Finding]:
    name, spec = f"Service/{service['metadata']['name']}", service["spec"]
    annotations = service["metadata"].get("annotations") or {}
    ports = len(spec.get("ports") or ())
    if addresses := spec.get("externalIPs"):
        shown = ", ".join(addresses[:3])
        advice = f"it takes the traffic of {shown} (externalIPs) on every node: use a LoadBalancer or an Ingress"
        yield _finding("external-ip", Severity.WARNING, name, len(addresses), "addresses", advice)
    if spec.get("type") == "NodePort":
        opened = ", ".join(str(port["nodePort"]) for port in (spec.get("ports") or ())[:5] if port.get("nodePort"))
        advice = f"it is open on port {opened} of every node: publish it by an Ingress, or make it a ClusterIP"
        yield _finding("node-port", Severity.WARNING, name, ports, "ports", advice)
    if spec.get("type") == "LoadBalancer":
        ranges = spec.get("loadBalancerSourceRanges") or [
            each for each in annotations.get(_RANGES, "").split(",") if each
        ]
        wide = [each for each in ranges if _is_wide(str(each).strip())]
        if ranges and not wide:
            return
        internal = any(annotations.get(key) in values for key, values in _INTERNAL.items())
        who = f"loadBalancerSourceRanges allows {wide[0]}" if wide else "it has no loadBalancerSourceRanges"
        advice = f"{who}, so {'the whole private network' if internal else 'everybody'} may connect: name the networks"
        severity = Severity.INFO if internal else Severity.WARNING
        yield _finding("load-balancer", severity, name, ports, "ports", advice)


def _of_ingress(ingress: Object) -> Iterator[Finding]:
    name, spec = f"Ingress/{ingress['metadata']['name']}", ingress["spec"]
    if any(key in (ingress["metadata"].get("annotations") or {}) for key in _TLS_ELSEWHERE):
        return
    secured: set[str] = set()
    for entry in spec.get("tls") or ():
        secured |= set(entry.get("hosts") or ("",))
    if "" in secured:
        return
    hosts = {str(rule.get("host") or "") for rule in spec.get("rules") or ()} or {""}
    bare = sorted(host for host in hosts if not _secured(host, secured))
    if bare:
        shown = ", ".join(host or "any host" for host in bare[:3]) + (" …" if bare[3:] else "")
        advice = f"{shown} is served without TLS: add it to spec.tls with a Secret that has its certificate"
        yield _finding("ingress-tls", Severity.WARNING, name, len(bare), "hosts", advice)


def _secured(host: str, secured: set[str]) -> bool:
    return host in secured or f"*.{host.partition('.')[2]}" in secured


def _finding(check: str, severity: Severity, name: str, observed: int, unit: str, advice: str) -> Finding:
    return Finding(
        check_id=f"kubernetes.exposure.{check}",
        severity=severity,
        object=readable(name),
        observed=observed,
        threshold=1,
        unit=unit,
        recommendation=readable(advice),
    )
