"""Into maintenance mode and out of it: the patches, each one write that carries change and record together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from upkeep.domain.maintenance.backend import described, slots, titled
from upkeep.domain.maintenance.matching import matching
from upkeep.domain.maintenance.patch import Patch, replaced, unchanged, with_entries, without_entries
from upkeep.domain.maintenance.record import (
    MODE_LABEL,
    MODE_ON,
    OUR_ANNOTATIONS,
    OUR_LABELS,
    Holder,
    HolderEntry,
    RecordedField,
    UndoRecord,
    UndoRecordError,
    read_record,
)
from upkeep.domain.maintenance.refusal import Refusal, lost_record, refusal

_ANNOTATIONS: Final = "/metadata/annotations"
_LABELS: Final = "/metadata/labels"
_ANNOTATIONS_LIMIT: Final = 256 * 1024
"""Bytes of all keys and values together (TotalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation)."""


@dataclass(frozen=True, slots=True)
class Release:
    """How an Ingress is let go.

    Attributes:
        patch: what to write; None when there is nothing to write.
        conflicts: a sentence for each place that could not go back because somebody else had changed it.
        restored: True when the patch takes the Ingress out of maintenance mode, False when others still hold it.
    """

    patch: Patch | None
    conflicts: tuple[str, ...] = ()
    restored: bool = False


def swap(ingress: Mapping[str, Any], holder: Holder) -> Patch | Refusal | None:
    """What puts the Ingress into maintenance mode for `holder`, or keeps it there for longer.

    The first holder swaps every backend; those who come later only enter themselves into the record, and a holder that
    comes again with another end or another page updates its entry. None: nothing to do.
    """
    try:
        record = read_record(ingress)
    except UndoRecordError as error:
        return Refusal("UndoRecordUnreadable", str(error))
    entry = HolderEntry.of(holder)
    if record is None:
        return refusal(ingress) or _first_swap(ingress, entry)
    if entry in record.holders:
        return None
    others = [known for known in record.holders if known.uid != entry.uid]
    return _rewritten(ingress, record, [*others, entry])


def release(ingress: Mapping[str, Any], *holder_uids: str) -> Release:
    """What lets go of the Ingress for these holders; nothing for those who do not hold it.

    While others hold it, the leaving ones are struck from the record, and when it was their page that is shown, that of
    a remaining holder takes its place. The last one restores it: a place that still leads to the page gets back what it
    led to; one that somebody else has changed is left as it is and reported as a conflict, unless it is back already.
    Conflicts without a patch mean that the undo record cannot be read, or was removed: only a person can help.
    """
    try:
        record = read_record(ingress)
    except UndoRecordError as error:
        return Release(patch=None, conflicts=(str(error),))
    if record is None:
        lost = lost_record(ingress)
        return Release(patch=None, conflicts=(lost.message,) if lost else ())
    if not any(entry.uid in holder_uids for entry in record.holders):
        return Release(patch=None)
    remaining = [entry for entry in record.holders if entry.uid not in holder_uids]
    if not remaining:
        return _restored(ingress, record)
    patch = _rewritten(ingress, record, remaining)
    if isinstance(patch, Refusal):
        return Release(patch=None, conflicts=(patch.message,))
    return Release(patch=patch)


def _first_swap(ingress: Mapping[str, Any], entry: HolderEntry) -> Patch | Refusal:
    metadata = ingress["metadata"]
    swappable = [slot for slot in slots(ingress) if slot.place.swappable]
    on_page = next((slot for slot in swappable if slot.backend == entry.page), None)
    if on_page is not None:
        return Refusal(
            "AlreadyOnPage",
            f"{titled(ingress)} leads {on_page.place} to the maintenance page "
            f"already, without an undo record: its real backend is not known. Put the real one back, from Git for "
            "instance",
        )
    record = UndoRecord(
        version=1,
        holders=[entry],
        applied=entry.page,
        fields=[RecordedField.of(slot) for slot in swappable],
    )
    change = [op for slot in swappable for op in replaced(slot.pointer, old=slot.backend, new=entry.page)]
    flag = with_entries(_LABELS, metadata.get("labels"), {MODE_LABEL: MODE_ON})
    return _recorded(ingress, record, [*change, *flag])


def _rewritten(ingress: Mapping[str, Any], record: UndoRecord, entries: list[HolderEntry]) -> Patch | Refusal:
    """The record with other holders, and the page of one of them on every place that shows one that goes."""
    known = UndoRecord(version=1, holders=entries, applied=record.applied, fields=record.fields)
    if any(entry.page == record.applied for entry in entries):
        return _recorded(ingress, known, [])
    page = known.last.page
    change = [
        op
        for slot, _ in matching(record, ingress).pairs
        if slot.backend == record.applied
        for op in replaced(slot.pointer, old=record.applied, new=page)
    ]
    return _recorded(ingress, known.model_copy(update={"applied": page}), change)


def _recorded(ingress: Mapping[str, Any], record: UndoRecord, change: Patch) -> Patch | Refusal:
    """One patch of a change and the record of it."""
    current: Mapping[str, str] = ingress["metadata"].get("annotations") or {}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in {**current, **record.annotations}.items())
    if size > _ANNOTATIONS_LIMIT:
        return Refusal(
            "UndoRecordTooLarge",
            f"the annotations of {titled(ingress)} would have {size} bytes with "
            f"the record of its {len(record.fields)} backends, more than the {_ANNOTATIONS_LIMIT} that Kubernetes "
            "allows. Divide it into several Ingresses",
        )
    return [*unchanged(ingress), *change, *with_entries(_ANNOTATIONS, current, record.annotations)]


def _restored(ingress: Mapping[str, Any], record: UndoRecord) -> Release:
    metadata = ingress["metadata"]
    found = matching(record, ingress)
    patch = unchanged(ingress)
    conflicts = []
    for slot, field in found.pairs:
        if slot.backend == record.applied:
            patch += replaced(slot.pointer, old=slot.backend, new=field.original)
        elif slot.backend != field.original:
            conflicts.append(
                f"{slot.place} leads to {described(slot.backend)} now, which somebody set during the maintenance; it "
                f"was left like that (before: {described(field.original)})"
            )
    conflicts += [
        f"{slot.place} leads to the maintenance page, {described(slot.backend)}, but was not put there by Upkeep and "
        "nobody knows its real backend: set it"
        for slot in found.strays
    ]
    patch += without_entries(_ANNOTATIONS, metadata.get("annotations"), OUR_ANNOTATIONS)
    patch += without_entries(_LABELS, metadata.get("labels"), OUR_LABELS)
    return Release(patch=patch, conflicts=tuple(conflicts), restored=True)
