"""What Upkeep says of a MaintenanceWindow: where it stands, and how its openings went."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from upkeep.actions.contract import Outcome
from upkeep.actions.fields import Model
from upkeep.api.scheduling import Timestamp
from upkeep.api.status import FindingSummary, ResourceStatus, ScheduleAnchor
from upkeep.api.window.change import MAX_ITEMS, ApprovalStatus, ChecklistStatus
from upkeep.api.window.notices import Announced, Notices


class WindowPhase(StrEnum):
    """Where a window stands."""

    SCHEDULED = "Scheduled"
    AWAITING_APPROVAL = "AwaitingApproval"
    PREPARING = "Preparing"
    ACTIVE = "Active"
    VERIFYING = "Verifying"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    SUSPENDED = "Suspended"
    FROZEN = "Frozen"


class TaskState(StrEnum):
    """Where a task of the plan stands."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class PlannedTaskStatus(Model):
    """A task of the plan in the current or last occurrence."""

    name: str
    """Name of the MaintenanceTask."""
    state: TaskState
    """Waiting, Running, Succeeded, Failed or Skipped."""
    reason: str = ""
    """Why it is Waiting or Skipped."""
    job: str | None = None
    """Name of its Job."""
    outcome: Outcome | None = None
    """ok, changed, skipped, unknown or failed."""
    message: str = ""
    """One sentence."""
    start_time: Timestamp | None = None
    """When it started."""
    completion_time: Timestamp | None = None
    """When it ended."""
    findings: Annotated[Sequence[FindingSummary], Field(max_length=5)] = ()
    """The worst findings."""


class TargetState(StrEnum):
    """Where a target of maintenance mode stands."""

    NORMAL = "Normal"
    MAINTENANCE = "Maintenance"
    RESTORED = "Restored"
    CONFLICT = "RestoreConflict"
    REFUSED = "Refused"
    MISSING = "Missing"


class TargetStatus(Model):
    """A target of maintenance mode in the current or last occurrence."""

    kind: str
    """Kind of the object."""
    name: str
    """Its name."""
    state: TargetState
    """Normal, Maintenance, Restored, RestoreConflict, Refused or Missing."""
    message: str = ""
    """What is wrong with it and what to do."""


class WindowOccurrence(Model):
    """One opening of a window."""

    start_time: Timestamp
    """When it was to open; with the window's UID it identifies the occurrence."""
    end_time: Timestamp
    """When it closes at the latest."""
    opened_at: Timestamp | None = None
    """When it really opened."""
    closed_at: Timestamp | None = None
    """When it really closed."""
    waiting_for: str | None = None
    """What holds its opening or its end back, as one CamelCase word; empty where nothing does."""
    approved_by: str | None = None
    """Who approved it."""
    approved_at: Timestamp | None = None
    """When Upkeep saw the approval."""
    approved_generation: int | None = None
    """The generation of the spec that was approved."""
    left_open: Annotated[Sequence[str], Field(max_length=MAX_ITEMS)] = ()
    """Required items of its checklist that nobody had ticked when it closed."""
    page_shown: bool = False
    """Whether its maintenance page is up."""
    verified: bool | None = None
    """Whether the verification passed; empty where there is none or it has not ended."""
    tasks: Annotated[Sequence[PlannedTaskStatus], Field(max_length=64)] = ()
    """The plan."""
    targets: Annotated[Sequence[TargetStatus], Field(max_length=1000)] = ()
    """The targets of maintenance mode."""


class UpcomingState(StrEnum):
    """What becomes of an occurrence that lies ahead."""

    PLANNED = "Planned"
    EXCLUDED = "Excluded"
    FROZEN = "Frozen"


class UpcomingOpening(Model):
    """An occurrence that lies ahead."""

    start_time: Timestamp
    """When it opens, or would have."""
    end_time: Timestamp
    """When it closes at the latest."""
    state: UpcomingState
    """Planned, or why it is not going to open: Excluded or Frozen."""
    reason: str = ""
    """Which exclusion or freeze, and why."""


class WindowStatus(ResourceStatus):
    """Where the window stands."""

    schedule_anchor: ScheduleAnchor | None = None
    """From when on the schedule counts."""
    occurrence: WindowOccurrence | None = None
    """The opening that is under way, or the last one."""
    upcoming: Annotated[Sequence[UpcomingOpening], Field(max_length=10)] = ()
    """The next five openings, and up to five before the last of them that are excluded or frozen."""
    approval: ApprovalStatus | None = None
    """Where the approval of the next opening, or of the one under way, stands."""
    checklist: ChecklistStatus = ()
    """Who has ticked what."""
    announced: Announced | None = None
    """Up to when announcements are accounted for."""
    notices: Notices = ()
    """Messages to people, oldest first: what became of each of them."""
