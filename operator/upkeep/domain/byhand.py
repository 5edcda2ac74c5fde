"""Maintenance mode by hand: `kubectl annotate ingress shop upkeep.dev/maintenance=30m`, or `httproute`, `ingressroute`.

The annotation is a request; what serves it is an emergency MaintenanceWindow of its own, which belongs to the target.
One request opens at most one window, also when the annotation stays for ever because it comes from Git: that a request
was served stands on the target beside it, and on the window. Either alone is enough to not serve it a second time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from upkeep.actions.fields import format_duration, parse_duration
from upkeep.api.window import WindowPhase, WindowStatus
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.identity import BY_HAND_ANNOTATION, OWNER_KIND_LABEL, OWNER_UID_LABEL
from upkeep.domain.instants import read_instant
from upkeep.domain.recollection import recall
from upkeep.domain.window import TargetRef

REQUEST_ANNOTATION: Final = BY_HAND_ANNOTATION
"""On the target: for how long. On the window: which request it serves, until that is taken back."""
SERVED_ANNOTATION: Final = "upkeep.dev/maintenance-served"
"""On the target: the request that was served last, for as long as it stands there."""
KEPT: Final = timedelta(days=1)
"""How long a window that is over stays for people to read, once its request is taken back."""
LONGEST: Final = timedelta(hours=24)

_OVER: Final = frozenset({WindowPhase.COMPLETED, WindowPhase.FAILED, WindowPhase.SKIPPED, WindowPhase.CANCELLED})
_POLL: Final = timedelta(seconds=1)

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHandSnapshot:
    """What was seen.

    Attributes:
        target: the Ingress or route as read just now; None where it is gone.
        window: the one of the name that its window by hand has; None where there is none.
        now: the time of the decision.
    """

    target: Manifest | None
    window: Manifest | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """Create the window that serves a request."""

    request: str
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWindow:
    """Let the window serve another request, or none any more, and end so long after it began (None: as before).

    It was decided on for the window of this resourceVersion.
    """

    version: str
    request: str | None
    duration: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWindow:
    """Delete the window, which is over."""

    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteServed:
    """Note on the target which request was served; None: there is none to be noted any more."""

    request: str | None


Step = OpenWindow | ChangeWindow | DeleteWindow | NoteServed


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHandDecision:
    """What to do, in this order, what to say about the target, and when to look again."""

    steps: tuple[Step, ...] = ()
    events: tuple[Announce, ...] = ()
    wake_at: datetime | None = None


def concerns(target: Manifest) -> bool:
    """Whether an Ingress or a route has to do with maintenance by hand."""
    annotations = _annotations(target)
    return REQUEST_ANNOTATION in annotations or SERVED_ANNOTATION in annotations


def target_of(window: Manifest) -> TargetRef | None:
    """The Ingress or route that a window was opened for by hand; None for every other window."""
    metadata = window["metadata"]
    kind = (metadata.get("labels") or {}).get(OWNER_KIND_LABEL)
    if not kind:
        return None
    owners = metadata.get("ownerReferences") or ()
    return next((TargetRef(kind, owner["name"]) for owner in owners if owner.get("kind") == kind), None)


def decide(snapshot: ByHandSnapshot) -> ByHandDecision:
    """What a request, or its end, calls for now."""
    target, window = snapshot.target, snapshot.window
    if target is None or "deletionTimestamp" in target["metadata"]:
        return ByHandDecision()
    request, served = (_annotations(target).get(name) for name in (REQUEST_ANNOTATION, SERVED_ANNOTATION))
    if window is not None and not _belongs(window, target):
        message = (
            f"MaintenanceWindow {window['metadata']['name']!r} exists already and does not belong to this "
            f"{target['kind']}: delete or rename it"
        )
        return ByHandDecision(events=(_warning("MaintenanceNameTaken", message),)) if request else ByHandDecision()
    if request is None:
        return _taken_back(snapshot, window, served)
    if request == served:
        return ByHandDecision(events=_failure(window))
    try:
        duration = read_request(request)
    except ValueError as problem:
        return ByHandDecision(events=(_warning("MaintenanceNotUnderstood", str(problem)),))
    return _wanted(snapshot, window, request, duration)


def read_request(text: str) -> timedelta:
    """For how long a request asks.

    Raises:
        ValueError: it cannot be understood; the message says what to write.
    """
    advice = f"write for how long, for example {REQUEST_ANNOTATION}=30m, at most 24h; remove it to end maintenance"
    try:
        duration = parse_duration(text.strip())
    except ValueError:
        duration = timedelta(0)
    if not timedelta(0) < duration <= LONGEST:
        msg = f"{REQUEST_ANNOTATION}={text[:40]!r} changes nothing: {advice}"
        raise ValueError(msg)
    return duration


def _wanted(snapshot: ByHandSnapshot, window: Manifest | None, request: str, duration: timedelta) -> ByHandDecision:
    note, said = NoteServed(request=request), f"{REQUEST_ANNOTATION}={request}"
    if window is None:
        event = _normal("MaintenanceByHand", f"{said}: the maintenance page comes up, for {format_duration(duration)}")
        return ByHandDecision(steps=(OpenWindow(request=request, duration=duration), note), events=(event,))
    serves = _annotations(window).get(REQUEST_ANNOTATION)
    if serves == request:
        return ByHandDecision(steps=(note,))
    if _over(window):
        return ByHandDecision(steps=(DeleteWindow(uid=window["metadata"]["uid"]),), wake_at=snapshot.now)
    if not serves or snapshot.now >= _end(window):
        return ByHandDecision(wake_at=snapshot.now + _POLL)
    event = _normal("MaintenanceByHand", f"{said}: it ends {format_duration(duration)} after it began")
    change = ChangeWindow(version=_version(window), request=request, duration=duration)
    return ByHandDecision(steps=(change, note), events=(event,))


def _taken_back(snapshot: ByHandSnapshot, window: Manifest | None, served: str | None) -> ByHandDecision:
    forget = (NoteServed(request=None),) if served is not None else ()
    if window is None:
        return ByHandDecision(steps=forget)
    serves = REQUEST_ANNOTATION in _annotations(window)
    if not _over(window):
        if not serves:
            return ByHandDecision(steps=forget)
        # From its begin until now: so it is over, and says truly how long it was.
        passed = max(timedelta(seconds=1), snapshot.now - _begin(window))
        change = ChangeWindow(version=_version(window), request=None, duration=min(passed, _duration(window)))
        event = _normal("MaintenanceByHand", f"{REQUEST_ANNOTATION} was removed: the application comes back")
        return ByHandDecision(steps=(change, *forget), events=(event,))
    gone = _end(window) + KEPT
    if snapshot.now >= gone:
        return ByHandDecision(steps=(DeleteWindow(uid=window["metadata"]["uid"]), *forget))
    letting_go = (ChangeWindow(version=_version(window), request=None, duration=None),) if serves else ()
    return ByHandDecision(steps=(*letting_go, *forget), wake_at=gone)


def _failure(window: Manifest | None) -> tuple[Announce, ...]:
    """Why a request that was served led to nothing, for those who look at the target only."""
    if window is None:
        return ()
    status = recall(WindowStatus, window.get("status")).status
    if status.phase not in {WindowPhase.FAILED, WindowPhase.SKIPPED} or not status.history:
        return ()
    last = status.history[0]
    message = f"MaintenanceWindow {window['metadata']['name']}: {last.reason or 'Failed'}: {last.message}"
    return (_warning("MaintenanceByHandFailed", message),)


def _annotations(body: Manifest) -> Mapping[str, str]:
    return body["metadata"].get("annotations") or {}


def _belongs(window: Manifest, target: Manifest) -> bool:
    labels = window["metadata"].get("labels") or {}
    return bool(labels.get(OWNER_UID_LABEL) == target["metadata"]["uid"])


def _over(window: Manifest) -> bool:
    return recall(WindowStatus, window.get("status")).status.phase in _OVER


def _duration(window: Manifest) -> timedelta:
    return parse_duration(window["spec"]["duration"])


def _version(window: Manifest) -> str:
    return str(window["metadata"]["resourceVersion"])


def _begin(window: Manifest) -> datetime:
    return read_instant(window["metadata"]["creationTimestamp"])


def _end(window: Manifest) -> datetime:
    return _begin(window) + _duration(window)


def _normal(reason: str, message: str) -> Announce:
    return Announce(type=EventType.NORMAL, reason=reason, message=message)


def _warning(reason: str, message: str) -> Announce:
    return Announce(type=EventType.WARNING, reason=reason, message=message)
