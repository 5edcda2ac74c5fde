"""Freezes: times in which no maintenance begins, in the namespaces that they speak for.

What a freeze forbids follows from its spec and the time alone. So everybody who asks gets the same answer, also while
nobody was there to write its status. It only ever says no: where a window allows and a freeze forbids, nothing begins.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from upkeep.api.window import EVERY_NAMESPACE, Urgency, WindowKind, WindowSpec
from upkeep.domain.account import Cause, Reason, skipped
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import Opening, opening_in, schedule_of
from upkeep.domain.schedule import Schedule, ScheduleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A MaintenanceWindow of kind Freeze.

    Attributes:
        name: its namespace and name, `platform/year-end`.
        spec: as read.
        schedule: of its spec.
    """

    name: str
    spec: WindowSpec
    schedule: Schedule

    @classmethod
    def of(cls, window: Mapping[str, Any]) -> "Freeze | None":
        """The freeze that a window is; None where it is none, or does not forbid anything now.

        One that cannot be read forbids nothing: its own conditions say so.
        """
        metadata, spec = window["metadata"], window.get("spec")
        if not isinstance(spec, Mapping) or spec.get("kind") != WindowKind.FREEZE or "deletionTimestamp" in metadata:
            return None
        return _read(f"{metadata['namespace']}/{metadata['name']}", json.dumps(spec))

    def opening_at(self, instant: datetime) -> Opening | None:
        """The time of it that an instant falls into; None where it forbids nothing then."""
        return _opening(self.schedule, self.spec.duration, instant)


# Hundreds of windows ask the same freezes for the same instants, again and again.
@lru_cache(maxsize=1024)
def _read(name: str, text: str) -> Freeze | None:
    try:
        spec = WindowSpec.model_validate_json(text)
        return None if spec.suspend else Freeze(name=name, spec=spec, schedule=schedule_of(spec))
    except (ValidationError, ScheduleError):
        return None


@lru_cache(maxsize=8192)
def _opening(schedule: Schedule, duration: timedelta, instant: datetime) -> Opening | None:
    return opening_in(schedule, duration, instant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frost:
    """What a freeze forbids at an instant.

    Attributes:
        freeze: namespace and name of the freeze.
        until: when it ends.
        reason: why it was declared; may be empty.
    """

    freeze: str
    until: datetime
    reason: str

    @property
    def message(self) -> str:
        """One sentence for people."""
        why = f": {self.reason}" if self.reason else ""
        return f"frozen by {self.freeze} until {write_instant(self.until)}{why}"

    @property
    def cause(self) -> Cause:
        """Why an occurrence did not begin."""
        return skipped(Reason.FROZEN, self.message)


def freezes_of(windows: Iterable[Mapping[str, Any]]) -> tuple[Freeze, ...]:
    """Those of some windows that are freezes and can be read."""
    return tuple(freeze for window in windows if (freeze := Freeze.of(window)))


def frost_at(freezes: Sequence[Freeze], instant: datetime, *, urgency: Urgency = Urgency.PLANNED) -> Frost | None:
    """What forbids to begin something of this urgency at an instant: of several freezes the one that ends last."""
    found = [
        Frost(freeze=freeze.name, until=opening.end, reason=freeze.spec.reason)
        for freeze in freezes
        if not (freeze.spec.allow_emergency and urgency is Urgency.EMERGENCY)
        and (opening := freeze.opening_at(instant))
    ]
    return max(found, key=lambda frost: (frost.until, frost.freeze), default=None)


def speaks_for(window: Mapping[str, Any], namespace: str) -> bool:
    """Whether a window is of a namespace or shared with it; also one whose spec has not the shape that it should."""
    spec = window.get("spec")
    shared = spec.get("sharedWith") if isinstance(spec, Mapping) else None
    names = shared if isinstance(shared, list) else []
    return window["metadata"]["namespace"] == namespace or namespace in names or EVERY_NAMESPACE in names
