"""Two thresholds in time, as several checks of PostgreSQL have them: which one was passed."""

from dataclasses import dataclass
from datetime import timedelta

from upkeep.actions.contract import Severity
from upkeep.actions.fields import format_duration


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


def seconds_in_words(seconds: float) -> str:
    """`1h30m`, for people."""
    return format_duration(timedelta(seconds=max(0.0, seconds)))
