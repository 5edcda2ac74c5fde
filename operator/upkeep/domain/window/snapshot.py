"""All that a decision about a window looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from upkeep.domain.identity import Identity
from upkeep.domain.run import Run

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSnapshot:
    """What was seen.

    Attributes:
        resource: the MaintenanceWindow as read.
        tasks: the MaintenanceTasks of its plan that exist, by name.
        runs: runs that it started, of its tasks and of its verification.
        busy: names of tasks with an active run that this window did not start.
        targets: its Ingresses that exist, by name; read just now where it is about to write to them.
        page_service: name of its page's Service.
        page_ready: whether the page answers; None where nobody looked.
        now: the time of the decision.
    """

    resource: Manifest
    tasks: Mapping[str, Manifest]
    runs: Sequence[Run]
    busy: frozenset[str]
    targets: Mapping[str, Manifest]
    page_service: str
    page_ready: bool | None
    now: datetime

    @property
    def identity(self) -> Identity:
        """Who the window is."""
        return Identity.of(self.resource)

    @property
    def deleted(self) -> bool:
        """Whether somebody has deleted it."""
        return "deletionTimestamp" in self.resource["metadata"]
