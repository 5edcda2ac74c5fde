"""What a query of a restore test must answer. Without an expectation a query proves nothing, so there is always one.

Nothing here asks a database: what it answered is a text, as PostgreSQL writes it, or nothing at all.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Severity
from upkeep.actions.fields import Duration, LabelName, OneOf, format_duration

CHECK_ID: Final = "backup.restore.query"
_SHOWN: Final = 60


class ValidationQuery(OneOf):
    """A query on what was restored, and what it must answer; exactly one expectation."""

    name: LabelName
    """Name of the query, for messages."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """One SQL statement; the first column of its first row counts. It runs as a role that can only read, with an empty
    search_path: write `public.orders`."""
    equals: Annotated[str, Field(max_length=256)] | None = None
    """The value is exactly this, as PostgreSQL writes it, for example "42" or "t"."""
    min: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = None
    """The value is a number, and at least this."""
    max_age: Duration | None = None
    """The value is a date or time, and at most so much older than the backup, for example 1h for max(created_at)."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The expectations."""
        return ("equals", "min", "maxAge")

    def judge(self, value: str | None, *, backup: datetime) -> Finding | None:
        """What is wrong with an answer; None where it is as expected.

        Args:
            value: the answer; None for NULL or no row.
            backup: when the backup was made.
        """
        match self.chosen():
            case "equals":
                return None if value == self.equals else self._differs(value)
            case "min":
                return self._too_small(value)
            case _:
                return self._too_old(value, backup)

    def broken(self, complaint: str) -> Finding:
        """That the query itself failed."""
        return self._finding(0, 1, "", f"it cannot be answered: {complaint}")

    def _differs(self, value: str | None) -> Finding:
        return self._finding(0, 1, "", f"expected {_shown(self.equals)}, found {_shown(value)}")

    def _too_small(self, value: str | None) -> Finding | None:
        least = self.min or 0
        try:
            number = Decimal(value or "")
        except InvalidOperation:
            return self._finding(0, least, "", f"expected a number of at least {least}, found {_shown(value)}")
        if number.is_nan() or number < least:
            return self._finding(float(number), least, "", f"expected at least {least}, found {_shown(value)}")
        return None

    def _too_old(self, value: str | None, backup: datetime) -> Finding | None:
        limit = self.max_age or timedelta()
        moment = _moment(value)
        if moment is None:
            return self._finding(0, 0, "", f"expected a date or time, found {_shown(value)}")
        if backup - moment <= limit:
            return None
        what = f"expected at most {format_duration(limit)} before the backup, found {_shown(value)}"
        return self._finding((backup - moment).total_seconds(), limit.total_seconds(), "seconds", what)

    def _finding(self, observed: float, threshold: float, unit: str, what: str) -> Finding:
        return Finding(
            check_id=CHECK_ID,
            severity=Severity.CRITICAL,
            object=self.name,
            observed=round(observed, 3),
            threshold=threshold,
            unit=unit,
            recommendation=f"{what}: look at the source, and whether the backup is made of the right database",
        )


class RestoredQuery(ValidationQuery):
    """A query on one of the databases that were restored."""

    database: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Database that is asked, where the backup has several. Left out: that of the source's `database`."""


def _moment(value: str | None) -> datetime | None:
    """The instant; one without a zone is in UTC, and a date is its beginning."""
    try:
        found = datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
