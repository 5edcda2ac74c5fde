"""A real metrics API for the home-built cluster: metrics-server, for the tests that need one.

It asks the kubelet as the cluster's administrator and listens on the node's address alone. While it is registered and
does not answer, no namespace can be deleted: `down` must take its registration away first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lab import state as states
from lab.controlplane import ADMIN, ControlPlane
from lab.failure import LabError
from lab.home import SOURCES
from lab.ingress import give, take
from lab.network import NODE_ADDRESS
from lab.pki import Identity
from lab.port import choose
from lab.process import launch, stop
from lab.toolchain import Module, install
from lab.waiting import until

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report
    from lab.state import State

COMPONENT = "metrics-server"
MODULE = Module(directory=SOURCES / "metrics-server", programs=(COMPONENT,), what="metrics-server", minutes=3)
NAMESPACE = "kube-system"
GROUP = "metrics.k8s.io"
PORTS = {COMPONENT: 26092}
SERVING = Identity(name=COMPONENT, user=COMPONENT, addresses=(f"IP:{NODE_ADDRESS}",))
SECONDS = 60
"""It has figures after it has asked twice, ten seconds apart."""


def up(home: Home, recorded: State, report: Report) -> None:
    """Build, start and register it, and return when it has figures of the node.

    Raises:
        LabError: the cluster is not up, or it cannot be built or does not start.
    """
    install(home, report, MODULE)
    plane = ControlPlane(home=home, ports=recorded.ports)
    if not plane.ready():
        message = "Starting metrics-server: the cluster does not answer. Bring it up first (make cluster)."
        raise LabError(message)
    state = recorded
    if not PORTS.keys() <= recorded.ports.keys():
        state = replace(recorded, ports={**recorded.ports, **choose(PORTS)})
        states.save(home, state)
    with report.step("Starting metrics-server", total=2) as step:
        launch(home, COMPONENT, [home.bin / COMPONENT, *flags(plane, state.ports[COMPONENT])])
        give(home, *registration(state.ports[COMPONENT]))
        step.advance(detail="registered, waiting for figures")
        until(
            lambda: b'"usage"' in (plane.get(f"/apis/{GROUP}/v1beta1/nodes") or b""),
            doing="Waiting for metrics-server",
            seconds=SECONDS,
            home=home,
            component=COMPONENT,
        )
        step.advance(detail="metrics-server has figures")


def down(home: Home, recorded: State) -> None:
    """Take its registration away, then stop it."""
    if PORTS.keys() <= recorded.ports.keys():
        take(home, *registration(recorded.ports[COMPONENT]))
    stop(home, COMPONENT)


def flags(plane: ControlPlane, port: int) -> list[str]:
    """Return its flags.

    The home-built API server has no certificate by which it could tell it for whom it asks, so that it sees nobody; who
    may read metrics, the API server has decided before it passes a request on.
    """
    certificate, key = plane.authority.issue(SERVING)
    credentials = plane.credentials(ADMIN)
    own, own_key = plane.authority.issue(ADMIN)
    return [
        f"--kubeconfig={credentials}",
        f"--authentication-kubeconfig={credentials}",
        f"--authorization-kubeconfig={credentials}",
        "--authentication-skip-lookup=true",
        "--authorization-always-allow-paths=/readyz,/livez,/apis,/apis/*,/openapi/*",
        f"--bind-address={NODE_ADDRESS}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-use-node-status-port",
        f"--kubelet-certificate-authority={plane.authority.certificate}",
        f"--kubelet-client-certificate={own}",
        f"--kubelet-client-key={own_key}",
        "--kubelet-request-timeout=5s",
        "--metric-resolution=10s",
    ]


def registration(port: int) -> list[dict[str, object]]:
    """Return what makes the API server pass the metrics API on to it, and it answer."""
    named: dict[str, object] = {"name": COMPONENT, "namespace": NAMESPACE}
    called = {"name": f"upkeep-lab-{COMPONENT}"}
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [GROUP], "resources": ["nodes", "pods"], "verbs": ["get", "list"]}
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": called, "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": called,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **called},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "system:anonymous"}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**named, "labels": {"kubernetes.io/service-name": COMPONENT}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS]}],
            "ports": [{"name": "https", "port": port}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "service": named,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
            },
        },
    ]
