"""The checklist of a window: what people tick off by hand, and what waits for it.

A tick is an annotation of the window, `checklist.upkeep.dev/<item>: <user>@<start of the opening>`. The policy that
guards approvals sees to it that nobody ticks in the name of another; where it is missing no tick counts.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from upkeep.api.window import (
    Checklist,
    ChecklistItem,
    ChecklistItemStatus,
    Moment,
    WindowOccurrence,
    WindowSpec,
)
from upkeep.domain.account import Cause, Reason, skipped
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import Opening
from upkeep.domain.window.approval import UNTRUSTED, WHOAMI, annotations_of
from upkeep.domain.window.held import Held
from upkeep.domain.window.snapshot import WindowSnapshot

TICK_PREFIX: Final = "checklist.upkeep.dev/"
CHECKLIST_INCOMPLETE: Final = "ChecklistIncomplete"


def tick_of(user: str, occurrence: str) -> str:
    """The value of the annotation with which a user ticks an item off, for the opening that begins then."""
    return f"{user}@{occurrence}"


def ticked_by(snapshot: WindowSnapshot, item: str, occurrence: str) -> str | None:
    """Who has ticked an item for an opening; None where nobody has, or where ticks could be forged."""
    user, _, when = annotations_of(snapshot.resource).get(f"{TICK_PREFIX}{item}", "").rpartition("@")
    return user if snapshot.approvals_trusted and user and when == occurrence else None


def open_items(snapshot: WindowSnapshot, items: Sequence[ChecklistItem], start: datetime) -> tuple[str, ...]:
    """Names of the required items that nobody has ticked for the opening at `start`."""
    occurrence = write_instant(start)
    return tuple(item.name for item in items if item.required and ticked_by(snapshot, item.name, occurrence) is None)


def checklist_gate(snapshot: WindowSnapshot, spec: WindowSpec, opening: Opening) -> Held | Cause | None:
    """Hold an opening back until what is to be done before it is ticked, for as long as there is time for its plan."""
    waits_for = open_items(snapshot, spec.checklist.before, opening.start) if spec.checklist else ()
    if not waits_for:
        return None
    latest = max(opening.start, opening.end - spec.cutoff)
    if snapshot.now >= latest:
        return skipped(Reason.CHECKLIST_INCOMPLETE, f"its checklist was not ticked: {', '.join(waits_for)}")
    return Held(
        reason=CHECKLIST_INCOMPLETE,
        message=f"waits for {', '.join(waits_for)}. {advice(snapshot, waits_for[0], opening.start)}",
        wake_at=latest,
    )


def advice(snapshot: WindowSnapshot, item: str, start: datetime) -> str:
    """Who may tick an item off, and how exactly."""
    if not snapshot.approvals_trusted:
        return UNTRUSTED
    identity, occurrence = snapshot.identity, write_instant(start)
    place = f"{identity.name} {item} -n {identity.namespace} --occurrence {occurrence}"
    tick = f"{TICK_PREFIX}{item}={tick_of(WHOAMI, occurrence)}"
    command = f"kubectl -n {identity.namespace} annotate mw {identity.name} --overwrite {tick}"
    return f"whoever has the verb tick on it can: kubectl upkeep tick {place}; or without the plugin: {command}"


def checklist_status(
    snapshot: WindowSnapshot,
    checklist: Checklist,
    known: Sequence[ChecklistItemStatus],
    *,
    last: WindowOccurrence | None,
    upcoming: datetime | None,
) -> tuple[ChecklistItemStatus, ...]:
    """Where every item stands.

    Args:
        snapshot: what was seen.
        checklist: the items.
        known: where they stood when the status was last written.
        last: the opening that is under way, or the last one that was open.
        upcoming: the start of the next one.
    """
    before = {(item.name, item.occurrence): item for item in known}
    under_way = last is not None and last.closed_at is None
    following = write_instant(upcoming) if upcoming else None
    states = []
    for moment, item in _moments(checklist):
        prepares = moment is Moment.BEFORE and not under_way
        occurrence = (following if prepares else None) or (last.start_time if last else None) or following
        if occurrence is None:
            continue
        over = last is not None and not under_way and occurrence == last.start_time
        fresh = _state(snapshot, item, moment, occurrence, before.get((item.name, occurrence)), over=over)
        states.append(fresh)
    return tuple(states)


def _state(
    snapshot: WindowSnapshot,
    item: ChecklistItem,
    moment: Moment,
    occurrence: str,
    known: ChecklistItemStatus | None,
    *,
    over: bool,
) -> ChecklistItemStatus:
    """Where an item stands; what was ticked of an opening that is `over` stays, whatever becomes of the annotation."""
    user = ticked_by(snapshot, item.name, occurrence)
    if user is None and known and over:
        return known.model_copy(update={"moment": moment, "required": item.required})
    seen = known.ticked_at if known and known.ticked_by == user else None
    return ChecklistItemStatus(
        name=item.name,
        moment=moment,
        required=item.required,
        occurrence=occurrence,
        ticked_by=user,
        ticked_at=(seen or write_instant(snapshot.now)) if user else None,
    )


def _moments(checklist: Checklist) -> Iterator[tuple[Moment, ChecklistItem]]:
    parts = ((Moment.BEFORE, checklist.before), (Moment.DURING, checklist.during), (Moment.AFTER, checklist.after))
    return ((moment, item) for moment, items in parts for item in items)
