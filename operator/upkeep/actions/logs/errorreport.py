"""Finds the errors that log files tell of most often, however large they are and whatever stands in them."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import format_duration
from upkeep.actions.logs.lines import Expression, LogReader, Reading, compiled
from upkeep.actions.logs.mask import pattern_of
from upkeep.actions.logs.sketch import Counts
from upkeep.actions.volume.tree import Tree, work_in

_TOP: Final = 20
_STEMS: Final = ("error", "fatal", "crit", "panic", "exception", "emerg", "alert")
"""What a line has that can tell of an error: to look for these first is much faster."""
_WORD: Final = re.compile(r"\b(?:error|fatal|crit|critical|panic|exception|emerg|alert)\b")
_SAID: Final = ("error", "err", "exception", "message", "msg", "event")
"""Where a line that is JSON says what happened."""


class LogsErrorReport(LogReader):
    """Reports the 20 most common errors in log files of the last day.

    Lines that match `pattern` are grouped by what they have in common: numbers, identifiers, addresses and quoted parts
    are taken out, and whatever looks like a password or token is never shown. Of a line of JSON its message counts.
    With more than 4096 kinds of errors the rarest are left out, and counts are then lower bounds.
    Locks: none. Privileges: group 65532 may read the files.
    """

    action_name: ClassVar[str] = "logsErrorReport"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "logs.error": "errors of one kind, with their number; the 20 most common ones",
    }

    pattern: Expression | None = None
    """Regular expression (Python) of lines that tell of an error. Left out: those with one of error, fatal, crit,
    critical, panic, exception, emerg and alert, in any case."""
    warning_count: Annotated[int, Field(ge=1)] = 100
    """Number of lines of one kind from which on it is a warning; below it is an info."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.pattern is not None:
            compiled(self.pattern)
        return self

    async def run(self, context: Context) -> Result:
        """Read every file once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        counts, reading = Counts(), Reading()
        total = await work_in(context, self.connection, self.path, lambda tree: self._count(tree, counts, reading))
        findings = [
            Finding(
                check_id="logs.error",
                severity=Severity.WARNING if count >= self.warning_count else Severity.INFO,
                object=f"{self.connection} {pattern}",
                observed=count,
                threshold=self.warning_count if count >= self.warning_count else 1,
                unit="lines",
                recommendation="look for the cause in the log, the most common one first",
            )
            for pattern, count in counts.most(_TOP)
        ]
        bound = f" (counts are too small by up to {counts.missed})" if counts.missed else ""
        message = (
            f"{total} errors of {len(counts)} kinds in {reading.words()}, last {format_duration(self.since)}{bound}"
        )
        return Result(
            outcome=reading.outcome if reading.files or reading.problems else Outcome.UNKNOWN,
            message=message if reading.files or reading.problems else reading.none_found(self.since),
            findings=findings,
            metrics={"errors": total, "kinds": len(counts), "lines": reading.lines, "files": reading.files},
        )

    def _count(self, tree: Tree, counts: Counts, reading: Reading) -> int:
        tells = compiled(self.pattern).search if self.pattern is not None else _tells
        total = 0
        for line in self.lines(tree, reading):
            if tells(line):
                total += 1
                counts.add(pattern_of(_said(line)))
        return total


def _tells(line: str) -> re.Match[str] | None:
    lowered = line.lower()
    if any(stem in lowered for stem in _STEMS):
        return _WORD.search(lowered)
    return None


def _said(line: str) -> str:
    """The message of a line of JSON; every other line as it is."""
    if not line.startswith("{"):
        return line
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return line
    parts = [content[name] for name in _SAID if isinstance(content.get(name), str)]
    return ": ".join(parts) or line
