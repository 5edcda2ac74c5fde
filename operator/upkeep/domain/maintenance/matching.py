"""Which recorded backend belongs to which place of an object that others may have edited meanwhile.

Position says nothing: a rule inserted in front moves all others. A place is found by what it serves (host, path,
path type). Two more things happen to real objects: the same place stands there twice, and a place is renamed while
it leads to the page, with `kubectl edit` for instance. Both are resolved as far as that is not a guess.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from upkeep.domain.maintenance.backend import Place, Slot
from upkeep.domain.maintenance.dialects import slots
from upkeep.domain.maintenance.record import RecordedField, UndoRecord

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The outcome.

    Attributes:
        pairs: places with the record of what they led to, whatever they lead to now.
        strays: places that lead to the page although nothing is recorded for them: somebody else's doing.
    """

    pairs: Sequence[tuple[Slot, RecordedField]]
    strays: Sequence[Slot]


def matching(record: UndoRecord, item: Mapping[str, Any]) -> Matching:
    """Pairs what was recorded with what is there. A recorded place that is gone is in no pair."""
    current = _grouped(slots(item), lambda slot: slot.place)
    pairs: list[tuple[Slot, RecordedField]] = []
    strays: list[Slot] = []
    gone: list[RecordedField] = []
    for place, fields in _grouped(record.fields, lambda field: field.place).items():
        here = current.pop(place, [])
        if len(here) != len(fields):
            here = [slot for slot in here if slot.backend == record.applied]
        pairs += zip(here, fields, strict=False)
        strays += here[len(fields) :]
        gone += fields[len(here) :]
    strays += [slot for here in current.values() for slot in here if slot.backend == record.applied]
    for same in (_same_host, _same_path):
        renamed = _renamed(strays, gone, same)
        pairs += renamed
        strays = [slot for slot in strays if all(slot is not known for known, _ in renamed)]
        gone = [field for field in gone if all(field is not known for _, known in renamed)]
    return Matching(pairs=pairs, strays=strays)


def _renamed(
    strays: Sequence[Slot], gone: Sequence[RecordedField], key: Callable[[Place], Hashable]
) -> list[tuple[Slot, RecordedField]]:
    """Strays that a place that is gone became: as many came as went, or all that went led to the same backend."""
    lost = _grouped(gone, lambda field: key(field.place))
    pairs: list[tuple[Slot, RecordedField]] = []
    for shared, found in _grouped(strays, lambda slot: key(slot.place)).items():
        candidates = lost.get(shared, [])
        if len(candidates) == len(found) or all(field.original == candidates[0].original for field in candidates):
            pairs += zip(found, candidates, strict=False)
    return pairs


def _same_host(place: Place) -> Hashable:
    return place.default, place.host


def _same_path(place: Place) -> Hashable:
    return place.default, place.path, place.path_type


def _grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    groups: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)
