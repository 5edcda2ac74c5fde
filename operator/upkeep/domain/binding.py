"""When a task or a policy may run that names windows: while one of them is open, and never while a freeze forbids it.

A window is open when its status says so, since a gate, a person or a freeze may keep it shut in a time that its
schedule gives. Until the status has told, whoever is bound to it waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from upkeep.api.window import WindowKind, WindowOccurrence, WindowSpec, WindowStatus
from upkeep.domain.account import Cause, Reason, missed
from upkeep.domain.conditions import Problem
from upkeep.domain.freeze import Frost, freezes_of, frost_at, speaks_for
from upkeep.domain.instants import read_instant, read_optional, write_instant
from upkeep.domain.openings import Opening, declared, opening_at, read_spec
from upkeep.domain.recollection import recall
from upkeep.domain.schedule import ScheduleError

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What there is of the windows that a task or a policy names.

    Attributes:
        windows: the MaintenanceWindows that exist, as read, by the name under which they are named.
        freezes: the MaintenanceWindows of kind Freeze that apply to the namespace of one of those, as read.
        served: the namespaces that Upkeep looks at; empty for all.
    """

    windows: Mapping[str, Manifest] = field(default_factory=dict)
    freezes: Sequence[Manifest] = ()
    served: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An occurrence waits for a window that has not opened yet.

    Attributes:
        until: the end of the opening that it waits for.
        message: for people.
    """

    until: datetime
    message: str


def located(reference: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of a window that is named by `name`, or by `namespace/name`, in a namespace."""
    place, slash, name = reference.rpartition("/")
    return (place, name) if slash else (namespace, name)


def binding_problem(names: Sequence[str], surroundings: Surroundings, namespace: str) -> Problem | None:
    """What is wrong with the windows that are named in a namespace; None where all may be named."""
    for reference in names:
        place, name = located(reference, namespace)
        window = surroundings.windows.get(reference)
        if window is None:
            where = "in this namespace" if place == namespace else f"in namespace {place!r}"
            message = f"MaintenanceWindow {name!r} does not exist {where}: create it or remove it from windows"
            if surroundings.served and place not in surroundings.served:
                message = (
                    f"MaintenanceWindow {name!r} was not looked for: Upkeep does not watch namespace {place!r}; add it "
                    "to UPKEEP_WATCH_NAMESPACES (watchNamespaces of the chart), or remove the window from windows"
                )
            return Problem(reason="WindowNotFound", message=message)
        if place != namespace and not speaks_for(window, namespace):
            message = (
                f"MaintenanceWindow {place}/{name} is not shared with namespace {namespace!r}: ask its owners to add "
                f"{namespace} to its spec.sharedWith, or remove it from windows"
            )
            return Problem(reason="WindowNotShared", message=message)
    return None


def verdict(names: Sequence[str], surroundings: Surroundings, namespace: str, now: datetime) -> Cause | Waiting | None:
    """Why what names these windows cannot start now, or for what it waits; None where it may start.

    Without names it may always start; where only freezes are named, whenever none of them lasts.
    """
    known = [(name, window) for name in names if (window := surroundings.windows.get(name))]
    if frost := frost_at(freezes_of(window for _, window in known), now):
        return frost.cause
    if names and all(_is_freeze(surroundings.windows.get(name)) for name in names):
        return None
    views = [_View.of(located(name, namespace), window, surroundings, now) for name, window in known]
    if not names or any(view.open and not view.frost for view in views):
        return None
    if waiting := next((view.pending for view in views if view.pending and not view.frost), None):
        return waiting
    if frost := next((view.frost for view in views if view.frost), None):
        return frost.cause
    bound = ", ".join(name for name in names if not _is_freeze(surroundings.windows.get(name)))
    return missed(Reason.WINDOW_CLOSED, f"none of its windows was open: {bound}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """How a window stands now.

    Attributes:
        open: whether it is open.
        pending: its opening has begun by its schedule, and it has not told yet whether it opens.
        frost: what freezes it in a time that would be its own.
    """

    open: bool = False
    pending: Waiting | None = None
    frost: Frost | None = None

    @classmethod
    def of(cls, place: tuple[str, str], window: Manifest, surroundings: Surroundings, now: datetime) -> "_View":
        try:
            spec = read_spec(window)
            opening = None if spec.suspend else opening_at(spec, now)
        except (ValidationError, ScheduleError):
            return cls()
        if spec.kind is WindowKind.FREEZE:
            return cls()
        status = recall(WindowStatus, window.get("status")).status
        is_open = _under_way(status.occurrence, now)
        if not is_open and opening is None:
            return cls()
        freezes = freezes_of(freeze for freeze in surroundings.freezes if speaks_for(freeze, place[0]))
        moments = {now} if is_open or opening is None else {now, opening.start}
        frosts = (frost_at(freezes, moment, urgency=spec.urgency) for moment in sorted(moments))
        frost = next((each for each in frosts if each), None)
        pending = None
        if opening and not is_open and not _has_told(spec, status, opening, window):
            message = f"waits for MaintenanceWindow {'/'.join(place)} to open, until {write_instant(opening.end)}"
            pending = Waiting(until=opening.end, message=message)
        return cls(open=is_open, pending=pending, frost=frost)


def _is_freeze(window: Manifest | None) -> bool:
    spec = window.get("spec") if window else None
    return isinstance(spec, Mapping) and spec.get("kind") == WindowKind.FREEZE


def _under_way(occurrence: WindowOccurrence | None, now: datetime) -> bool:
    if occurrence is None or occurrence.opened_at is None or (occurrence.closed_at or occurrence.restored_at):
        return False
    return now < read_instant(occurrence.end_time)


def _has_told(spec: WindowSpec, status: WindowStatus, opening: Opening, window: Manifest) -> bool:
    """Whether the status says already that this opening is over, or is not going to come about."""
    if status.observed_generation != window["metadata"].get("generation"):
        return False
    occurrence = status.occurrence
    if occurrence and occurrence.start_time == write_instant(opening.start):
        return occurrence.closed_at is not None
    handled, anchor = read_optional(status.last_schedule_time), status.schedule_anchor
    if handled and handled >= opening.start:
        return True
    # What lies before the schedule was first seen never opens.
    return anchor is not None and not declared(spec).once and read_instant(anchor.since) >= opening.start
