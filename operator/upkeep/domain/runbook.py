"""What a task's runbook adds to what is said and decided about the task."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import ValidationError

from upkeep.api.runbook import Runbook

_LONGEST_STEP: Final = 160
"""Characters of a step of the procedure that stand in a message."""


def runbook_of(task: Mapping[str, Any] | None) -> Runbook | None:
    """The runbook of a MaintenanceTask; None where there is none that can be read."""
    spec = task.get("spec") if task else None
    written = spec.get("runbook") if isinstance(spec, Mapping) else None
    try:
        return None if written is None else Runbook.model_validate(written)
    except ValidationError:
        return None


def advice(task: Mapping[str, Any] | None) -> str:
    """What to tell people besides when a task has failed, in a few words; empty where nobody wrote anything."""
    runbook = runbook_of(task)
    if runbook is None:
        return ""
    if runbook.url:
        return f"runbook: {runbook.url}"
    if not runbook.procedure:
        return ""
    first = " ".join(runbook.procedure[0].split())
    shown = first if len(first) <= _LONGEST_STEP else f"{first[:_LONGEST_STEP]}…"
    return f"runbook: 1. {shown}"


def advised(message: str, words: str, *, longest: int) -> str:
    """A message of at most so many characters that ends with an advice; the message is what is cut, and told once."""
    if not words or message.endswith(words):
        return message[:longest]
    return f"{message[: longest - len(words) - 2]}; {words}" if message else words[:longest]


def estimate(task: Mapping[str, Any] | None) -> timedelta | None:
    """How long a task takes, as its runbook says."""
    runbook = runbook_of(task)
    return runbook.estimate if runbook else None
