"""After a window has closed: its checks again and again, and alerts, because trouble now is most likely its fault.

Checks have numbers that follow from their time, so that none is made twice; those for which nobody was there are left
out. The next opening ends the watch of the one before.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from upkeep.api.steps import StepBase
from upkeep.api.window import Watch, WatchStatus, WindowPhase, WindowSpec
from upkeep.domain.alerts import fires
from upkeep.domain.conditions import Fact
from upkeep.domain.decision import EventType
from upkeep.domain.history import LOST_MESSAGE, settled
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.window.aftermath import alerted, blamed
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
    known = known.model_copy(update={"until": write_instant(until)})
    if stage.now >= until and known.job is None:
        return stage
    stage = _noted(stage.becoming(watch=known), known)
    if stage.now >= until:
        return stage
    stage = _checking(replace(stage, phase=WindowPhase.WATCHING), spec, spec.watch).waking(until)
    if spec.watch.no_firing_alerts is None or stage.current.watch is None:
        return stage
    return alerted(stage, stage.current.watch, spec.watch.no_firing_alerts)


def _checking(stage: Stage, spec: WindowSpec, watch: Watch) -> Stage:
    """Start the check whose time has come, unless one still runs."""
    known, closed_at = stage.current.watch, read_instant(stage.current.closed_at or stage.current.end_time)
    steps = _steps(spec)
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
    return stage.saying("UnhealthyAfterMaintenance", blamed(stage, message), EventType.WARNING)


def health(stage: Stage) -> list[Fact]:
    """Healthy: of the last check and alerts after the last opening, as long as the watch lasts or it was bad."""
    watch = stage.occurrence.watch if stage.occurrence else None
    if watch is None:
        return []
    firing = [alert.name for alert in watch.alerts if alert.firing]
    if watch.healthy is False or firing:
        wrong = [watch.message] if watch.healthy is False else []
        wrong += [fires(firing)] if firing else []
        reason = "ChecksFailed" if watch.healthy is False else "AlertsFiring"
        return [Fact(type=HEALTHY, status=False, reason=reason, message=blamed(stage, "; ".join(wrong)))]
    asked = stage.spec.watch if stage.spec else None
    if watch.alerts_problem:
        message = f"nobody knows which alerts fire: {watch.alerts_problem}"
        return [Fact(type=HEALTHY, status=None, reason="AlertsUnknown", message=message)]
    checked = watch.healthy or (stage.spec is not None and _steps(stage.spec) is None)
    quiet = watch.quiet or asked is None or asked.no_firing_alerts is None
    message = f"watched until {watch.until}"
    if not (checked and quiet):
        return [Fact(type=HEALTHY, status=None, reason="NotChecked", message=message)]
    reason = "ChecksPassed" if watch.healthy else "NoAlertsFiring"
    return [Fact(type=HEALTHY, status=True, reason=reason, message=message)]


def _steps(spec: WindowSpec) -> Sequence[StepBase] | None:
    """What is checked; None where only alerts are looked at."""
    if spec.watch and spec.watch.steps:
        return spec.watch.steps
    return spec.verify.steps if spec.verify else None
