"""Routes of Upkeep's own beside the targets of a window: which there should be, and what to write for that."""

from collections.abc import Iterable
from datetime import datetime

from upkeep.api.window import MaintenanceMode, Strategy
from upkeep.domain.decision import PatchTarget, PlaceCompanion, RemoveCompanion
from upkeep.domain.maintenance import (
    MODE_LABEL,
    OVERLAY,
    Companion,
    Refusal,
    bypass,
    companion_target,
    is_companion,
    overlays,
)
from upkeep.domain.window.snapshot import Manifest, TargetRef, WindowSnapshot

CompanionWrite = PatchTarget | PlaceCompanion | RemoveCompanion


def has_companions(mode: MaintenanceMode | None) -> bool:
    """Whether a maintenance mode makes routes of its own."""
    return mode is not None and (mode.bypass is not None or mode.strategy is Strategy.OVERLAY)


def companions(
    snapshot: WindowSnapshot, mode: MaintenanceMode, item: Manifest, port: int
) -> tuple[Companion, ...] | Refusal:
    """What stands beside a target, in the order in which to make it, or why nothing can."""
    past = bypass(item, mode.bypass) if mode.bypass else None
    if isinstance(past, Refusal):
        return past
    over: tuple[Companion, ...] | Refusal = ()
    if mode.strategy is Strategy.OVERLAY:
        over = overlays(item, snapshot.page_service, port, snapshot.ingress_classes)
    if isinstance(over, Refusal):
        return over
    # Before users meet the page, so that there is no moment at which nobody can pass.
    return (*((past,) if past else ()), *over)


def overlaid(snapshot: WindowSnapshot, ref: TargetRef | None = None) -> bool:
    """Whether a page of this window lies over a target, or over any."""
    return any(
        is_companion(item, of=snapshot.identity.uid)
        and item["metadata"]["labels"][MODE_LABEL] == OVERLAY
        and (ref is None or companion_target(item) == f"{ref.kind}/{ref.name}")
        for item in snapshot.companions.values()
    )


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
