"""Into maintenance mode and out of it: the patches, each one write that carries change and record together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from upkeep.api.window.maintenance import MODE_LABEL
from upkeep.domain.maintenance.backend import described, titled
from upkeep.domain.maintenance.dialects import slots
from upkeep.domain.maintenance.matching import matching
from upkeep.domain.maintenance.patch import Patch, replaced, unchanged, with_entries, without_entries
from upkeep.domain.maintenance.record import (
    MODE_ON,
    OUR_ANNOTATIONS,
    OUR_LABELS,
    Holder,
    HolderEntry,
    RecordedAnnotation,
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
    """How an object is let go.

    Attributes:
        patch: what to write; None when there is nothing to write.
        conflicts: a sentence for each place that could not go back because somebody else had changed it.
        restored: True when the patch takes the object out of maintenance mode, False when others still hold it.
    """

    patch: Patch | None
    conflicts: tuple[str, ...] = ()
    restored: bool = False


def swap(
    item: Mapping[str, Any], holder: Holder, annotations: Mapping[str, str] | None = None
) -> Patch | Refusal | None:
    """What puts the object into maintenance mode for `holder`, or keeps it there for longer.

    The first holder swaps every backend; those who come later only enter themselves into the record, and a holder that
    comes again with another end or another page updates its entry. With `annotations` these are set instead, unless
    they are recorded already. None: nothing to do.
    """
    try:
        record = read_record(item)
    except UndoRecordError as error:
        return Refusal("UndoRecordUnreadable", str(error))
    entry = HolderEntry.of(holder)
    unset = {} if annotations is None else _unset(record, annotations)
    swaps = annotations is None and (record is None or record.applied is None)
    if unset or swaps:
        return refusal(item, swaps=swaps, redirects=holder.redirects) or _first(item, record, entry, unset)
    if record is None or entry in record.holders:
        return None
    return _rewritten(item, record, _joined(record, entry))


def release(item: Mapping[str, Any], *holder_uids: str) -> Release:
    """What lets go of the object for these holders; nothing for those who do not hold it.

    While others hold it, the leaving ones are struck from the record, and when it was their page that is shown, that of
    a remaining holder takes its place. The last one restores it: a place that still leads to the page gets back what it
    led to; one that somebody else has changed is left as it is and reported as a conflict, unless it is back already.
    Conflicts without a patch mean that the undo record cannot be read, or was removed: only a person can help.
    """
    try:
        record = read_record(item)
    except UndoRecordError as error:
        return Release(patch=None, conflicts=(str(error),))
    if record is None:
        lost = lost_record(item)
        return Release(patch=None, conflicts=(lost.message,) if lost else ())
    if not any(entry.uid in holder_uids for entry in record.holders):
        return Release(patch=None)
    remaining = [entry for entry in record.holders if entry.uid not in holder_uids]
    if not remaining:
        return _restored(item, record)
    patch = _rewritten(item, record, remaining)
    if isinstance(patch, Refusal):
        return Release(patch=None, conflicts=(patch.message,))
    return Release(patch=patch)


def _unset(record: UndoRecord | None, annotations: Mapping[str, str]) -> dict[str, str]:
    known = {each.key for each in record.annotations} if record else set()
    return {key: value for key, value in annotations.items() if key not in known}


def _joined(record: UndoRecord | None, entry: HolderEntry) -> list[HolderEntry]:
    others = [known for known in record.holders if known.uid != entry.uid] if record else []
    return [*others, entry]


def _first(
    item: Mapping[str, Any], record: UndoRecord | None, entry: HolderEntry, annotations: Mapping[str, str]
) -> Patch | Refusal:
    """The first to set annotations, or where there are none to set, to swap the backends."""
    if annotations:
        return _first_annotations(item, record, entry, annotations)
    page = entry.page(item)
    swappable = [slot for slot in slots(item) if slot.swappable]
    on_page = [slot for slot in swappable if slot.backend == page]
    # A path may well lead to a standby always; a page that nobody has recorded has lost its record.
    if on_page and not (entry.redirects and len(on_page) < len(swappable)):
        where = described(page) if entry.redirects else "the maintenance page"
        return Refusal(
            "AlreadyOnPage",
            f"{titled(item)} leads {on_page[0].place} to {where} already, without an undo record: its real "
            "backend is not known. Put the real one back, from Git for instance",
        )
    whole = UndoRecord(
        version=1,
        holders=_joined(record, entry),
        applied=page,
        fields=[RecordedField.of(slot) for slot in swappable],
        annotations=record.annotations if record else (),
    )
    return _recorded(
        item, whole, [op for slot in swappable for op in replaced(slot.pointer, old=slot.backend, new=page)]
    )


def _first_annotations(
    item: Mapping[str, Any], record: UndoRecord | None, entry: HolderEntry, annotations: Mapping[str, str]
) -> Patch | Refusal:
    current: Mapping[str, str] = item["metadata"].get("annotations") or {}
    fresh = [
        RecordedAnnotation(key=key, applied=value, original=current.get(key)) for key, value in annotations.items()
    ]
    whole = UndoRecord(
        version=1,
        holders=_joined(record, entry),
        applied=record.applied if record else None,
        fields=record.fields if record else (),
        annotations=[*(record.annotations if record else ()), *fresh],
    )
    return _recorded(item, whole, [], annotations)


def _rewritten(item: Mapping[str, Any], record: UndoRecord, entries: list[HolderEntry]) -> Patch | Refusal:
    """The record with other holders, and the page of one of them on every place that shows one that goes."""
    known = record.model_copy(update={"holders": entries})
    if record.applied is None or any(entry.page(item) == record.applied for entry in entries):
        return _recorded(item, known, [])
    page = known.last.page(item)
    change = [
        op
        for slot, _ in matching(record, item).pairs
        if slot.backend == record.applied
        for op in replaced(slot.pointer, old=record.applied, new=page)
    ]
    return _recorded(item, known.model_copy(update={"applied": page}), change)


def _recorded(
    item: Mapping[str, Any], record: UndoRecord, change: Patch, annotations: Mapping[str, str] | None = None
) -> Patch | Refusal:
    """One patch of a change, of annotations besides, and of the record of both."""
    metadata = item["metadata"]
    current: Mapping[str, str] = metadata.get("annotations") or {}
    wanted = {**(annotations or {}), **record.on_object}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in {**current, **wanted}.items())
    if size > _ANNOTATIONS_LIMIT:
        return Refusal(
            "UndoRecordTooLarge",
            f"the annotations of {titled(item)} would have {size} bytes with the record of its {len(record.fields)} "
            f"backends, more than the {_ANNOTATIONS_LIMIT} that Kubernetes allows. Divide it into several",
        )
    flag = with_entries(_LABELS, metadata.get("labels"), {MODE_LABEL: MODE_ON})
    return [*unchanged(item), *change, *flag, *with_entries(_ANNOTATIONS, current, wanted)]


def _restored(item: Mapping[str, Any], record: UndoRecord) -> Release:
    metadata = item["metadata"]
    found = matching(record, item)
    patch = unchanged(item)
    conflicts: list[str] = []
    for slot, field in found.pairs:
        if slot.backend == record.applied:
            patch += replaced(slot.pointer, old=slot.backend, new=field.original)
        elif slot.backend != field.original:
            conflicts.append(
                f"{slot.place} leads to {described(slot.backend)} now, which somebody set during the maintenance; it "
                f"was left like that (before: {described(field.original)})"
            )
    redirected = any(entry.redirects and entry.page(item) == record.applied for entry in record.holders)
    conflicts += [
        f"{slot.place} leads to the maintenance page, {described(slot.backend)}, but was not put there by Upkeep and "
        "nobody knows its real backend: set it"
        for slot in (() if redirected else found.strays)
    ]
    current: Mapping[str, str] = metadata.get("annotations") or {}
    added = set()
    for each in record.annotations:
        if current.get(each.key) not in {each.applied, each.original}:
            conflicts.append(
                f"the annotation {each.key} is {current.get(each.key)!r} now, which somebody set during the "
                f"maintenance; it was left like that (before: {each.original!r})"
            )
        elif each.original is None and each.key in current:
            added.add(each.key)
        elif each.original is not None:
            patch += with_entries(_ANNOTATIONS, current, {each.key: each.original})
    patch += without_entries(_ANNOTATIONS, current, OUR_ANNOTATIONS | added)
    patch += without_entries(_LABELS, metadata.get("labels"), OUR_LABELS)
    return Release(patch=patch, conflicts=tuple(conflicts), restored=True)
