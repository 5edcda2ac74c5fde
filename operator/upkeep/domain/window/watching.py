"""After a window has closed: its checks again and again, because trouble now is most likely its fault.

Checks have numbers that follow from their time, so that none is made twice; those for which nobody was there are left
out. The next opening ends the watch of the one before.
"""

from dataclasses import replace
from typing import Final

from upkeep.api.window import Watch, WatchStatus, WindowOccurrence, WindowPhase, WindowSpec
from upkeep.domain.conditions import Fact
from upkeep.domain.decision import EventType
from upkeep.domain.history import LOST_MESSAGE, settled
from upkeep.domain.instants import read_instant, read_optional, write_instant
from upkeep.domain.window.ownrun import own_run
from upkeep.domain.window.stage import Stage
from upkeep.domain.work import steps_work

WATCH: Final = "watch"
HEALTHY: Final = "Healthy"


def watched(stage: Stage) -> Stage:
    """Make the next check of an opening that is over, and note how the last one went."""
    spec, over = stage.spec, stage.occurrence
    if spec is None or spec.watch is None or over is None or over.opened_at is None or over.closed_at is None:
        return stage
    until = read_instant(over.closed_at) + spec.watch.duration
    known = over.watch or WatchStatus(until=write_instant(until))
    if stage.now >= until and known.job is None:
        return stage
    stage = _noted(stage.becoming(watch=known), known)
    if stage.now >= until:
        return stage
    return _checking(replace(stage, phase=WindowPhase.WATCHING), spec, spec.watch).waking(until)


def _checking(stage: Stage, spec: WindowSpec, watch: Watch) -> Stage:
    """Start the check whose time has come, unless one still runs."""
    known, closed_at = stage.current.watch, read_instant(stage.current.closed_at or stage.current.end_time)
    steps = watch.steps or (spec.verify.steps if spec.verify else None)
    if known is None or known.job or steps is None:
        return stage
    number = int((stage.now - closed_at) / watch.interval)
    following = closed_at + (number + 1) * watch.interval
    if known.last is not None and known.last >= number:
        return stage.waking(following)
    check = own_run(stage.snapshot, stage.start, f"{WATCH}-{number}")
    stage = stage.doing(check.start(steps_work(check.owner, steps, spec.connections, watch.timeout)))
    return stage.becoming(watch=known.model_copy(update={"job": check.name, "last": number})).waking(following)


def _noted(stage: Stage, known: WatchStatus) -> Stage:
    """Take note of the end of a check; say so when health has changed."""
    if known.job is None:
        return stage
    run = next((run for run in stage.snapshot.runs if run.name == known.job), None)
    if run is not None and not settled(run, stage.now):
        return stage
    healthy = run is not None and run.outcome is not None and run.outcome.good
    message = "" if healthy else (run.message if run else LOST_MESSAGE)
    changes = {
        "job": None,
        "checks": known.checks + 1,
        "failures": known.failures + (not healthy),
        "healthy": healthy,
        "message": message[:300],
    }
    stage = stage.becoming(watch=known.model_copy(update=changes))
    if healthy == (known.healthy is not False):
        return stage
    if healthy:
        return stage.saying("HealthyAgain", f"check {known.job} has passed")
    return stage.saying("UnhealthyAfterMaintenance", blamed(stage.current, message), EventType.WARNING)


def blamed(occurrence: WindowOccurrence, message: str) -> str:
    """What is wrong, and the window as its probable cause."""
    closed_at = read_optional(occurrence.closed_at)
    when = f", which closed at {write_instant(closed_at)}" if closed_at else ""
    return f"{message}; the probable cause is the maintenance of {occurrence.start_time}{when}"


def health(stage: Stage) -> list[Fact]:
    """Healthy: of the last check after the last opening, as long as the watch lasts or it was bad."""
    watch = stage.occurrence.watch if stage.occurrence else None
    if watch is None or stage.occurrence is None:
        return []
    reason = {True: "ChecksPassed", False: "ChecksFailed", None: "NotChecked"}[watch.healthy]
    message = blamed(stage.occurrence, watch.message) if watch.healthy is False else f"watched until {watch.until}"
    return [Fact(type=HEALTHY, status=watch.healthy, reason=reason, message=message)]
