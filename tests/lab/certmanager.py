"""cert-manager for the home-built cluster: its own resources and controllers, for tests that have certificates issued.

Its usual program knows every DNS provider and takes long to build; `certmanager/main.go` starts only the controllers
that a self-signed authority needs, and changes nothing in them. There is no webhook and no injector. It must never be
needed by the demo.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.controlplane import ADMIN, ControlPlane
from lab.failure import LabError
from lab.home import SOURCES
from lab.ingress import install_resources
from lab.process import launch
from lab.toolchain import Module, install, module_directory

if TYPE_CHECKING:
    from lab.home import Home
    from lab.report import Report
    from lab.state import State

COMPONENT = "certmanager"
MODULE = Module(directory=SOURCES / "certmanager", programs=("certmanager",), what="cert-manager", minutes=3)
PACKAGE = "github.com/cert-manager/cert-manager"
RESOURCES = Path("deploy", "crds")
"""cert-manager's CustomResourceDefinitions, in its Go module."""


def up(home: Home, recorded: State, report: Report) -> None:
    """Build and start what is missing.

    Raises:
        LabError: the cluster is not up, or cert-manager cannot be built or started.
    """
    install(home, report, MODULE)
    plane = ControlPlane(home=home, ports=recorded.ports)
    if not plane.ready():
        message = "Starting cert-manager: the cluster does not answer. Bring it up first (make cluster)."
        raise LabError(message)
    with report.step("Starting cert-manager") as step:
        install_resources(home, "cert-manager's resources", module_directory(PACKAGE, MODULE.directory) / RESOURCES)
        step.advance(detail="resources installed")
        environment = {"KUBECONFIG": str(plane.credentials(ADMIN))}
        launch(home, COMPONENT, [home.bin / "certmanager"], env=environment)
