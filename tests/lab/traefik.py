"""A second real data plane for the home-built cluster: Traefik, for tests that more than one must pass.

It serves Ingresses of the class `traefik`, IngressRoutes, and the HTTPRoutes of a Gateway of its own, on one port. It
must never listen on anything but loopback, nor be needed by the demo, which is not to wait for it to be built.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import state as states
from lab.controlplane import ADMIN, ControlPlane
from lab.failure import LabError
from lab.home import SOURCES
from lab.ingress import GATEWAY_API, GATEWAY_RESOURCES, LOOPBACK, answers, gateway, give, install_resources
from lab.port import choose
from lab.process import launch, running
from lab.toolchain import Module, install, module_directory
from lab.waiting import until

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report
    from lab.state import State

CLASS = "traefik"
COMPONENT = "traefik"
MODULE = Module(directory=SOURCES / "traefik", programs=("traefik",), what="Traefik", minutes=10)
PACKAGE = "github.com/traefik/traefik/v3"
RESOURCES = Path("docs", "content", "reference", "dynamic-configuration", "kubernetes-crd-definition-v1.yml")
"""Traefik's CustomResourceDefinitions, in its Go module."""
POLICIES = "gateway.networking.k8s.io_backendtlspolicies.yaml"
"""What Traefik waits for and an older Gateway API, as Contour's is, does not have."""
PORTS = {"traefik": 26090, "traefik-ping": 26091}


def address(state: State) -> str:
    """Return the URL under which it serves."""
    return f"http://{LOOPBACK}:{state.ports['traefik']}"


def up(home: Home, recorded: State, report: Report) -> str:
    """Build and start what is missing, and return the URL.

    Raises:
        LabError: the cluster is not up, or Traefik cannot be built or does not start.
    """
    install(home, report, MODULE)
    plane = ControlPlane(home=home, ports=recorded.ports)
    if not plane.ready():
        message = "Starting Traefik: the cluster does not answer. Bring it up first (make cluster)."
        raise LabError(message)
    state = recorded
    if not PORTS.keys() <= recorded.ports.keys():
        state = replace(recorded, ports={**recorded.ports, **choose(PORTS)})
        states.save(home, state)
    ping = f"http://{LOOPBACK}:{state.ports['traefik-ping']}/ping"
    if running(home, COMPONENT) and answers(ping):
        return address(state)
    with report.step("Starting Traefik", total=2) as step:
        install_resources(home, "Traefik's resources", module_directory(PACKAGE, MODULE.directory) / RESOURCES)
        definitions = module_directory(GATEWAY_API, MODULE.directory) / GATEWAY_RESOURCES / POLICIES
        install_resources(home, "what Traefik wants of the Gateway API", definitions)
        controller = "traefik.io/gateway-controller"
        give(home, ingress_class(), *gateway(CLASS, controller=controller, port=state.ports["traefik"]))
        step.advance(detail="resources installed")
        environment = {"KUBECONFIG": str(plane.credentials(ADMIN))}
        launch(home, COMPONENT, [home.bin / "traefik", *flags(state)], env=environment)
        until(lambda: answers(ping), doing="Waiting for Traefik", seconds=30, home=home, component=COMPONENT)
        step.advance(detail="Traefik answers")
    return address(state)


def serves(home: Home, state: State) -> bool:
    """Whether it was started and runs."""
    return PORTS.keys() <= state.ports.keys() and running(home, COMPONENT)


def ingress_class() -> dict[str, object]:
    """Return the class by which an Ingress is Traefik's."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": CLASS},
        "spec": {"controller": "traefik.io/ingress-controller"},
    }


def flags(state: State) -> list[str]:
    """Return its flags: every listener on loopback, nothing sent to anybody."""
    return [
        f"--entrypoints.web.address={LOOPBACK}:{state.ports['traefik']}",
        f"--entrypoints.health.address={LOOPBACK}:{state.ports['traefik-ping']}",
        "--ping=true",
        "--ping.entrypoint=health",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
        "--providers.kubernetesingress=true",
        f"--providers.kubernetesingress.ingressclass={CLASS}",
        "--providers.kubernetescrd=true",
        "--providers.kubernetesgateway=true",
    ]
