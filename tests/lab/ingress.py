"""A real ingress data plane for the home-built cluster: Contour and Envoy, as two processes beside it.

They serve Ingresses, and the HTTPRoutes of a Gateway, on one port.

It must never listen on anything but loopback.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from lab import tools
from lab.command import run
from lab.controlplane import ADMIN, CONTEXT, ControlPlane
from lab.failure import LabError
from lab.process import launch, running, stop
from lab.toolchain import module_directory
from lab.waiting import until

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report
    from lab.state import State

CLASS = "contour"
COMPONENTS = ("contour", "envoy")
CONTOUR = "github.com/projectcontour/contour"
RESOURCES = Path("examples", "contour", "01-crds.yaml")
"""Contour's CustomResourceDefinitions, in its Go module."""
GATEWAY_API = "sigs.k8s.io/gateway-api"
GATEWAY_RESOURCES = Path("config", "crd", "standard")
"""Those of the Gateway API, in its Go module: what is stable, as most clusters have it."""
EXPERIMENTS = ("tlsroutes", "tcproutes", "backendtlspolicies")
"""What is not in there, so that Contour must not wait for it."""
NAMESPACE = "upkeep-lab"
GATEWAY_PORT_OFFSET = 8000
"""Contour's Envoy listens that much above the port of a Gateway's listener."""
LOOPBACK = "127.0.0.1"
ENVOY_FLAGS = (
    *("--concurrency", "1"),
    "--disable-hot-restart",
    *("--log-level", "warning"),
    *("--service-cluster", "projectcontour"),
    *("--service-node", "upkeep-lab"),
)


def address(state: State) -> str:
    """Return the URL under which the cluster's Ingresses are served."""
    return f"http://{LOOPBACK}:{state.ports['ingress']}"


def up(home: Home, state: State, report: Report) -> str:
    """Start what is missing of Contour and Envoy and return the URL that serves the cluster's Ingresses.

    Raises:
        LabError: the cluster is not up, or one of them does not start.
    """
    configuration, wanted = home.cluster / "contour.json", json.dumps(contour_configuration(state))
    current = configuration.exists() and configuration.read_text() == wanted
    if current and ready(home, state):
        return address(state)
    if not current:
        for name in COMPONENTS:
            stop(home, name)
    envoy = tools.envoy(home, report)
    plane = ControlPlane(home=home, ports=state.ports)
    if not plane.ready():
        message = "Starting the ingress: the cluster does not answer. Bring it up first (make cluster)."
        raise LabError(message)
    with report.step("Starting Contour and Envoy", total=3) as step:
        install(home, state)
        step.advance(detail="resources installed, starting Contour")
        configuration.write_text(wanted)
        flags = [f"--config-path={configuration}", *contour_flags(plane)]
        launch(home, "contour", [home.bin / "contour", "serve", *flags])
        health = f"http://{LOOPBACK}:{state.ports['contour-health']}/healthz"
        until(lambda: answers(health), doing="Waiting for Contour", seconds=30, home=home, component="contour")
        step.advance(detail="Contour answers, starting Envoy")
        bootstrap = home.cluster / "envoy.json"
        run(
            [home.bin / "contour", "bootstrap", bootstrap, *bootstrap_flags(home, state)],
            doing="Writing Envoy's configuration",
        )
        launch(home, "envoy", [envoy, "--config-path", bootstrap, *ENVOY_FLAGS])
        until(
            lambda: ready(home, state),
            doing="Waiting for Envoy",
            seconds=30,
            home=home,
            component="envoy",
        )
        step.advance(detail="Envoy answers")
    return address(state)


def ready(home: Home, state: State) -> bool:
    """Whether both run and Envoy has its configuration from Contour: it serves its statistics only then."""
    statistics = f"http://{LOOPBACK}:{state.ports['envoy-stats']}/ready"
    return all(running(home, name) for name in COMPONENTS) and answers(statistics)


def install(home: Home, state: State) -> None:
    """Give the cluster the resources of Contour and of the Gateway API, the default ingress class, and a Gateway.

    Raises:
        LabError: the cluster refuses them.
    """
    install_resources(home, "Contour's resources", module_directory(CONTOUR) / RESOURCES)
    install_resources(home, "the Gateway API", module_directory(GATEWAY_API) / GATEWAY_RESOURCES)
    plain, secure = (state.ports[name] - GATEWAY_PORT_OFFSET for name in ("ingress", "ingress-tls"))
    controller = "projectcontour.io/gateway-controller"
    give(home, ingress_class(), *gateway(CLASS, controller=controller, port=plain, tls_port=secure))


def install_resources(home: Home, what: str, definitions: Path) -> None:
    """Install a file or a folder of definitions and wait until they are established."""
    doing, environment = f"Installing {what}", tools.environment(home)
    run([*_apply(home), f"--filename={definitions}"], doing=doing, env=environment)
    wait = ["wait", "--for=condition=Established", "--timeout=30s", f"--filename={definitions}"]
    run([*_kubectl(home), *wait], doing=doing, env=environment)


def give(home: Home, *objects: dict[str, object]) -> None:
    """Apply objects of the lab's own."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    run([*_apply(home), "--filename=-"], doing="Preparing the ingress", env=tools.environment(home), stdin=listed)


def take(home: Home, *objects: dict[str, object]) -> None:
    """Delete objects of the lab's own, where they are there."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    words = ["delete", "--ignore-not-found", "--filename=-"]
    run(
        [*_kubectl(home), *words],
        doing="Removing what is not needed any more",
        env=tools.environment(home),
        stdin=listed,
    )


def gateway(name: str, *, controller: str, port: int, tls_port: int | None = None) -> list[dict[str, object]]:
    """Return a Gateway of the lab's namespace, with its class, that serves HTTPRoutes of all namespaces.

    Contour needs a listener for TLS as well: without one it serves the first path of an Ingress only.
    """
    everybody = {"namespaces": {"from": "All"}}
    listeners: list[dict[str, object]] = [
        {"name": "http", "protocol": "HTTP", "port": port, "allowedRoutes": everybody}
    ]
    if tls_port is not None:
        passed = {"name": "tls", "protocol": "TLS", "port": tls_port, "tls": {"mode": "Passthrough"}}
        listeners.append({**passed, "allowedRoutes": everybody})
    api = "gateway.networking.k8s.io/v1"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": api,
            "kind": "GatewayClass",
            "metadata": {"name": name},
            "spec": {"controllerName": controller},
        },
        {
            "apiVersion": api,
            "kind": "Gateway",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"gatewayClassName": name, "listeners": listeners},
        },
    ]


def _apply(home: Home) -> list[str | Path]:
    return [*_kubectl(home), "apply", "--server-side", "--force-conflicts", "--field-manager=upkeep-lab"]


def _kubectl(home: Home) -> list[str | Path]:
    return [tools.kubectl(home), f"--kubeconfig={home.kubeconfig}", f"--context={CONTEXT}"]


def ingress_class() -> dict[str, object]:
    """Return the class that an Ingress without a class gets."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "projectcontour.io/ingress-controller"},
    }


def contour_configuration(state: State) -> dict[str, object]:
    """Return what Contour reads from its file: with a Gateway, its listener serves Ingresses as well."""
    return {
        "network": {"admin-port": state.ports["envoy-admin"]},
        "gateway": {"gatewayRef": {"namespace": NAMESPACE, "name": CLASS}},
    }


def contour_flags(plane: ControlPlane) -> list[str]:
    """Return Contour's flags: every listener on loopback with a port of the lab's."""
    ports = plane.ports
    return [
        f"--kubeconfig={plane.credentials(ADMIN)}",
        "--insecure",
        "--disable-leader-election",
        *(f"--disable-feature={name}" for name in EXPERIMENTS),
        f"--ingress-class-name={CLASS}",
        f"--ingress-status-address={LOOPBACK}",
        f"--xds-address={LOOPBACK}",
        f"--xds-port={ports['contour-xds']}",
        f"--health-address={LOOPBACK}",
        f"--health-port={ports['contour-health']}",
        f"--http-address={LOOPBACK}",
        f"--http-port={ports['contour-metrics']}",
        f"--debug-http-address={LOOPBACK}",
        f"--debug-http-port={ports['contour-debug']}",
        f"--stats-address={LOOPBACK}",
        f"--stats-port={ports['envoy-stats']}",
        f"--envoy-service-http-address={LOOPBACK}",
        f"--envoy-service-http-port={ports['ingress']}",
        f"--envoy-service-https-address={LOOPBACK}",
        f"--envoy-service-https-port={ports['ingress-tls']}",
    ]


def bootstrap_flags(home: Home, state: State) -> list[str]:
    """Return what Envoy needs to know before Contour tells it the rest."""
    return [
        f"--admin-address={home.cluster / 'envoy.sock'}",
        f"--xds-address={LOOPBACK}",
        f"--xds-port={state.ports['contour-xds']}",
    ]


def answers(url: str) -> bool:
    """Whether an HTTP endpoint of the lab's own says 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - always http on loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
