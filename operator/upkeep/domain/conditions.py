"""Conditions: what is true of a resource, since when, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.status import Condition
from upkeep.domain.instants import write_instant

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
LAST_RUN_SUCCEEDED: Final = "LastRunSucceeded"

MAX_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A condition without its times."""

    type: str
    status: bool | None
    reason: str
    message: str = ""


def merge(old: Sequence[Condition], facts: Sequence[Fact], *, generation: int, now: datetime) -> list[Condition]:
    """The conditions with these facts; `lastTransitionTime` moves only where the status did."""
    before = {condition.type: condition for condition in old}
    merged = []
    for fact in facts:
        status = "Unknown" if fact.status is None else str(fact.status)
        known = before.get(fact.type)
        since = known.last_transition_time if known and known.status == status else write_instant(now)
        merged.append(
            Condition(
                type=fact.type,
                status=status,
                reason=fact.reason,
                message=fact.message[:MAX_MESSAGE],
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a resource cannot do what it says; the message tells people what to change."""

    reason: str
    message: str


def readiness(problem: Problem | None, *, reason: str, message: str) -> list[Fact]:
    """Ready, Reconciling and Stalled, as kstatus reads them: a problem is `Stalled` until somebody acts."""
    if problem:
        return [
            Fact(type=READY, status=False, reason=problem.reason, message=problem.message),
            Fact(type=RECONCILING, status=False, reason=problem.reason),
            Fact(type=STALLED, status=True, reason=problem.reason, message=problem.message),
        ]
    return [
        Fact(type=READY, status=True, reason=reason, message=message),
        Fact(type=RECONCILING, status=False, reason=reason),
        Fact(type=STALLED, status=False, reason=reason),
    ]
