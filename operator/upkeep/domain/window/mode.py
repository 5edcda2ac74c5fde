"""Maintenance mode of a window's targets: what to write to go in and out, and where each target stands."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from upkeep.api.window import MaintenanceMode, Strategy, Target, TargetState, TargetStatus
from upkeep.domain.conditions import Problem
from upkeep.domain.decision import Announce, EventType, PatchTarget
from upkeep.domain.maintenance import (
    Companion,
    Holder,
    Patch,
    Refusal,
    UndoRecordError,
    forget_ownership,
    holders,
    refusal,
    release,
    swap,
)
from upkeep.domain.window.backend import backend_problem
from upkeep.domain.window.companions import CompanionWrite, companions, overlaid, placed, removed
from upkeep.domain.window.snapshot import Manifest, TargetRef, WindowSnapshot

PAGE_PORT: Final = 80

_ORIGINS: Final[Mapping[str, str]] = {
    "HTTPRoute": "the Gateway API (gateway.networking.k8s.io/v1)",
    "IngressRoute": "Traefik's resources (traefik.io/v1alpha1)",
}
"""What brings a kind that a cluster may not know."""
_NOTHING_TO_SWAP: Final = "NoBackend"
_JOINS: Final = frozenset({TargetState.NORMAL, TargetState.MISSING, TargetState.REFUSED})
"""Where a target of an open window stands that was never in maintenance mode, so that it may still come to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeStep:
    """What to do about the targets now, and where they stand."""

    targets: tuple[TargetStatus, ...]
    writes: tuple[CompanionWrite, ...] = ()
    events: tuple[Announce, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing is left to write."""
        return not self.writes

    @property
    def refused(self) -> TargetStatus | None:
        """A target that cannot be put into maintenance mode, if there is one."""
        return next((target for target in self.targets if target.state is TargetState.REFUSED), None)


def survey(snapshot: WindowSnapshot, mode: MaintenanceMode) -> tuple[TargetStatus, ...]:
    """Where the targets stand while the window is closed."""
    return tuple(_surveyed(snapshot, mode, ref) for ref in _wanted(snapshot, mode))


def mode_problem(snapshot: WindowSnapshot, mode: MaintenanceMode) -> Problem | None:
    """What is wrong with the targets; None where each can be put into maintenance mode."""
    for status in survey(snapshot, mode):
        if status.state is TargetState.MISSING:
            return Problem(reason="TargetNotFound", message=status.message)
        if status.state is TargetState.REFUSED:
            return Problem(reason="TargetRefused", message=status.message)
    if mode.backend and (problem := backend_problem(snapshot, mode.backend)):
        return problem
    for target in mode.targets:
        if target.selector and not any(_selects(target, ref, item) for ref, item in snapshot.targets.items()):
            what = _unknown(target.kind) if target.kind in snapshot.unknown_kinds else _unmatched(target)
            return Problem(reason="TargetNotFound", message=what)
    return None


def enter(
    snapshot: WindowSnapshot,
    mode: MaintenanceMode,
    before: tuple[TargetStatus, ...],
    *,
    until: datetime,
    opened: bool = False,
) -> ModeStep:
    """What puts every target into maintenance mode, and lets go of those that are none any more.

    Args:
        snapshot: what was seen.
        mode: the targets.
        before: where they stood.
        until: when the window ends.
        opened: whether it is open already; then what somebody took off the page is not put there again, but what comes
            to be a target joins, and so does a target that was made anew.
    """
    identity = snapshot.identity
    service, port = (mode.backend.service, mode.backend.port) if mode.backend else (snapshot.page_service, PAGE_PORT)
    holder = Holder(
        uid=identity.uid,
        window=identity.name,
        until=until,
        service=service,
        port=port,
        redirects=mode.backend is not None,
    )
    known = {_ref(target): target for target in before}
    wanted = _wanted(snapshot, mode)
    gone = _left(snapshot, tuple(status for ref, status in known.items() if ref not in wanted), besides=wanted)
    targets: list[TargetStatus] = list(gone.targets)
    writes: list[CompanionWrite] = list(gone.writes)
    events: list[Announce] = list(gone.events)
    kept: list[Companion] = []
    for ref in wanted:
        item, status = snapshot.targets.get(ref), known.get(ref)
        if item is None:
            targets.append(_missing(snapshot, ref))
            continue
        present = _held(item, identity.uid) or overlaid(snapshot, ref)
        if opened and status and not _joins(status, item) and not present:
            targets.append(_taken_off(ref, status))
            continue
        answer, beside = _entrance(mode, item, holder), companions(snapshot, mode, item, PAGE_PORT)
        if isinstance(answer, Refusal) or isinstance(beside, Refusal):
            refused = [each.message for each in (answer, beside) if isinstance(each, Refusal)]
            targets.append(_status(ref, TargetState.REFUSED, refused[0]))
            if opened and status != targets[-1]:
                events.append(_warning("TargetRefused", targets[-1].message))
            continue
        held = _status(ref, TargetState.MAINTENANCE)
        targets.append(held.model_copy(update={"uid": item["metadata"].get("uid", "")}))
        kept += beside
        writes += (write for each in beside for write in placed(snapshot, each, until))
        if answer is not None:
            writes.append(PatchTarget(kind=ref.kind, name=ref.name, patch=answer))
    writes += removed(snapshot, but=kept)
    return ModeStep(targets=tuple(targets), writes=tuple(writes), events=tuple(events))


def leave(snapshot: WindowSnapshot, before: tuple[TargetStatus, ...]) -> ModeStep:
    """What lets go of every target of this window, whether or not the spec still names it, and of all beside them.

    A conflict stays in the status of its target, since the record of it is gone from the object afterwards.
    """
    step = _left(snapshot, before)
    return replace(step, writes=(*step.writes, *removed(snapshot)))


def _left(
    snapshot: WindowSnapshot, before: tuple[TargetStatus, ...], *, besides: Container[TargetRef] = ()
) -> ModeStep:
    """Without all targets but those in `besides`."""
    known = {_ref(target): target for target in before}
    targets: list[TargetStatus] = []
    writes: list[CompanionWrite] = []
    events: list[Announce] = []
    for ref in (*known, *(ref for ref in snapshot.targets if ref not in known and ref not in besides)):
        item = snapshot.targets.get(ref)
        if item is None:
            targets.append(_missing(snapshot, ref))
            continue
        answer = release(item, snapshot.identity.uid)
        if answer.patch is not None:
            writes.append(PatchTarget(kind=ref.kind, name=ref.name, patch=answer.patch))
        elif not _held(item) and (forget := forget_ownership(item)) is not None:
            writes.append(PatchTarget(kind=ref.kind, name=ref.name, patch=forget))
        if answer.conflicts:
            message = "; ".join(answer.conflicts)
            events.append(_warning("RestoreConflict", message))
            targets.append(_status(ref, TargetState.CONFLICT, message, before=known.get(ref)))
        elif ref in known and known[ref].state is TargetState.CONFLICT:
            targets.append(known[ref])
        elif ref in known or answer.patch is not None:
            targets.append(_status(ref, TargetState.RESTORED, before=known.get(ref)))
    return ModeStep(targets=tuple(targets), writes=tuple(writes), events=tuple(events))


def holds_any(snapshot: WindowSnapshot) -> bool:
    """Whether a target is still in maintenance mode for this window."""
    return seen_by_users(snapshot) is not None


def seen_by_users(snapshot: WindowSnapshot) -> str | None:
    """What users of the targets see for as long as one is in maintenance mode for this window; None when none is."""
    uid = snapshot.identity.uid
    held = [holder for item in snapshot.targets.values() for holder in _holders(item) if holder.uid == uid]
    if not held:
        return "users see the maintenance page" if overlaid(snapshot) else None
    away = next((holder for holder in held if holder.redirects), None)
    return f"users are sent to Service {away.service}:{away.port}" if away else "users see the maintenance page"


def _wanted(snapshot: WindowSnapshot, mode: MaintenanceMode) -> dict[TargetRef, None]:
    """The targets in the order of the spec, each once; a selected one stays a target for as long as it is held."""
    return dict.fromkeys(ref for target in mode.targets for ref in _resolved(snapshot, mode, target))


def _resolved(snapshot: WindowSnapshot, mode: MaintenanceMode, target: Target) -> Iterator[TargetRef]:
    if target.name is not None:
        yield TargetRef(target.kind, target.name)
        return
    uid, swaps = snapshot.identity.uid, mode.strategy is not Strategy.ANNOTATIONS
    for ref, item in snapshot.targets.items():
        if ref.kind != target.kind:
            continue
        # Redirects and the challenges of certificate authorities are often labelled like what they belong to.
        if (
            _held(item, uid)
            or overlaid(snapshot, ref)
            or (_selects(target, ref, item) and not (swaps and _has_nothing_to_swap(item)))
        ):
            yield ref


def _entrance(mode: MaintenanceMode, item: Manifest, holder: Holder) -> Patch | Refusal | None:
    """What to write to a target itself, or why that must not be; None where there is nothing to write."""
    if mode.strategy is Strategy.OVERLAY:
        return release(item, holder.uid).patch
    return swap(item, holder, _annotations(mode))


def _annotations(mode: MaintenanceMode) -> Mapping[str, str] | None:
    return mode.annotations if mode.strategy is Strategy.ANNOTATIONS else None


def _selects(target: Target, ref: TargetRef, item: Manifest) -> bool:
    if target.selector is None or ref.kind != target.kind:
        return False
    return target.selector.matches(item["metadata"].get("labels") or {})


def _has_nothing_to_swap(item: Manifest) -> bool:
    try:
        problem = None if holders(item) else refusal(item)
    except UndoRecordError:
        return False
    return problem is not None and problem.reason == _NOTHING_TO_SWAP


def _joins(status: TargetStatus, item: Manifest) -> bool:
    return status.state in _JOINS or status.uid not in {"", item["metadata"].get("uid")}


def _held(item: Manifest, uid: str | None = None) -> bool:
    return any(uid is None or holder.uid == uid for holder in _holders(item))


def _holders(item: Manifest) -> tuple[Holder, ...]:
    try:
        return holders(item)
    except UndoRecordError:
        return ()


def _surveyed(snapshot: WindowSnapshot, mode: MaintenanceMode, ref: TargetRef) -> TargetStatus:
    item = snapshot.targets.get(ref)
    if item is None:
        return _missing(snapshot, ref)
    problem = None
    if mode.strategy is not Strategy.OVERLAY:
        try:
            holders(item)
        except UndoRecordError as error:
            return _status(ref, TargetState.REFUSED, str(error))
        problem = refusal(item, swaps=mode.strategy is Strategy.BACKEND_SWAP, redirects=mode.backend is not None)
    if problem is None and isinstance(beside := companions(snapshot, mode, item, PAGE_PORT), Refusal):
        problem = beside
    return _status(ref, TargetState.REFUSED, problem.message) if problem else _status(ref, TargetState.NORMAL)


def _missing(snapshot: WindowSnapshot, ref: TargetRef) -> TargetStatus:
    absent = f"{ref} does not exist in this namespace: create it or correct the name"
    message = _unknown(ref.kind) if ref.kind in snapshot.unknown_kinds else absent
    return _status(ref, TargetState.MISSING, message)


def _unknown(kind: str) -> str:
    origin = _ORIGINS.get(kind, kind)
    return f"this cluster does not know the kind {kind}: install {origin}, or take it out of maintenanceMode.targets"


def _unmatched(target: Target) -> str:
    return f"there is no {target} in this namespace: label what is to be in maintenance mode, or correct the selector"


def _taken_off(ref: TargetRef, before: TargetStatus) -> TargetStatus:
    if before.state is not TargetState.MAINTENANCE:
        return before
    message = "somebody took it off the maintenance page while the window was open"
    return _status(ref, TargetState.RESTORED, message, before=before)


def _ref(target: TargetStatus) -> TargetRef:
    return TargetRef(target.kind, target.name)


def _warning(reason: str, message: str) -> Announce:
    return Announce(type=EventType.WARNING, reason=reason, message=message[:1000])


def _status(
    ref: TargetRef, state: TargetState, message: str = "", *, before: TargetStatus | None = None
) -> TargetStatus:
    uid = before.uid if before else ""
    return TargetStatus(kind=ref.kind, name=ref.name, uid=uid, state=state, message=message[:500])
