"""Routes of Upkeep's own beside the targets of a window: which there should be, and what to write for that."""

from collections.abc import Iterable
from datetime import datetime

from upkeep.api.window import MaintenanceMode
from upkeep.domain.decision import PatchTarget, PlaceCompanion, RemoveCompanion
from upkeep.domain.maintenance import Companion, Refusal, bypass, is_companion
from upkeep.domain.window.snapshot import Manifest, TargetRef, WindowSnapshot

CompanionWrite = PatchTarget | PlaceCompanion | RemoveCompanion


def has_companions(mode: MaintenanceMode | None) -> bool:
    """Whether a maintenance mode makes routes of its own."""
    return mode is not None and mode.bypass is not None


def companion(mode: MaintenanceMode, item: Manifest) -> Companion | Refusal | None:
    """What stands beside a target, or why nothing can; None where nothing should."""
    return bypass(item, mode.bypass) if mode.bypass else None


def placed(snapshot: WindowSnapshot, wanted: Companion, until: datetime) -> list[CompanionWrite]:
    """What makes a companion, or brings it up to date."""
    window = snapshot.identity
    ref = TargetRef(wanted.kind, wanted.name(window))
    known = snapshot.companions.get(ref)
    if known is None:
        return [PlaceCompanion(companion=wanted, until=until)]
    patch = wanted.refreshed(known, window, until)
    return [PatchTarget(kind=ref.kind, name=ref.name, patch=patch)] if patch else []


def removed(snapshot: WindowSnapshot, *, but: Iterable[Companion] = ()) -> list[CompanionWrite]:
    """What removes the companions of this window, all but those that are wanted."""
    window = snapshot.identity
    kept = {TargetRef(each.kind, each.name(window)) for each in but}
    return [
        RemoveCompanion(kind=ref.kind, name=ref.name, uid=item["metadata"]["uid"])
        for ref, item in snapshot.companions.items()
        if ref not in kept and is_companion(item, of=window.uid)
    ]
