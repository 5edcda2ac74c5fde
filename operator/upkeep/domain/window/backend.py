"""The Service to which a window sends users instead of to a page: whether it is there, and answers."""

from datetime import timedelta
from typing import Final

from upkeep.api.window import ServiceBackend, WindowSpec
from upkeep.domain.account import Cause
from upkeep.domain.conditions import Problem
from upkeep.domain.openings import Opening
from upkeep.domain.window.held import Held
from upkeep.domain.window.snapshot import WindowSnapshot

NOT_READY: Final = "BackendNotReady"
_POLL: Final = timedelta(seconds=3)


def backend_problem(snapshot: WindowSnapshot, backend: ServiceBackend) -> Problem | None:
    """Why nobody can be sent to it; None where it is there and has that port."""
    if snapshot.backend is None:
        message = f"Service {backend.service!r} does not exist in this namespace: create it or correct the name"
        return Problem(reason="BackendNotFound", message=f"{message} in maintenanceMode.backend")
    spec = snapshot.backend.get("spec") or {}
    if spec.get("type") == "ExternalName":
        message = (
            f"Service {backend.service!r} is of type ExternalName, which has no endpoints that could be checked: name "
            "one with a selector in maintenanceMode.backend"
        )
        return Problem(reason="BackendNotUsable", message=message)
    ports = [port["port"] for port in spec.get("ports") or ()]
    if backend.port not in ports:
        has = ", ".join(map(str, ports)) or "none"
        message = f"Service {backend.service!r} has no port {backend.port} (it has {has}): correct"
        return Problem(reason="BackendNotUsable", message=f"{message} maintenanceMode.backend.port")
    return None


def backend_gate(snapshot: WindowSnapshot, spec: WindowSpec, _: Opening) -> Held | Cause | None:
    """Hold an opening back until there is somebody to send its users to."""
    backend = spec.maintenance_mode.backend if spec.maintenance_mode else None
    if backend is None:
        return None
    wake_at = snapshot.now + _POLL
    if problem := backend_problem(snapshot, backend):
        return Held(reason=problem.reason, message=problem.message, wake_at=wake_at)
    if snapshot.page_ready is False:
        message = f"{backend} has no ready endpoint, so that users would meet nobody: start what serves it"
        return Held(reason=NOT_READY, message=message, wake_at=wake_at)
    return None
