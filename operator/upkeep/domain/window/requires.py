"""The gate of `requires`: nothing opens before alerts are quiet, backups are verified, and required checks have passed.

What nobody could find out counts as not fulfilled. The window waits for as long as it may still open.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.api.status import Trigger
from upkeep.api.window import WindowSpec
from upkeep.api.window.gating import NoFiringAlerts, Requirements
from upkeep.domain.account import Cause, Reason, skipped
from upkeep.domain.alerts import AlertQuery, fires
from upkeep.domain.decision import StartRun
from upkeep.domain.history import SETTLING, settled
from upkeep.domain.openings import Opening
from upkeep.domain.run import Run
from upkeep.domain.window.backups import unverified
from upkeep.domain.window.held import Held
from upkeep.domain.window.mode import holds_any
from upkeep.domain.window.ownrun import own_run
from upkeep.domain.window.silence import unconfigured
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import steps_work

FRESH: Final = timedelta(seconds=15)
"""How old an answer of an Alertmanager may be for a window to open on it."""
ASK_AGAIN: Final = timedelta(seconds=10)
"""How long until an Alertmanager is asked again."""
_SOON: Final = timedelta(seconds=1)
"""How long until an answer is looked for that was asked for just now."""
CHECK_AGAIN: Final = timedelta(seconds=30)
"""How long after a failure the checks run again."""
VALID: Final = timedelta(minutes=5)
"""How old checks that have passed may be for a window to open on them."""
PART: Final = "requires-"


def requires(snapshot: WindowSnapshot, spec: WindowSpec, opening: Opening) -> Held | Cause | None:
    """What of the requirements is not fulfilled; None where nothing stands in the way.

    Once a target shows the page it is too late to wait: alerts may fire for just that reason.
    """
    wanted = spec.requires
    if wanted is None or holds_any(snapshot):
        return None
    held = _alerts(snapshot, wanted.no_firing_alerts) if wanted.no_firing_alerts else None
    held = held or unverified(snapshot, wanted.verified_backups or ())
    held = held or _checks(snapshot, spec, wanted, opening)
    if held is None:
        return None
    latest = max(opening.start, opening.end - spec.cutoff)
    if snapshot.now >= latest:
        return skipped(Reason.REQUIREMENT_NOT_MET, f"{held.reason}: {held.message}")
    return replace(held, wake_at=min(held.wake_at or latest, latest))


def alert_query(wanted: NoFiringAlerts) -> AlertQuery:
    """What an Alertmanager is asked for a requirement."""
    return AlertQuery(alertmanager=wanted.alertmanager, matchers=tuple(wanted.matchers))


def is_check(run: Run) -> bool:
    """Whether a run is one of the checks before an opening."""
    return run.occasion.trigger is Trigger.WINDOW and run.occasion.schedule.startswith(PART)


def _alerts(snapshot: WindowSnapshot, wanted: NoFiringAlerts) -> Held | None:
    again = snapshot.now + ASK_AGAIN
    if unknown := unconfigured(snapshot, wanted.alertmanager):
        return Held(reason="AlertsUnknown", message=unknown, wake_at=again)
    answer = snapshot.alerts
    if answer is None or answer.query != alert_query(wanted) or answer.asked_at + FRESH < snapshot.now:
        message = f"Alertmanager {wanted.alertmanager!r} has not said yet which alerts fire"
        return Held(reason="AlertsUnknown", message=message, wake_at=snapshot.now + _SOON)
    if answer.firing is None:
        return Held(reason="AlertsUnknown", message=answer.problem, wake_at=again)
    if answer.firing:
        message = f"{fires(alert.name for alert in answer.firing)}; it opens when they are resolved"
        return Held(reason="AlertsFiring", message=message, wake_at=again)
    return None


def _checks(snapshot: WindowSnapshot, spec: WindowSpec, wanted: Requirements, opening: Opening) -> Held | None:
    if wanted.steps is None:
        return None
    tries = _tries(snapshot, opening.start)
    if not tries:
        message = "the required checks run first"
        return Held(reason="ChecksRunning", message=message, starts=(_try(snapshot, spec, wanted, opening, 1),))
    number, last = max(tries.items())
    failed = [run for run in tries.values() if not run.active and not _passed(run)]
    reason = "ChecksFailed" if failed else "ChecksRunning"
    if not settled(last, snapshot.now):
        trouble = f": {last.trouble.message}" if last.trouble else ""
        wake_at = None if last.active else _end(last) + SETTLING
        return Held(reason=reason, message=f"{last.name} checks what is required{trouble}", wake_at=wake_at)
    if _passed(last) and snapshot.now < _end(last) + VALID:
        return None
    message = f"{last.name}: {last.message or 'the required checks did not pass'}"
    again = _end(last) + CHECK_AGAIN
    if not _passed(last) and snapshot.now < again:
        return Held(reason=reason, message=message, wake_at=again)
    return Held(reason=reason, message=message, starts=(_try(snapshot, spec, wanted, opening, number + 1),))


def _tries(snapshot: WindowSnapshot, start: datetime) -> dict[int, Run]:
    """The runs of the checks of an opening, by their number."""
    found = (run for run in snapshot.runs if is_check(run) and run.occasion.scheduled == start)
    numbers = ((run.occasion.schedule.removeprefix(PART), run) for run in found)
    return {int(number): run for number, run in numbers if number.isdecimal()}


def _try(snapshot: WindowSnapshot, spec: WindowSpec, wanted: Requirements, opening: Opening, number: int) -> StartRun:
    check = own_run(snapshot, opening.start, f"{PART}{number}")
    return check.start(steps_work(check.owner, wanted.steps or [], spec.connections, wanted.timeout))


def _passed(run: Run) -> bool:
    return run.outcome is not None and run.outcome.good


def _end(run: Run) -> datetime:
    return run.finished or run.created
