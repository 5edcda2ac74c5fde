"""What Upkeep says of a MaintenanceWindow: where it stands, and how its openings went."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Outcome
from upkeep.actions.fields import Model
from upkeep.api.scheduling import Timestamp
from upkeep.api.status import FindingSummary, ResourceStatus, ScheduleAnchor, Trigger
from upkeep.api.window.change import MAX_ITEMS, ApprovalStatus, ChecklistStatus
from upkeep.api.window.gating import SilenceStatus
from upkeep.api.window.notices import Announced, Notices
from upkeep.api.window.plan import MAX_TASKS


class WindowPhase(StrEnum):
    """Where a window stands."""

    SCHEDULED = "Scheduled"
    ANNOUNCED = "Announced"
    AWAITING_APPROVAL = "AwaitingApproval"
    PREPARING = "Preparing"
    ACTIVE = "Active"
    ROLLING_BACK = "RollingBack"
    VERIFYING = "Verifying"
    WATCHING = "Watching"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"
    FROZEN = "Frozen"


class TaskState(StrEnum):
    """Where a task of the plan stands."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class RollbackStatus(Model):
    """How a task of the plan was rolled back."""

    state: TaskState
    """Waiting, Running, Succeeded, Failed or Skipped."""
    reason: str = ""
    """Why it is Waiting or Skipped."""
    message: str = ""
    """One sentence."""
    job: str | None = None
    """Name of its Job."""


class PlannedTaskStatus(Model):
    """A task of the plan in the current or last occurrence."""

    name: str
    """Name of the MaintenanceTask, or of a selector that chose none."""
    selected_by: Annotated[Sequence[str], Field(max_length=64)] = ()
    """Parts of the plan whose selectors chose it when the window opened."""
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
    rollback: RollbackStatus | None = None
    """How it was rolled back, where the plan was."""


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
    uid: str = ""
    """UID of the object that was put on the page; one that is made anew under its name is another."""
    state: TargetState
    """Normal, Maintenance, Restored, RestoreConflict, Refused or Missing."""
    message: str = ""
    """What is wrong with it and what to do."""


class Request(StrEnum):
    """What a person may ask of a window, as its annotation is named."""

    START_NOW = "start-now"
    END_NOW = "end-now"
    CANCEL = "cancel"
    EXTEND = "extend"

    @property
    def annotation(self) -> str:
        """Name of the annotation."""
        return f"upkeep.dev/{self}"

    @property
    def field(self) -> str:
        """Name of the field of the status that remembers it."""
        return self.value.replace("-", "_")


class Intervention(Model):
    """What a person asked for while the opening was under way, by an annotation of the window."""

    request: Request
    """start-now, end-now, cancel or extend."""
    value: str
    """Of the annotation."""
    by: str = ""
    """Who asked, as the annotation upkeep.dev/requested-by says."""
    time: Timestamp
    """When it was done."""


MAX_ALERTS: Final = 50


class WatchedAlert(Model):
    """An alert that came to fire since the window opened."""

    name: str
    """Its label alertname."""
    fingerprint: str
    """By which Alertmanager tells it from others of that name."""
    since: Timestamp
    """When it began to fire."""
    firing: bool = True
    """Whether it does still."""


class WatchStatus(Model):
    """The checks after an opening."""

    until: Timestamp
    """When they end."""
    checks: int = 0
    """How many were made."""
    failures: int = 0
    """How many of them failed."""
    last: int | None = None
    """Number of the last one that was started, counted by its time."""
    job: str | None = None
    """Name of its Job, while it runs."""
    healthy: bool | None = None
    """How the last one ended."""
    message: str = ""
    """What was wrong, in one sentence."""
    quiet: bool | None = None
    """Whether no alert fires that must not; empty while nobody knows."""
    alerts: Annotated[Sequence[WatchedAlert], Field(max_length=MAX_ALERTS)] = ()
    """The alerts that came to fire, as they did; each is told of once."""
    alerts_problem: str = ""
    """Why nobody knows which alerts fire."""


class WindowOccurrence(Model):
    """One opening of a window."""

    start_time: Timestamp
    """When it was to open; with the window's UID it identifies the occurrence."""
    end_time: Timestamp
    """When it closes at the latest."""
    trigger: Trigger = Trigger.SCHEDULE
    """Schedule, or Manual where somebody asked for it with start-now."""
    extended_by: str | None = None
    """By how much it was extended, in all."""
    interventions: Annotated[Sequence[Intervention], Field(max_length=20)] = ()
    """What people asked for meanwhile."""
    opened_at: Timestamp | None = None
    """When it really opened."""
    closed_at: Timestamp | None = None
    """When it really closed."""
    restored_at: Timestamp | None = None
    """When all its targets were back, where the window was deleted meanwhile."""
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
    """Whether the last verification passed; empty where there is none or it has not ended."""
    verifications: int = 0
    """How many verifications have ended."""
    verified_at: Timestamp | None = None
    """When the last one ended."""
    verification_job: str | None = None
    """Name of the Job of a verification that is under way."""
    watch: WatchStatus | None = None
    """The checks after it has closed."""
    tasks: Annotated[Sequence[PlannedTaskStatus], Field(max_length=MAX_TASKS)] = ()
    """The plan."""
    targets: Annotated[Sequence[TargetStatus], Field(max_length=1000)] = ()
    """The targets of maintenance mode."""
    companions: bool = False
    """Whether routes of Upkeep's own may stand beside them."""
    silence: SilenceStatus | None = None
    """Its silence in an Alertmanager."""


class UpcomingState(StrEnum):
    """What becomes of an occurrence that lies ahead."""

    PLANNED = "Planned"
    EXCLUDED = "Excluded"
    FROZEN = "Frozen"
    CANCELLED = "Cancelled"


class UpcomingOpening(Model):
    """An occurrence that lies ahead."""

    start_time: Timestamp
    """When it opens, or would have."""
    end_time: Timestamp
    """When it closes at the latest."""
    state: UpcomingState
    """Planned, or why it is not going to open: Excluded, Frozen or Cancelled."""
    reason: str = ""
    """Which exclusion or freeze, or who cancelled it, and why."""


class HandledRequests(Model):
    """The values of request annotations that were acted on, while they are there; a new value is a new request."""

    start_now: str | None = None
    """Of upkeep.dev/start-now."""
    end_now: str | None = None
    """Of upkeep.dev/end-now."""
    cancel: str | None = None
    """Of upkeep.dev/cancel."""
    extend: str | None = None
    """Of upkeep.dev/extend."""


class CancelledOpening(Model):
    """An opening that lies ahead and is not going to take place."""

    start_time: Timestamp
    """When it would have opened."""
    by: str = ""
    """Who cancelled it, as the annotation upkeep.dev/requested-by says."""


class WindowStatus(ResourceStatus):
    """Where the window stands."""

    schedule_anchor: ScheduleAnchor | None = None
    """From when on the schedule counts."""
    requests: HandledRequests | None = None
    """Which requests of people were acted on."""
    cancelled: Annotated[Sequence[CancelledOpening], Field(max_length=20)] = ()
    """Openings ahead that people have cancelled."""
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
