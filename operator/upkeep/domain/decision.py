"""What a decision is: things to do, a status to write, and when to look again.

The controller applies it in this order: `actions`, `events`, status, `cleanup`. A crash between any two of them is
harmless because the same snapshot gives the same decision again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from upkeep.api.status import ResourceStatus, Trigger
from upkeep.domain.alerts import EndSilence, KeepSilence
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import Companion, Patch
from upkeep.domain.notices.post import AwaitTurn, SendNotice
from upkeep.domain.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a run is for: it makes the run's name, and so the run unique.

    Attributes:
        trigger: why it runs.
        scheduled: the occurrence, for Schedule and Window.
        schedule: which of several: the schedule of a BackupPolicy, or the verification of a window.
        token: the token of a manual run.
        window_uid: UID of the window, for Window.
    """

    trigger: Trigger
    scheduled: datetime | None = None
    schedule: str = ""
    token: str = ""
    window_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Create the Job of a run."""

    owner: Identity
    name: str
    occasion: Occasion
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteJob:
    """Delete a Job that Upkeep made."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJob:
    """End the work of a Job that Upkeep made: its Pods get SIGTERM, the Job stays and tells of it."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPage:
    """Bring up the maintenance page of a window, or tell it of a new end."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePage:
    """Take down the maintenance page of a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTarget:
    """Write to an Ingress or a route, as one JSON Patch that fails when the object has moved on."""

    kind: str
    name: str
    patch: Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCompanion:
    """Make a route of Upkeep's own beside a target."""

    companion: Companion
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCompanion:
    """Delete a route of Upkeep's own."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldFinalizer:
    """Keep the resource from vanishing (`held`) while something is swapped for it, or let it go."""

    held: bool


class EventType(StrEnum):
    """How an Event is meant."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Write an Event on the resource."""

    type: EventType
    reason: str
    message: str


Action = (
    StartRun
    | StopJob
    | DeleteJob
    | ShowPage
    | RemovePage
    | PatchTarget
    | PlaceCompanion
    | RemoveCompanion
    | HoldFinalizer
    | AwaitTurn
    | SendNotice
    | KeepSilence
    | EndSilence
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What should happen now.

    Attributes:
        status: the whole new status.
        actions: done before the status is written, in this order.
        events: said once the actions are done.
        cleanup: done only after the status was written.
        wake_at: when to decide again without anything having changed; None: only on a change.
    """

    status: ResourceStatus
    actions: Sequence[Action] = ()
    events: Sequence[Announce] = ()
    cleanup: Sequence[Action] = ()
    wake_at: datetime | None = None
