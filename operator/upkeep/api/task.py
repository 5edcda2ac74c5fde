"""MaintenanceTask: work, done as a Job in the resource's own namespace."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, Model, ObjectName, OneOf, Rule
from upkeep.api.container import CustomJob
from upkeep.api.runbook import Runbook
from upkeep.api.scheduling import ConcurrencyPolicy, CronExpression, Exclusions, Timestamp, TimeZone, WindowReferences
from upkeep.api.status import ResourceStatus, ScheduleAnchor
from upkeep.api.steps import Connections, Steps

_ONE_SCHEDULE: Final[Rule] = {
    "rule": "!(has(self.schedule) && has(self.runAt))",
    "message": "schedule and runAt exclude each other: set schedule for a recurring task, runAt for a single run, "
    "or neither for one that runs only in windows or on demand",
}
_JITTER_NEEDS_SCHEDULE: Final[Rule] = {
    "rule": "!has(self.jitter) || has(self.schedule)",
    "message": "jitter spreads the runs of a schedule: set schedule, or remove jitter",
}


class Rollback(OneOf):
    """What undoes a task."""

    steps: Steps | None = None
    """What is done, in this order; with the connections of the task."""
    job: CustomJob | None = None
    """What is done, as a container of your own."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The same as of a task."""
        return ("steps", "job")

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_once_written(cls, value: Any) -> Any:  # noqa: ANN401 - whatever stands there
        """What was stored as a list of steps stays good until it is edited."""
        return {"steps": value} if isinstance(value, list) else value


class PatchDeadlines(Model):
    """How soon weaknesses have to be patched, by their grade."""

    critical: Duration = Field(default="24h", validate_default=True)
    """Of grade critical."""
    high: Duration = Field(default="7d", validate_default=True)
    """Of grade high."""
    medium: Duration | None = None
    """Of grade medium. Left out: they have no deadline."""
    low: Duration | None = None
    """Of grade low. Left out: they have no deadline."""


class TaskSpec(OneOf):
    """What to do, and when."""

    schedule: CronExpression | None = None
    """When it runs, as a cron expression of five fields in timeZone."""
    run_at: Timestamp | None = None
    """When it runs once, for example 2026-12-01T02:00:00Z."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of schedule and exclusions, for example Europe/Berlin."""
    jitter: Duration | None = None
    """Each run starts up to this much later, by an offset that is the same on every replica."""
    exclusions: Exclusions = Field(default_factory=list)
    """Times in which it does not start: freezes and holidays. Such an occurrence is Skipped with the reason."""
    windows: WindowReferences = Field(default_factory=list)
    """MaintenanceWindows, as `name`, or as `namespace/name` of one that is shared with this namespace. Scheduled runs
    start only while one of them is open, and never while one of kind Freeze among them lasts. Left out: at any time."""
    starting_deadline_seconds: Annotated[int | None, Field(ge=1, le=2592000)] = None
    """How late a run may start, in seconds. Left out: the last missed occurrence is always caught up."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """When a run is due while the last one still runs: Forbid leaves it out, Allow starts it besides,
    Replace stops the old one first."""
    suspend: bool = False
    """True: nothing is started by schedule. Occurrences of that time are recorded as Missed(Suspended)."""
    timeout: Duration = Field(default="1h", validate_default=True)
    """How long a run may take, all retries together."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """How often a failed run is tried again, with growing pauses."""
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many Jobs of good runs are kept."""
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many Jobs of failed runs are kept."""
    connections: Connections = Field(default_factory=list)
    """Servers and volumes that the steps use, by name."""
    steps: Steps | None = None
    """What is done, in this order."""
    job: CustomJob | None = None
    """What is done, as a container of your own."""
    rollback: Rollback | None = None
    """What undoes it, as steps or as a container; executed in a window whose plan or verification says onFailure:
    Rollback. It may take as long as the task, and runs once, as the same ServiceAccount."""
    patch_deadlines: PatchDeadlines = Field(default_factory=PatchDeadlines)
    """How soon weaknesses have to be patched that steps find, by grade, from their publication or else from when they
    were first seen."""
    runbook: Runbook | None = None
    """What it is for, and what to do by hand when it has failed."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the Pod. Left out: the Pod has no access to the Kubernetes API."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """What a task does."""
        return ("steps", "job")

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What one object can show to be wrong."""
        return (*super().rules(), _ONE_SCHEDULE, _JITTER_NEEDS_SCHEDULE)

    @model_validator(mode="after")
    def _obeys(self) -> Self:
        if self.schedule is not None and self.run_at is not None:
            raise ValueError(_ONE_SCHEDULE["message"])
        if self.jitter is not None and self.schedule is None:
            raise ValueError(_JITTER_NEEDS_SCHEDULE["message"])
        return self


class FindingAge(Model):
    """Since when a finding is seen."""

    fingerprint: str
    """Eight digits, the same while the same check finds the same object; the log of a run tells them."""
    first_seen: Timestamp
    """When the run ended that saw it first."""
    due: Timestamp | None = None
    """Until when it is to be patched."""
    overdue: bool = False
    """Whether it was still there then."""


class StepMemory(Model):
    """What is remembered of a step from run to run, as long as it has its name and its action."""

    step: str
    """The step's name."""
    action: str
    """The key of its action."""
    time: Timestamp
    """When the last run ended in which it came to a result."""
    values: Annotated[Mapping[str, str], Field(max_length=1024)] = Field(default_factory=dict)
    """What that run has left for the next one."""
    findings: Annotated[Sequence[FindingAge], Field(max_length=64)] = ()
    """Ages of the worst 64 of its findings."""


class TaskStatus(ResourceStatus):
    """What became of it."""

    memory: Annotated[Sequence[StepMemory], Field(max_length=32)] = ()
    """What its steps remember."""
    overdue_findings: int = 0
    """Findings that are past their patch deadline."""

    schedule_anchor: ScheduleAnchor | None = None
    """From when on the schedule counts."""
    active: Annotated[Sequence[str], Field(max_length=100)] = ()
    """Names of the Jobs that run now."""
