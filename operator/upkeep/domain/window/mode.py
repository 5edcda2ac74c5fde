"""Maintenance mode of a window's targets: what to write to go in and out, and where each target stands."""

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.window import MaintenanceMode, Target, TargetState, TargetStatus
from upkeep.domain.decision import Announce, EventType, PatchIngress
from upkeep.domain.maintenance import (
    Holder,
    Refusal,
    UndoRecordError,
    forget_ownership,
    holders,
    refusal,
    release,
    swap,
)
from upkeep.domain.window.snapshot import Manifest, WindowSnapshot

PAGE_PORT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeStep:
    """What to do about the targets now, and where they stand."""

    targets: tuple[TargetStatus, ...]
    patches: tuple[PatchIngress, ...] = ()
    events: tuple[Announce, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing is left to write."""
        return not self.patches

    @property
    def refused(self) -> TargetStatus | None:
        """A target that cannot be put into maintenance mode, if there is one."""
        return next((target for target in self.targets if target.state is TargetState.REFUSED), None)


def survey(snapshot: WindowSnapshot, mode: MaintenanceMode) -> tuple[TargetStatus, ...]:
    """Where the targets stand while the window is closed."""
    return tuple(_surveyed(snapshot, target) for target in mode.targets)


def enter(
    snapshot: WindowSnapshot, mode: MaintenanceMode, before: tuple[TargetStatus, ...], *, until: datetime
) -> ModeStep:
    """What puts every target into maintenance mode, and lets go of those that are none any more."""
    identity = snapshot.identity
    holder = Holder(uid=identity.uid, window=identity.name, until=until, service=snapshot.page_service, port=PAGE_PORT)
    wanted = {target.name: target for target in mode.targets}
    gone = leave(snapshot, tuple(target for target in before if target.name not in wanted), besides=wanted)
    targets: list[TargetStatus] = list(gone.targets)
    patches: list[PatchIngress] = list(gone.patches)
    for target in wanted.values():
        ingress = snapshot.targets.get(target.name)
        if ingress is None:
            targets.append(_missing(target))
            continue
        answer = swap(ingress, holder)
        if isinstance(answer, Refusal):
            targets.append(_status(target, TargetState.REFUSED, answer.message))
            continue
        targets.append(_status(target, TargetState.MAINTENANCE))
        if answer is not None:
            patches.append(PatchIngress(name=target.name, patch=answer))
    return ModeStep(targets=tuple(targets), patches=tuple(patches), events=gone.events)


def leave(snapshot: WindowSnapshot, before: tuple[TargetStatus, ...], *, besides: Container[str] = ()) -> ModeStep:
    """What lets go of every target of this window but those in `besides`, whether or not the spec still names it.

    A conflict stays in the status of its target, since the record of it is gone from the Ingress afterwards.
    """
    known = {target.name: target for target in before}
    targets: list[TargetStatus] = []
    patches: list[PatchIngress] = []
    events: list[Announce] = []
    for name in (*known, *(name for name in snapshot.targets if name not in known and name not in besides)):
        ingress = snapshot.targets.get(name)
        target = Target(name=name)
        if ingress is None:
            targets.append(_missing(target))
            continue
        answer = release(ingress, snapshot.identity.uid)
        if answer.patch is not None:
            patches.append(PatchIngress(name=name, patch=answer.patch))
        elif not _held(ingress) and (forget := forget_ownership(ingress)) is not None:
            patches.append(PatchIngress(name=name, patch=forget))
        if answer.conflicts:
            message = "; ".join(answer.conflicts)
            events.append(Announce(type=EventType.WARNING, reason="RestoreConflict", message=message[:1000]))
            targets.append(_status(target, TargetState.CONFLICT, message))
        elif name in known and known[name].state is TargetState.CONFLICT:
            targets.append(known[name])
        else:
            targets.append(_status(target, TargetState.RESTORED))
    return ModeStep(targets=tuple(targets), patches=tuple(patches), events=tuple(events))


def holds_any(snapshot: WindowSnapshot) -> bool:
    """Whether a target is still in maintenance mode for this window."""
    uid = snapshot.identity.uid
    return any(_held(ingress, uid) for ingress in snapshot.targets.values())


def _held(ingress: Manifest, uid: str | None = None) -> bool:
    try:
        return any(uid is None or holder.uid == uid for holder in holders(ingress))
    except UndoRecordError:
        return False


def _surveyed(snapshot: WindowSnapshot, target: Target) -> TargetStatus:
    ingress = snapshot.targets.get(target.name)
    if ingress is None:
        return _missing(target)
    try:
        holders(ingress)
    except UndoRecordError as error:
        return _status(target, TargetState.REFUSED, str(error))
    problem = refusal(ingress)
    return _status(target, TargetState.REFUSED, problem.message) if problem else _status(target, TargetState.NORMAL)


def _missing(target: Target) -> TargetStatus:
    message = f"{target.kind} {target.name!r} does not exist in this namespace: create it or correct the name"
    return _status(target, TargetState.MISSING, message)


def _status(target: Target, state: TargetState, message: str = "") -> TargetStatus:
    return TargetStatus(kind=target.kind, name=target.name, state=state, message=message[:500])
