"""All that a decision about a window looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from upkeep.domain.alerts import AlertAnswer, SilenceReport
from upkeep.domain.identity import Identity
from upkeep.domain.notices.post import Post
from upkeep.domain.run import Run

Manifest = Mapping[str, Any]


class TargetRef(NamedTuple):
    """What an object in the namespace of the window is called."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSnapshot:
    """What was seen.

    Attributes:
        resource: the MaintenanceWindow as read.
        tasks: the MaintenanceTasks of its plan that exist, by name.
        policies: the BackupPolicies of which it requires a verified backup, or whose backups its tasks restore, as far
            as they exist, by name.
        runs: runs that it started, of its tasks and of its verification.
        busy: names of tasks with an active run that this window did not start.
        targets: what it names or selects for its maintenance mode, and what it may hold, as far as it exists; read just
            now.
        companions: routes of Upkeep's own beside its targets, as far as there may be any; read just now.
        ingress_classes: the controller of each IngressClass of the cluster, by its name, where that matters.
        unknown_kinds: kinds of targets that this cluster does not know.
        page_service: name of its page's Service.
        page_ready: whether the page, or the Service in its place, answers; None where nobody looked.
        backend: the Service in place of the page; None where it has none, or it is not there.
        now: the time of the decision.
        alertmanagers: names of those that the platform has configured.
        alerts: what one of them said of the alerts that must not fire; None where nobody asked, or it has not answered.
        aftermath: what one of them said of the alerts that must not come to fire after the last opening; None likewise.
        silences: what became of the silences of its openings.
        branding: the ConfigMap of its page's branding; None where it has none, or it is not there.
        freezes: the MaintenanceWindows of kind Freeze that apply to its namespace, as read.
        approvals_trusted: whether the cluster refuses approvals and ticks in the name of another.
        post: how its messages are delivered.
    """

    resource: Manifest
    tasks: Mapping[str, Manifest]
    runs: Sequence[Run]
    busy: frozenset[str]
    targets: Mapping[TargetRef, Manifest]
    companions: Mapping[TargetRef, Manifest] = field(default_factory=dict)
    ingress_classes: Mapping[str, str] = field(default_factory=dict)
    unknown_kinds: frozenset[str] = frozenset()
    page_service: str
    page_ready: bool | None
    now: datetime
    alertmanagers: frozenset[str] = frozenset()
    alerts: AlertAnswer | None = None
    aftermath: AlertAnswer | None = None
    silences: Sequence[SilenceReport] = ()
    policies: Mapping[str, Manifest] = field(default_factory=dict)
    freezes: Sequence[Manifest] = ()
    approvals_trusted: bool = False
    post: Post = field(default_factory=Post)
    branding: Manifest | None = None
    backend: Manifest | None = None

    @property
    def identity(self) -> Identity:
        """Who the window is."""
        return Identity.of(self.resource)

    @property
    def deleted(self) -> bool:
        """Whether somebody has deleted it."""
        return "deletionTimestamp" in self.resource["metadata"]
