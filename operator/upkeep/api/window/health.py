"""Whether the maintenance was a success: checks before the page is lifted, and for some time afterwards."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, Model, Rule
from upkeep.api.steps import Checks
from upkeep.api.window.gating import NoFiringAlerts


class VerifyFailure(StrEnum):
    """What a failed verification leads to."""

    LIFT = "Lift"
    KEEP_PAGE = "KeepPage"
    ROLLBACK = "Rollback"


class Verification(Model):
    """Checks after the plan; only when they pass was the maintenance a success."""

    steps: Checks
    """The checks."""
    timeout: Duration = Field(default="10m", validate_default=True)
    """How long they may take."""
    on_failure: VerifyFailure = VerifyFailure.LIFT
    """Lift: maintenance mode ends all the same. KeepPage: users stay on the page while the checks are repeated every
    minute, until they pass or the window ends. Rollback: the rollbacks of the tasks that ran are executed, the
    last task first, then the checks are repeated once."""


class Watch(Model):
    """Checks after the window has closed; trouble then is most likely its fault."""

    duration: Duration = Field(default="1h", validate_default=True)
    """How long."""
    interval: Duration = Field(default="5m", validate_default=True)
    """How often the checks are made, 30s at least."""
    steps: Checks | None = None
    """The checks. Left out: those of verify, if it has one."""
    timeout: Duration = Field(default="2m", validate_default=True)
    """How long they may take."""
    no_firing_alerts: NoFiringAlerts | None = None
    """Alerts that must not come to fire. Those that fired before the window opened do not count; an Alertmanager that
    does not answer is not one that is quiet."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What the watch alone can show to be wrong."""
        return (_OFTEN_ENOUGH,)

    @model_validator(mode="after")
    def _often_enough(self) -> Self:
        if self.interval.total_seconds() < _LEAST_SECONDS:
            raise ValueError(_OFTEN_ENOUGH["message"])
        return self


_LEAST_SECONDS: Final = 30
_OFTEN_ENOUGH: Final[Rule] = {
    "rule": "!self.interval.matches('^0*[12]?[0-9]s$')",
    "message": "interval must be 30s or longer, for example 5m",
}
