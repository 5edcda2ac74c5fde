"""What users may know of windows: what is under maintenance, what lies ahead, what is over.

It takes what was written for users, the times, and in one word how an opening ended. Names, namespaces, reasons, tasks,
findings and messages stay inside: nothing of a window is in here that a stranger may not read.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from upkeep.actions.fields import Model
from upkeep.api.status import Ending, OccurrenceRecord
from upkeep.api.window import Page, StatusPage, UpcomingState, WindowKind, WindowOccurrence, WindowStatus
from upkeep.domain.account import Reason
from upkeep.domain.cron import ScheduleError
from upkeep.domain.instants import read_instant
from upkeep.domain.recollection import recall
from upkeep.domain.zone import zone_named

MOST_AHEAD: Final = 20
MOST_OVER: Final = 10
_LATELY: Final = timedelta(days=7)
"""How long something that is over is told of."""
_SOON: Final = timedelta(days=92)
"""How long before its start something is told of."""
_UNSEEN: Final = frozenset({Reason.EXCLUDED, Reason.FROZEN, Reason.SUSPENDED, Reason.SCHEDULE_CHANGED})
"""Why openings did not take place that nobody was told of."""

_Read = TypeVar("_Read", bound=Model)


class State(StrEnum):
    """Where a maintenance stands, for users."""

    ACTIVE = "Active"
    PLANNED = "Planned"
    CANCELLED = "Cancelled"
    COMPLETED = "Completed"
    FAILED = "Failed"
    NOT_HELD = "NotHeld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What somebody wrote for users, in one language and as translations of title and message by language tag."""

    title: str
    message: str
    language: str
    translations: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One maintenance.

    Attributes:
        id: the same for as long as it is told of; nothing can be learned from it.
        state: where it stands.
        start: when it began or begins.
        end: when it ended; of one that is active or planned, when it is expected to.
        zone: the time zone that its owners think in.
        wording: None where nobody wrote anything.
    """

    id: str
    state: State
    start: datetime
    end: datetime
    zone: str
    wording: Wording | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulletin:
    """All that there is to be told at a moment: under way by their ends, ahead by their starts, over newest first."""

    active: tuple[Entry, ...] = ()
    ahead: tuple[Entry, ...] = ()
    over: tuple[Entry, ...] = ()


def published(windows: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Everything that windows tell users, whenever it is; of those without a `statusPage`, and of freezes, nothing."""
    return tuple(entry for window in windows for entry in _entries(window))


def bulletin(entries: Iterable[Entry], now: datetime) -> Bulletin:
    """What of it is worth telling now."""
    active: list[Entry] = []
    ahead: list[Entry] = []
    over: list[Entry] = []
    for entry in entries:
        match entry.state:
            case State.ACTIVE:
                active.append(entry)
            case State.PLANNED | State.CANCELLED if now < entry.end:
                # What should have begun and has not is about to, or nobody knows: it is not under maintenance yet.
                ahead += [entry] if entry.start <= now + _SOON else []
            case State.COMPLETED | State.FAILED | State.NOT_HELD | State.CANCELLED:
                over += [entry] if now - _LATELY <= entry.end else []
    return Bulletin(
        active=tuple(sorted(active, key=lambda entry: (entry.end, entry.id))),
        ahead=tuple(sorted(ahead, key=lambda entry: (entry.start, entry.id))[:MOST_AHEAD]),
        over=tuple(sorted(over, key=lambda entry: (entry.end, entry.id), reverse=True)[:MOST_OVER]),
    )


def _entries(window: Mapping[str, Any]) -> Iterator[Entry]:
    spec = _mapping(window.get("spec"))
    shown = _read(StatusPage, spec.get("statusPage"))
    if shown is None or spec.get("kind") == WindowKind.FREEZE:
        return
    base = Entry(
        id=str(_mapping(window.get("metadata")).get("uid", "")),
        state=State.PLANNED,
        start=_EPOCH,
        end=_EPOCH,
        zone=_zone(spec.get("timeZone")),
        wording=_wording(shown, spec),
    )
    status = recall(WindowStatus, window.get("status")).status
    under_way = status.occurrence if status.occurrence and not status.occurrence.closed_at else None
    found: list[tuple[str, Entry]] = []
    if under_way:
        found.append(_current(base, under_way))
    for opening in status.upcoming:
        states = {UpcomingState.PLANNED: State.PLANNED, UpcomingState.CANCELLED: State.CANCELLED}
        if opening.state in states:
            start, end = read_instant(opening.start_time), read_instant(opening.end_time)
            found.append((opening.start_time, replace(base, state=states[opening.state], start=start, end=end)))
    found += [entry for record in status.history for entry in _over(base, record)]
    seen: set[str] = set()
    for occurrence, entry in found:
        if occurrence not in seen:
            seen.add(occurrence)
            yield replace(entry, id=hashlib.sha256(f"{base.id}\0{occurrence}".encode()).hexdigest()[:16])


def _current(base: Entry, occurrence: WindowOccurrence) -> tuple[str, Entry]:
    end = read_instant(occurrence.end_time)
    if occurrence.opened_at:
        entry = replace(base, state=State.ACTIVE, start=read_instant(occurrence.opened_at), end=end)
    else:
        entry = replace(base, start=read_instant(occurrence.start_time), end=end)
    return occurrence.start_time, entry


def _over(base: Entry, record: OccurrenceRecord) -> Sequence[tuple[str, Entry]]:
    """What the history tells of one opening; nothing of several at once, and of what nobody was told of."""
    scheduled = record.scheduled_time
    if scheduled is None or record.count:
        return ()
    if record.ending is Ending.RAN:
        if record.outcome is None or record.completion_time is None:
            return ()
        state = State.COMPLETED if record.outcome.good else State.FAILED
        start, end = read_instant(record.start_time or scheduled), read_instant(record.completion_time)
    elif record.reason in _UNSEEN:
        return ()
    else:
        state = State.CANCELLED if record.reason == Reason.CANCELLED else State.NOT_HELD
        start = end = read_instant(scheduled)
    return [(scheduled, replace(base, state=state, start=start, end=end))]


def _wording(shown: StatusPage, spec: Mapping[str, Any]) -> Wording | None:
    source: StatusPage | Page | None = shown
    if not shown.title:
        page = _read(Page, _mapping(spec.get("maintenanceMode")).get("page"))
        usual = Page()
        source = page if page and (page.title, page.message) != (usual.title, usual.message) else None
    if source is None:
        return None
    translations = {each.language: (each.title, each.message) for each in source.translations}
    return Wording(title=source.title, message=source.message, language=source.language, translations=translations)


def _zone(name: object) -> str:
    try:
        return zone_named(str(name)).key
    except ScheduleError:
        return "Etc/UTC"


def _read(model: type[_Read], value: object) -> _Read | None:
    try:
        return None if value is None else model.model_validate(value)
    except ValidationError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


_EPOCH: Final = read_instant("1970-01-01T00:00:00Z")
