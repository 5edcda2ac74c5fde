"""The silence of an opening: from the moment it opens until it closes, and never beyond the end of the window.

What there should be is said again in every decision while the window is open; who carries it out compares that with
what the Alertmanager has. A silence is a favour to people on call: it never delays or stops a window.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.window import WindowOccurrence, WindowSpec, WindowStatus
from upkeep.api.window.gating import Silence, SilenceState, SilenceStatus
from upkeep.domain.alerts import EndSilence, KeepSilence, SilenceReport
from upkeep.domain.conditions import Fact
from upkeep.domain.decision import Action, Announce, EventType
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.window.snapshot import WindowSnapshot

SILENCED: Final = "Silenced"
NOT_CONFIGURED: Final = "AlertmanagerNotConfigured"
FAILED: Final = "AlertmanagerFailed"
_STANDS: Final = frozenset({SilenceState.PENDING, SilenceState.ACTIVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What to do about the silence of an opening, and where it stands.

    Attributes:
        silence: for the status; None where there never was one.
        fact: the condition `Silenced`; None for a window that silences nothing.
        wake_at: when it runs out although nobody could end it.
    """

    silence: SilenceStatus | None
    fact: Fact | None = None
    actions: tuple[Action, ...] = ()
    events: tuple[Announce, ...] = ()
    wake_at: datetime | None = None


def quiet(
    snapshot: WindowSnapshot, status: WindowStatus, spec: WindowSpec | None, occurrence: WindowOccurrence | None
) -> Quiet:
    """What to do about the silence of an opening.

    Args:
        snapshot: what is there now.
        status: as it was.
        spec: None where it cannot be read.
        occurrence: the opening as this decision leaves it; None where there has been none yet.
    """
    declared = spec.silence if spec else None
    before = occurrence.silence if occurrence else None
    if occurrence is None or declared is None or occurrence.opened_at is None or occurrence.closed_at is not None:
        return _ended(snapshot, occurrence, before, declared=declared is not None)
    ticket = spec.change.ticket if spec and spec.change else ""
    if before and before.alertmanager != declared.alertmanager:
        moved = _ended(snapshot, occurrence, before, declared=True)
        made = _kept(snapshot, status, declared, occurrence, None, ticket=ticket)
        return Quiet(silence=made.silence, fact=made.fact, actions=(*moved.actions, *made.actions), events=made.events)
    return _kept(snapshot, status, declared, occurrence, before, ticket=ticket)


def unconfigured(snapshot: WindowSnapshot, name: str) -> str | None:
    """What to say of an Alertmanager that the platform has not configured; None where it has."""
    if name in snapshot.alertmanagers:
        return None
    known = ", ".join(sorted(snapshot.alertmanagers)) or "none"
    return f"Alertmanager {name!r} is not configured (configured: {known}): name one of those, or ask who runs Upkeep"


def _kept(
    snapshot: WindowSnapshot,
    status: WindowStatus,
    declared: Silence,
    occurrence: WindowOccurrence,
    before: SilenceStatus | None,
    *,
    ticket: str,
) -> Quiet:
    if unknown := unconfigured(snapshot, declared.alertmanager):
        return _told(status, before, NOT_CONFIGURED, unknown)
    if before and before.state not in _STANDS:
        return Quiet(silence=before, fact=_not_again(before))
    report = _report(snapshot, occurrence, declared.alertmanager)
    silence = _advanced(before, report, declared, occurrence)
    if silence.state not in _STANDS:
        fact = _not_again(silence)
        event = Announce(type=EventType.WARNING, reason="SilenceExpired", message=fact.message)
        return Quiet(silence=silence, fact=fact, events=(event,))
    keep = _order(snapshot, declared, occurrence, silence, ticket=ticket)
    if report and report.problem:
        told = _told(status, silence, FAILED, report.problem)
        return Quiet(silence=silence, fact=told.fact, actions=(keep,), events=told.events)
    if silence.state is SilenceState.PENDING:
        return Quiet(silence=silence, fact=_fact(status=False, reason="Pending"), actions=(keep,))
    message = f"until {silence.until} in Alertmanager {silence.alertmanager!r}, silence {silence.id}"
    new = before is None or before.state is SilenceState.PENDING
    event = Announce(type=EventType.NORMAL, reason="AlertsSilenced", message=message)
    return Quiet(
        silence=silence,
        fact=_fact(status=True, reason="Active", message=f"alerts are silenced {message}"),
        actions=(keep,),
        events=(event,) if new else (),
    )


def _ended(
    snapshot: WindowSnapshot, occurrence: WindowOccurrence | None, before: SilenceStatus | None, *, declared: bool
) -> Quiet:
    off = _fact(status=False, reason="Off") if declared else None
    if before is None or occurrence is None or before.state not in _STANDS:
        return Quiet(silence=before, fact=off)
    until, report = read_instant(before.until), _report(snapshot, occurrence, before.alertmanager)
    if snapshot.now >= until or (report and report.state not in _STANDS):
        return Quiet(silence=before.model_copy(update={"state": SilenceState.ENDED}), fact=off)
    if unconfigured(snapshot, before.alertmanager):
        return Quiet(silence=before, fact=off, wake_at=until)
    end = EndSilence(alertmanager=before.alertmanager, marker=_marker(snapshot, occurrence), id=before.id, until=until)
    message = f"ends at {before.until} by itself" + (f"; {report.problem}" if report and report.problem else "")
    return Quiet(
        silence=before,
        fact=_fact(status=before.state is SilenceState.ACTIVE, reason="Ending", message=message),
        actions=(end,),
        wake_at=until,
    )


def _advanced(
    before: SilenceStatus | None, report: SilenceReport | None, declared: Silence, occurrence: WindowOccurrence
) -> SilenceStatus:
    """Where the silence stands by what was reported last."""
    known = before or SilenceStatus(
        alertmanager=declared.alertmanager, state=SilenceState.PENDING, until=occurrence.end_time
    )
    if report is None or report.state is SilenceState.PENDING:
        return known
    until = write_instant(report.until) if report.until else known.until
    return known.model_copy(update={"state": report.state, "id": report.id, "until": until})


def _order(
    snapshot: WindowSnapshot, declared: Silence, occurrence: WindowOccurrence, silence: SilenceStatus, *, ticket: str
) -> KeepSilence:
    identity, marker = snapshot.identity, _marker(snapshot, occurrence)
    until = read_instant(occurrence.end_time)
    what = f"{identity.kind} {identity.namespace}/{identity.name}, opening of {occurrence.start_time}"
    return KeepSilence(
        alertmanager=declared.alertmanager,
        marker=marker,
        id=silence.id,
        matchers=tuple(declared.matchers),
        start=read_instant(occurrence.opened_at or occurrence.start_time),
        until=until,
        planned=read_instant(silence.until) if silence.id else until,
        comment=" ".join(filter(None, (what, ticket, f"[{marker}]"))),
    )


def _marker(snapshot: WindowSnapshot, occurrence: WindowOccurrence) -> str:
    return f"upkeep:{snapshot.identity.uid}/{occurrence.start_time}"


def _report(snapshot: WindowSnapshot, occurrence: WindowOccurrence, alertmanager: str) -> SilenceReport | None:
    marker = _marker(snapshot, occurrence)
    found = (each for each in snapshot.silences if each.alertmanager == alertmanager and each.marker == marker)
    return next(found, None)


def _told(status: WindowStatus, silence: SilenceStatus | None, reason: str, message: str) -> Quiet:
    """Something is in the way; it is said once as an Event, and as long as it lasts as a condition."""
    said = any(each.type == SILENCED and each.reason == reason for each in status.conditions)
    event = Announce(type=EventType.WARNING, reason=reason, message=message[:1000])
    fact = _fact(status=False, reason=reason, message=message)
    return Quiet(silence=silence, fact=fact, events=() if said else (event,))


def _not_again(silence: SilenceStatus) -> Fact:
    """An opening gets one silence: whoever has ended it must not find it made again."""
    by_hand = silence.state is SilenceState.EXPIRED_BY_HAND
    who = "somebody has expired the silence of this opening" if by_hand else "the silence of this opening was ended"
    return _fact(status=False, reason=str(silence.state), message=f"{who}; it is not made again")


def _fact(*, status: bool, reason: str, message: str = "") -> Fact:
    return Fact(type=SILENCED, status=status, reason=reason, message=message)
