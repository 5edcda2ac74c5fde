"""Two thresholds in time, as several checks of PostgreSQL have them: their order, and which one was passed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from upkeep.actions.contract import Severity
from upkeep.actions.fields import Rule, format_duration

ORDER: Final = "criticalAfter must not be below warningAfter"
_PLAIN: Final = "'^([0-9]+h)?([0-9]+m)?([0-9]+s)?$'"
"""What the API server's expression language takes for a duration too; other spellings are compared here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The higher of the thresholds that a value has reached, in seconds."""

    severity: Severity
    threshold: float


def passed(seconds: float, *, warning: timedelta, critical: timedelta) -> Passed | None:
    """Which of the thresholds a time has reached; None below both."""
    if seconds >= critical.total_seconds():
        return Passed(severity=Severity.CRITICAL, threshold=critical.total_seconds())
    if seconds >= warning.total_seconds():
        return Passed(severity=Severity.WARNING, threshold=warning.total_seconds())
    return None


def check_order(*, warning: timedelta, critical: timedelta) -> None:
    """Refuse thresholds in the wrong order.

    Raises:
        ValueError: the critical one is below the warning.
    """
    if warning > critical:
        raise ValueError(ORDER)


def order_rule(*, warning: str, critical: str) -> Rule:
    """The rule of the API server for `warningAfter` and `criticalAfter` with these defaults."""
    low = f"(has(self.warningAfter) ? self.warningAfter : '{warning}')"
    high = f"(has(self.criticalAfter) ? self.criticalAfter : '{critical}')"
    return {
        "rule": f"!{low}.matches({_PLAIN}) || !{high}.matches({_PLAIN}) || duration({low}) <= duration({high})",
        "message": ORDER,
    }


def seconds_in_words(seconds: float) -> str:
    """`1h30m`, for people."""
    return format_duration(timedelta(seconds=max(0.0, seconds)))
