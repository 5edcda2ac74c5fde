"""Tells how long things took, or how large they were, by a number that the lines of log files have."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Rule, format_duration
from upkeep.actions.logs.lines import Expression, LogReader, Reading, compiled
from upkeep.actions.logs.sketch import Distribution
from upkeep.actions.volume.tree import Tree, work_in

_ONE: Final = "exactly one of these must be set: pattern, jsonKey"
_GROUP: Final = "pattern needs a group of the name value, for example took=(?P<value>[0-9.]+)"
_ORDER: Final = "criticalAbove must not be below warningAbove"
_NUMBER: Final = (int, float, str)


class LogsPerformanceReport(LogReader):
    """Reports the percentiles p50, p95 and p99 of a number in log files of the last day, within one percent.

    It is found by a regular expression or, in lines of JSON, by a key. Numbers below 0 and what is no number are left
    out. It is `unknown` if no line has one. Locks: none. Privileges: group 65532 may read the files.
    """

    action_name: ClassVar[str] = "logsPerformanceReport"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "logs.performance": "p95 has reached a threshold",
    }

    pattern: Expression | None = None
    """Regular expression (Python) with a group `value`, for example `took=(?P<value>[0-9.]+)`."""
    json_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Key of the number in lines of JSON; dots lead into objects: `http.duration`."""
    unit: Annotated[str, Field(max_length=32)] = "seconds"
    """What the number is in, for people."""
    warning_above: Annotated[float, Field(ge=0)] | None = None
    """p95 from which on it is a warning."""
    critical_above: Annotated[float, Field(ge=0)] | None = None
    """p95 from which on it is critical."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """One way to find the number; critical is at least as much as warning."""
        return (
            {"rule": "has(self.pattern) != has(self.jsonKey)", "message": _ONE},
            {
                "rule": "!has(self.warningAbove) || !has(self.criticalAbove) || "
                "self.warningAbove <= self.criticalAbove",
                "message": _ORDER,
            },
        )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.pattern is None) == (self.json_key is None):
            raise ValueError(_ONE)
        if self.pattern is not None and "value" not in compiled(self.pattern).groupindex:
            raise ValueError(_GROUP)
        if None not in {self.warning_above, self.critical_above} and self.warning_above > self.critical_above:  # type: ignore[operator]  # neither is None
            raise ValueError(_ORDER)
        return self

    async def run(self, context: Context) -> Result:
        """Read every file once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        seen, reading = Distribution(), Reading()
        await work_in(context, self.connection, self.path, lambda tree: self._measure(tree, seen, reading))
        if not seen.count:
            where = f"jsonKey {self.json_key!r}" if self.json_key else "pattern"
            message = f"none of {reading.words()} has a number by {where}: check it, files and since"
            return Result(outcome=Outcome.UNKNOWN, message=message, metrics={"values": 0, "lines": reading.lines})
        p50, p95, p99 = (seen.percentile(percent) for percent in (50, 95, 99))
        message = (
            f"p50 {p50:.4g}, p95 {p95:.4g}, p99 {p99:.4g}, largest {seen.largest:.4g} {self.unit} of {seen.count} "
            f"values in {reading.words()}, last {format_duration(self.since)}"
        )
        return Result(
            outcome=reading.outcome,
            message=message,
            findings=self._findings(p95),
            metrics={
                "p50": p50,
                "p95": p95,
                "p99": p99,
                "largest": seen.largest,
                "values": seen.count,
                "lines": reading.lines,
            },
        )

    def _findings(self, p95: float) -> list[Finding]:
        for severity, above in ((Severity.CRITICAL, self.critical_above), (Severity.WARNING, self.warning_above)):
            if above is not None and p95 >= above:
                return [
                    Finding(
                        check_id="logs.performance",
                        severity=severity,
                        object=f"{self.connection} {self.json_key or self.pattern}",
                        observed=p95,
                        threshold=above,
                        unit=self.unit,
                        recommendation="look into the slowest of these lines, and what has changed since it was faster",
                    )
                ]
        return []

    def _measure(self, tree: Tree, seen: Distribution, reading: Reading) -> None:
        find = self._by_key() if self.json_key is not None else self._by_pattern()
        for line in self.lines(tree, reading):
            value = find(line)
            if value is not None and math.isfinite(value) and value >= 0:
                seen.add(value)

    def _by_pattern(self) -> Callable[[str], float | None]:
        pattern = compiled(self.pattern or "")

        def find(line: str) -> float | None:
            found = pattern.search(line)
            return _number(found["value"]) if found else None

        return find

    def _by_key(self) -> Callable[[str], float | None]:
        keys = (self.json_key or "").split(".")

        def find(line: str) -> float | None:
            if not line.startswith("{"):
                return None
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                return None
            for key in keys:
                content = content.get(key) if isinstance(content, dict) else None
            return _number(content)

        return find


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, _NUMBER):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
