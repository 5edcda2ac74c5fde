"""When something happens: the fields that tasks, windows and backup schedules share."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from upkeep.actions.fields import Model
from upkeep.api.instants import read_instant

_MONTHS: Final = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS: Final = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _field(value: str, *, extra: str = "") -> str:
    item = rf"(\*|({value})(-({value}))?)(/[0-9]{{1,2}})?"
    return f"({item}{extra})(,({item}{extra}))*"


CRON_PATTERN: Final = (
    "^"
    + " +".join(
        [
            _field("[0-5]?[0-9]"),
            _field("[01]?[0-9]|2[0-3]"),
            _field("0?[1-9]|[12][0-9]|3[01]", extra="|L"),
            _field(f"(?i:{_MONTHS})|0?[1-9]|1[0-2]"),
            _field(f"(?i:{_DAYS})|[0-7]", extra=rf"|((?i:{_DAYS})|[0-7])(#[1-5]|L)"),
        ]
    )
    + "$"
)
"""Five fields with values in their ranges (RE2 syntax). What a pattern cannot see, such as 30 February, is
found when the schedule is read and becomes a condition."""

_CRON_RULE: Final[dict[str, Any]] = {
    "rule": f"self.matches(r'{CRON_PATTERN}')",
    "message": (
        "must be a cron expression of five fields in their ranges (minute hour day-of-month month day-of-week), "
        "for example '0 2 * * SUN', or '0 2 * * SUN#1' for the first Sunday; no seconds, no @daily, and no TZ=: "
        "set timeZone instead"
    ),
}

CronExpression = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "minLength": 9, "maxLength": 120, "x-kubernetes-validations": [_CRON_RULE]},
    ),
]

TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")]


def _instant(text: str) -> str:
    read_instant(text)
    return text


Timestamp = Annotated[str, AfterValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
"""An instant as RFC 3339 text; it stays text so that what is read back is what was written."""


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due while the last one still runs; as for CronJob."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class ExclusionPeriod(Model):
    """A time in which nothing starts: a freeze or a holiday."""

    start: Annotated[str, Field(alias="from", min_length=5, max_length=40)]
    """First day `2026-12-20`, a day of every year `12-24`, or an instant `2026-12-20T18:00:00Z`."""
    end: Annotated[str | None, Field(alias="to", min_length=5, max_length=40)] = None
    """Last day (it belongs to the exclusion), or the instant at which it ends. Left out: the one day."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Why, shown wherever something is skipped for it."""


Exclusions = Annotated[list[ExclusionPeriod], Field(max_length=100)]

WindowReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    ),
]
"""Name of a MaintenanceWindow of the same namespace, or `namespace/name` of one that is shared with it."""

WindowReferences = Annotated[list[WindowReference], Field(max_length=16)]
