"""A real ingress data plane for the home-built cluster: Contour and Envoy, as two processes beside it.

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
from lab.process import launch, running
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
    if ready(home, state):
        return address(state)
    envoy = tools.envoy(home, report)
    plane = ControlPlane(home=home, ports=state.ports)
    if not plane.ready():
        message = "Starting the ingress: the cluster does not answer. Bring it up first (make cluster)."
        raise LabError(message)
    with report.step("Starting Contour and Envoy", total=3) as step:
        install(home)
        step.advance(detail="resources installed, starting Contour")
        configuration = home.cluster / "contour.json"
        configuration.write_text(json.dumps({"network": {"admin-port": state.ports["envoy-admin"]}}))
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


def install(home: Home) -> None:
    """Give the cluster Contour's resources and the ingress class, which is the default one."""
    doing = "Installing Contour's resources"
    command: list[str | Path] = [tools.kubectl(home), f"--kubeconfig={home.kubeconfig}", f"--context={CONTEXT}"]
    environment = tools.environment(home)
    definitions = module_directory(CONTOUR) / RESOURCES
    apply = [*command, "apply", "--server-side", "--force-conflicts", "--field-manager=upkeep-lab"]
    run([*apply, f"--filename={definitions}"], doing=doing, env=environment)
    run([*apply, "--filename=-"], doing=doing, env=environment, stdin=json.dumps(ingress_class()))
    wait = [*command, "wait", "--for=condition=Established", "--timeout=30s", f"--filename={definitions}"]
    run(wait, doing=doing, env=environment)


def ingress_class() -> dict[str, object]:
    """Return the class that an Ingress without a class gets."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "projectcontour.io/ingress-controller"},
    }


def contour_flags(plane: ControlPlane) -> list[str]:
    """Return Contour's flags: every listener on loopback with a port of the lab's."""
    ports = plane.ports
    return [
        f"--kubeconfig={plane.credentials(ADMIN)}",
        "--insecure",
        "--disable-leader-election",
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
