"""What users declare of a MaintenanceWindow: when, for whom, and what happens then."""

from collections.abc import Sequence
from typing import Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, Model, OneOf, Rule
from upkeep.api.scheduling import CronExpression, Exclusions, Timestamp, TimeZone
from upkeep.api.steps import Connections, Steps
from upkeep.api.window.maintenance import MaintenanceMode
from upkeep.api.window.plan import Plan


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
