"""What Upkeep reports about every kind of resource, following kstatus and CronJob."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Outcome
from upkeep.actions.fields import Model
from upkeep.api.scheduling import Timestamp

MAX_STEPS: Final = 128
"""How many parts of a run its summary tells of: the steps of a task, or the tasks of a window."""


class Condition(Model):
    """A condition as everywhere in Kubernetes."""

    type: str
    """Ready, Reconciling, Stalled, or one of the kind's own."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: str
    """One CamelCase word for programs."""
    message: str
    """A sentence for people that says what to do; may be empty."""
    last_transition_time: Timestamp
    """When `status` last changed."""
    observed_generation: int | None = None
    """The generation of the spec that it speaks of."""


class Trigger(StrEnum):
    """Why a run was started."""

    SCHEDULE = "Schedule"
    MANUAL = "Manual"
    WINDOW = "Window"


class Ending(StrEnum):
    """How an occurrence ended: every one of them ends in exactly one of these ways."""

    RAN = "Ran"
    SKIPPED = "Skipped"
    MISSED = "Missed"


class FindingSummary(Model):
    """A finding, shortened for a status."""

    severity: str
    """info, warning or critical."""
    check_id: str
    """Identifier of the check."""
    object: str
    """What it was seen on."""
    observed: str
    """The measured value with its unit."""
    threshold: str
    """The value from which on it is a finding."""
    recommendation: str = ""
    """What to do about it."""
    first_seen: Timestamp | None = None
    """Since when it is seen, run after run; of the findings of a task."""
    due: Timestamp | None = None
    """Until when it is to be patched; of a weakness with a grade."""


class StepSummary(Model):
    """How a step of the last run ended."""

    name: str
    """The step's name."""
    outcome: str
    """ok, changed, skipped, unknown or failed."""
    message: str = ""
    """One sentence."""
    seconds: str = ""
    """How long it took, in seconds."""


class OccurrenceRecord(Model):
    """One occurrence and how it ended."""

    ending: Ending
    """Ran, Skipped or Missed."""
    reason: str = ""
    """For Skipped and Missed: why, as one CamelCase word."""
    message: str = ""
    """One sentence."""
    schedule: str | None = None
    """Of a BackupPolicy: the name of the schedule."""
    scheduled_time: Timestamp | None = None
    """When it was due; for several missed at once, the first of them."""
    count: int | None = None
    """How many occurrences this record stands for, where more than one."""
    trigger: Trigger | None = None
    """Schedule, Manual or Window."""
    job: str | None = None
    """Name of its Job."""
    start_time: Timestamp | None = None
    """When its Job started."""
    completion_time: Timestamp | None = None
    """When its Job ended."""
    outcome: Outcome | None = None
    """ok, changed, skipped, unknown or failed; empty while it runs."""


class RunSummary(OccurrenceRecord):
    """The last run in more detail than the history keeps."""

    findings: Annotated[Sequence[FindingSummary], Field(max_length=20)] = ()
    """The worst findings."""
    critical_findings: int | None = None
    """Number of critical findings."""
    warning_findings: int | None = None
    """Number of warnings."""
    steps: Annotated[Sequence[StepSummary], Field(max_length=MAX_STEPS)] = ()
    """Its steps; of a window: its tasks."""


class ResourceStatus(Model):
    """What the status of every kind has."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    phase: str | None = None
    """One word for people; programs read the conditions."""
    conditions: Annotated[Sequence[Condition], Field(max_length=16)] = ()
    """Ready, Reconciling, Stalled and the kind's own."""
    next_schedule_time: Timestamp | None = None
    """When it happens next."""
    last_schedule_time: Timestamp | None = None
    """The last occurrence that was accounted for, whichever way it ended."""
    last_successful_time: Timestamp | None = None
    """When a run last ended well."""
    suspended_since: Timestamp | None = None
    """Since when it is suspended."""
    consecutive_failures: int = 0
    """Runs that failed since the last good one."""
    last_run: RunSummary | None = None
    """The last run."""
    history: Annotated[Sequence[OccurrenceRecord], Field(max_length=10)] = ()
    """The last ten occurrences, newest first."""
    last_manual_run: str | None = None
    """The last token of the annotation upkeep.dev/run-now that was acted on."""


class ScheduleAnchor(Model):
    """From when on a schedule counts, so that editing it never fires the past."""

    expression: str
    """The schedule and time zone that were seen."""
    since: Timestamp
    """When they were first seen."""
