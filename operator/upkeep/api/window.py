"""MaintenanceWindow: when, for whom, and what happens then."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Outcome
from upkeep.actions.fields import Duration, Model, ObjectName, OneOf, Rule
from upkeep.api.scheduling import CronExpression, Exclusions, Timestamp, TimeZone
from upkeep.api.status import FindingSummary, ResourceStatus, ScheduleAnchor
from upkeep.api.steps import BY_NAME, UNIQUE, Connections, Steps


class PlanFailure(StrEnum):
    """What a failed task means for the rest of the plan."""

    ABORT = "Abort"
    CONTINUE = "Continue"


class PlannedTask(Model):
    """A MaintenanceTask of the same namespace, as a part of the plan."""

    name: ObjectName
    """Name of the MaintenanceTask."""
    depends_on: Annotated[list[ObjectName], Field(max_length=32)] = Field(default_factory=list)
    """Tasks of this plan that must have ended well before this one starts."""


class Plan(Model):
    """The tasks of a window and their order."""

    tasks: Annotated[list[PlannedTask], Field(min_length=1, max_length=64, json_schema_extra=BY_NAME), UNIQUE]
    """What runs, in this order as far as dependsOn and maxConcurrency let it."""
    max_concurrency: Annotated[int, Field(ge=1, le=16)] = 1
    """How many tasks may run at the same time."""
    on_failure: PlanFailure = PlanFailure.ABORT
    """Abort: after a failed task nothing more starts. Continue: only what depends on it is left out."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What the plan alone can show to be wrong."""
        return (_KNOWN_DEPENDENCIES,)

    @model_validator(mode="after")
    def _depends_on_its_own(self) -> Self:
        names = {task.name for task in self.tasks}
        if any(task.name in task.depends_on or not names.issuperset(task.depends_on) for task in self.tasks):
            raise ValueError(_KNOWN_DEPENDENCIES["message"])
        return self


_KNOWN_DEPENDENCIES: Final[Rule] = {
    # The names are gathered once: for each pair of tasks anew, a large plan is over the API server's cost limit.
    "rule": "[self.tasks.map(task, task.name)].all(names, self.tasks.all(task, !has(task.dependsOn) || "
    "(!(task.name in task.dependsOn) && task.dependsOn.all(name, name in names))))",
    "message": "dependsOn must name other tasks of the same plan",
}


class Target(Model):
    """What is put into maintenance mode."""

    kind: Literal["Ingress"] = "Ingress"
    """Kind of the object."""
    name: ObjectName
    """Its name, in the namespace of the window."""


class Page(Model):
    """What users see meanwhile."""

    title: Annotated[str, Field(min_length=1, max_length=200)] = "Down for maintenance"
    """Heading of the page."""
    message: Annotated[str, Field(max_length=2000)] = "We are working on it and will be back soon."
    """What the page says, as plain text; blank lines separate paragraphs."""


class MaintenanceMode(Model):
    """Ingresses that answer 503 with a page while the window is active, and go back exactly as they were."""

    targets: Annotated[list[Target], Field(min_length=1, max_length=1000)]
    """The Ingresses."""
    page: Page = Page()
    """What users see meanwhile."""


class Verification(Model):
    """Checks after the plan; only when they pass was the maintenance a success."""

    steps: Steps
    """The checks."""
    timeout: Duration = Field(default="10m", validate_default=True)
    """How long they may take."""


class WindowSpec(OneOf):
    """When it opens, for how long, and what happens then."""

    schedule: CronExpression | None = None
    """When it opens, as a cron expression of five fields in timeZone."""
    start_at: Timestamp | None = None
    """When it opens once, for example 2026-12-01T02:00:00Z."""
    duration: Duration
    """How long it is open at most. Maintenance mode never outlives it."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of schedule and exclusions, for example Europe/Berlin. It binds to the start: the end is the
    start plus the duration, whatever the clocks do in between."""
    exclusions: Exclusions = Field(default_factory=list)
    """Times in which it does not open: freezes and holidays."""
    suspend: bool = False
    """True: it does not open any more. One that is open already is brought to its end."""
    connections: Connections = Field(default_factory=list)
    """Servers that the verification uses, by name."""
    plan: Plan | None = None
    """The tasks that run while it is open."""
    maintenance_mode: MaintenanceMode | None = None
    """What shows a maintenance page meanwhile."""
    verify: Verification | None = None
    """Checks after the plan, before maintenance mode is lifted."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """When it opens."""
        return ("schedule", "startAt")

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What one object can show to be wrong."""
        return (*super().rules(), _DURATION_RANGE)

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not self.duration:
            raise ValueError(_DURATION_RANGE["message"])
        return self


_DURATION_RANGE: Final[Rule] = {
    "rule": "self.duration.matches('[1-9]')",
    "message": "duration must be longer than 0s, for example 2h",
}


class WindowPhase(StrEnum):
    """Where a window stands."""

    SCHEDULED = "Scheduled"
    PREPARING = "Preparing"
    ACTIVE = "Active"
    VERIFYING = "Verifying"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SKIPPED = "Skipped"
    SUSPENDED = "Suspended"


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
    page_shown: bool = False
    """Whether its maintenance page is up."""
    verified: bool | None = None
    """Whether the verification passed; empty where there is none or it has not ended."""
    tasks: Annotated[Sequence[PlannedTaskStatus], Field(max_length=64)] = ()
    """The plan."""
    targets: Annotated[Sequence[TargetStatus], Field(max_length=1000)] = ()
    """The targets of maintenance mode."""


class WindowStatus(ResourceStatus):
    """Where the window stands."""

    schedule_anchor: ScheduleAnchor | None = None
    """From when on the schedule counts."""
    occurrence: WindowOccurrence | None = None
    """The opening that is under way, or the last one."""
