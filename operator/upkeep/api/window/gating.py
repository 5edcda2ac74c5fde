"""What must hold before a window opens, and which alerts keep quiet while it is open."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, LabelName, Model, ObjectName, Rule
from upkeep.api.scheduling import Timestamp
from upkeep.api.steps import BY_NAME, UNIQUE, Checks

_ANY_WORD: Final = "Qz7xJ0vW"
"""A word that no label has for a value: an expression that matches it matches just anything."""


class AlertMatcher(Model):
    """A condition on one label of alerts, as in Alertmanager."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
    """Name of the label, for example namespace."""
    value: Annotated[str, Field(max_length=256)]
    """Its value, or with isRegex a regular expression (RE2) for the whole value."""
    is_regex: bool = False
    """Whether value is a regular expression."""
    is_equal: bool = True
    """False: the label must not match."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """The regular expression can be read."""
        return (_READABLE,)

    @property
    def selects(self) -> bool:
        """Whether it picks out alerts instead of taking in just any."""
        if not self.is_equal or not self.value:
            return False
        if not self.is_regex:
            return True
        try:
            expression = re.compile(self.value)
        except re.error:
            return True  # RE2, which the API server has read it with, has words that Python does not have
        return not expression.fullmatch(_ANY_WORD) and not expression.fullmatch("")


class Silence(Model):
    """A silence in an Alertmanager of the platform, from the opening of the window to its close."""

    alertmanager: LabelName
    """Name of the Alertmanager, as the platform has configured it for Upkeep."""
    matchers: Annotated[list[AlertMatcher], Field(min_length=1, max_length=16)]
    """Alerts for which all of these hold are silenced. Where the platform demands it, only those of this namespace."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """It must not silence everything."""
        return (_SELECTIVE,)

    @model_validator(mode="after")
    def _picks_out(self) -> Self:
        if not any(matcher.selects for matcher in self.matchers):
            raise ValueError(_SELECTIVE["message"])
        return self


class SilenceState(StrEnum):
    """Where the silence of an opening stands."""

    PENDING = "Pending"
    ACTIVE = "Active"
    EXPIRED_BY_HAND = "ExpiredByHand"
    ENDED = "Ended"


class SilenceStatus(Model):
    """The silence of the current or last occurrence."""

    alertmanager: str
    """Name of the Alertmanager that it is in."""
    id: str = ""
    """Its id there; empty until it was made."""
    state: SilenceState
    """Pending until it was made; Active; ExpiredByHand: somebody has ended it, and it is not made again; Ended."""
    until: Timestamp
    """When it ends at the latest, whatever becomes of Upkeep."""


class NoFiringAlerts(Model):
    """No alert fires for which all matchers hold. Alerts that are silenced or inhibited do not count."""

    alertmanager: LabelName
    """Name of the Alertmanager, as the platform has configured it for Upkeep."""
    matchers: Annotated[list[AlertMatcher], Field(min_length=1, max_length=16)]
    """Which alerts count, for example {name: severity, value: critical}."""


class VerifiedBackup(Model):
    """A backup that was restored in a test and found good, made not too long ago."""

    name: ObjectName
    """Name of a BackupPolicy in the namespace of the window; it must have verify.restoreTest."""
    max_age: Duration
    """How old the newest backup that has passed its restore test may be when the window opens."""


class Requirements(Model):
    """What must hold before the window opens. Until it does, the window waits, at most up to its end."""

    no_firing_alerts: NoFiringAlerts | None = None
    """No such alert fires. What cannot be asked counts as not fulfilled."""
    verified_backups: (
        Annotated[list[VerifiedBackup], Field(min_length=1, max_length=16, json_schema_extra=BY_NAME), UNIQUE] | None
    ) = None
    """Of each of these policies there is a verified backup, and its last restore test did not fail."""
    steps: Checks | None = None
    """Checks that must pass, run as a Job in the namespace of the window; tried again half a minute after a failure."""
    timeout: Duration = Field(default="5m", validate_default=True)
    """How long the steps may take each time."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Something must be required."""
        return (_SOMETHING,)

    @model_validator(mode="after")
    def _requires_something(self) -> Self:
        if self.no_firing_alerts is None and self.verified_backups is None and self.steps is None:
            raise ValueError(_SOMETHING["message"])
        return self


_READABLE: Final[Rule] = {
    # An expression that cannot be read makes the whole rule fail; in a list, no operator can hide that.
    "rule": "!(has(self.isRegex) && self.isRegex) || [''.matches(self.value)].size() == 1",
    "message": "value must be a regular expression in RE2 syntax where isRegex is true",
}
_SELECTIVE: Final[Rule] = {
    "rule": "self.matchers.exists(each, (!has(each.isEqual) || each.isEqual) && each.value != '' && "
    "(!(has(each.isRegex) && each.isRegex) || "
    f"(!'{_ANY_WORD}'.matches('^(?:' + each.value + ')$') && !''.matches('^(?:' + each.value + ')$'))))",
    "message": "this would silence just any alert: at least one matcher must pick some out, by a value or a regular "
    "expression that does not match everything, for example {name: alertname, value: ShopDown}",
}
_SOMETHING: Final[Rule] = {
    "rule": "has(self.noFiringAlerts) || has(self.verifiedBackups) || has(self.steps)",
    "message": "set noFiringAlerts, verifiedBackups or steps, or several of them",
}
