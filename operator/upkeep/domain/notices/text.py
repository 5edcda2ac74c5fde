"""What the messages of a window say: what, when in its own zone and in UTC, how long, and who is affected."""

from datetime import UTC, datetime, timedelta
from typing import Final

from upkeep.actions.fields import format_duration
from upkeep.actions.text import several
from upkeep.api.window import WindowSpec
from upkeep.api.window.notices import Notice, NoticeKind
from upkeep.domain.identity import Identity
from upkeep.domain.instants import read_instant
from upkeep.domain.notices.post import Message
from upkeep.domain.schedule import ScheduleError, occurrence_end
from upkeep.domain.zone import zone_named

MAX_SUBJECT: Final = 100
_MOST_NAMES: Final = 20
_MINUTE: Final = timedelta(minutes=1)
_SOON: Final = timedelta(seconds=90)
_DAYS: Final = timedelta(hours=48)


def compose(notice: Notice, window: Identity, spec: WindowSpec | None, now: datetime) -> Message:
    """The text of a message, as it is true now.

    Args:
        notice: what it is about.
        window: whose it is.
        spec: None where it cannot be read at the moment.
        now: the time at which it is sent.
    """
    start, name = read_instant(notice.occurrence), f"{window.namespace}/{window.name}"
    zone = spec.time_zone if spec else "Etc/UTC"
    match notice.kind:
        case NoticeKind.ANNOUNCEMENT:
            again = " after all" if notice.round else ""
            what, tail = f"opens{again} in {remaining(start - now)}", ""
        case NoticeKind.WITHDRAWN:
            what, tail = "does not take place as announced", notice.text
        case NoticeKind.CHANGED:
            what, tail = f"ends {_shift(notice)} than announced", f"it was to end {_written(notice.text, zone)}"
        case NoticeKind.OPENED:
            what, tail = "is open", ""
        case NoticeKind.COMPLETED:
            what, tail = "is over: completed", notice.text
        case NoticeKind.FAILED:
            what, tail = "is over: FAILED", notice.text
        case NoticeKind.NOT_OPENED:
            what, tail = "was not opened", notice.text
        case NoticeKind.UNHEALTHY:
            what = "is over, and something is wrong"
            tail = f"{notice.text}; the probable cause is this maintenance"
        case NoticeKind.ALERTS:
            what = "is over, and alerts fire"
            tail = f"{notice.text}; the probable cause is this maintenance"
        case NoticeKind.RESOLVED:
            what, tail = "is over, and its alerts are resolved", ""
        case NoticeKind.RECOVERED:
            what, tail = "is over, and all is well again", ""
    subject = f"{spec.kind if spec else 'Maintenance'} {name} {what}"
    lines = [f"{subject}{f': {tail}' if tail else ''}.", "", *_when(notice, spec, start, zone)]
    lines += _details(spec) if spec else []
    return Message(subject=_shortened(subject, name), body="\n".join(lines).replace("..\n", ".\n"))


def remaining(left: timedelta) -> str:
    """A time that is left, to the minute: `40 minutes`, `3 days 4 hours`; less than 90 seconds to the second."""
    if left <= _SOON:
        return several(max(0, round(left.total_seconds())), "second")
    minutes = round(left / _MINUTE)
    if left >= _DAYS:
        days, hours = divmod(round(minutes / 60), 24)
        return several(days, "day") + (f" {several(hours, 'hour')}" if hours else "")
    hours, minutes = divmod(minutes, 60)
    parts = [several(hours, "hour")] if hours else []
    parts += [several(minutes, "minute")] if minutes or not hours else []
    return " ".join(parts)


def moment(instant: datetime, zone: str) -> str:
    """`Sun 2026-11-29 02:00 CET (01:00 UTC)`: the local time first, and the day in UTC only where it is another."""
    universal = instant.astimezone(UTC)
    try:
        local = instant.astimezone(zone_named(zone))
    except ScheduleError:
        local = universal
    written = local.strftime("%a %Y-%m-%d %H:%M %Z")
    if local.utcoffset() == timedelta(0):
        return written
    day = "" if local.date() == universal.date() else universal.strftime("%a %Y-%m-%d ")
    return f"{written} ({day}{universal.strftime('%H:%M')} UTC)"


def _when(notice: Notice, spec: WindowSpec | None, start: datetime, zone: str) -> list[str]:
    lines = [f"Start:    {moment(start, zone)}"]
    if spec and notice.kind in {NoticeKind.ANNOUNCEMENT, NoticeKind.CHANGED, NoticeKind.OPENED}:
        end = read_instant(notice.end) if notice.end else occurrence_end(start, spec.duration)
        after = format_duration(end - start)
        lines.append(f"End:      {moment(end, zone)} at the latest, {after} after the start")
    return lines


def _shift(notice: Notice) -> str:
    # Instants in a status are all written alike, so that their order is that of their texts.
    return "earlier" if notice.end and notice.end < notice.text else "later"


def _written(instant: str, zone: str) -> str:
    try:
        return moment(read_instant(instant), zone)
    except ValueError:
        return instant


def _details(spec: WindowSpec) -> list[str]:
    lines = []
    if spec.maintenance_mode:
        names = [f"{target.kind} {target.name}" for target in spec.maintenance_mode.targets if target.name]
        backend = spec.maintenance_mode.backend
        seen = f"users are sent to {backend}" if backend else "users see a maintenance page"
        lines.append(f"Affected: {_listed(names)} ({seen})" if names else "")
    if spec.plan:
        lines.append(f"Tasks:    {_listed(list(map(str, spec.plan.tasks)))}")
    if spec.change:
        lines.append(f"Reason:   {spec.change.reason}")
        lines.append(f"Risk:     {spec.change.risk}" if spec.change.risk else "")
        lines.append(f"Ticket:   {spec.change.ticket}" if spec.change.ticket else "")
    lines.append(f"Reason:   {spec.reason}" if spec.reason else "")
    return [line for line in lines if line]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _shortened(subject: str, name: str) -> str:
    """Names may be long; what happens must stay readable."""
    excess = len(subject) - MAX_SUBJECT
    return subject if excess <= 0 else subject.replace(name, f"{name[: max(1, len(name) - excess - 1)]}…", 1)
