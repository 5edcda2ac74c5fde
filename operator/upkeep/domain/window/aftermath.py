"""Alerts that come to fire after a window has closed: each is said once, with the window as its probable cause.

What fired before the window opened was not its doing. What nobody could find out is unknown, never fine.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from upkeep.api.window import WatchedAlert, WatchStatus
from upkeep.api.window.gating import NoFiringAlerts
from upkeep.api.window.status import MAX_ALERTS
from upkeep.domain.alerts import FiringAlert, fires
from upkeep.domain.decision import EventType
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.window.requires import FRESH, alert_query
from upkeep.domain.window.silence import unconfigured
from upkeep.domain.window.stage import Stage

ASK_AGAIN: Final = timedelta(seconds=15)
"""How long until an Alertmanager is asked again."""
_SOON: Final = timedelta(seconds=1)
"""How long until an answer is looked for that was asked for just now."""
MAX_PROBLEM: Final = 300


def alerted(stage: Stage, watch: WatchStatus, wanted: NoFiringAlerts) -> Stage:
    """Take note of the alerts that fire, and ask again."""
    if unknown := unconfigured(stage.snapshot, wanted.alertmanager):
        return _unknown(stage, watch, unknown).waking(stage.now + ASK_AGAIN)
    answer = stage.snapshot.aftermath
    if answer is None or answer.query != alert_query(wanted) or answer.asked_at + FRESH < stage.now:
        return stage.waking(stage.now + _SOON)
    stage = stage.waking(stage.now + ASK_AGAIN)
    if answer.firing is None:
        return _unknown(stage, watch, answer.problem)
    return _known(stage, watch, answer.firing)


def blamed(stage: Stage, message: str) -> str:
    """What is wrong, and the window as its probable cause."""
    occurrence = stage.current
    when = f", which closed at {occurrence.closed_at}" if occurrence.closed_at else ""
    return f"{message}; the probable cause is the maintenance of {occurrence.start_time}{when}"


def _unknown(stage: Stage, watch: WatchStatus, problem: str) -> Stage:
    if not watch.alerts_problem:
        stage = stage.saying("AlertsUnknown", f"nobody knows which alerts fire: {problem}", EventType.WARNING)
    changes = {"quiet": None, "alerts_problem": problem[:MAX_PROBLEM]}
    return stage.becoming(watch=watch.model_copy(update=changes))


def _known(stage: Stage, watch: WatchStatus, firing: Sequence[FiringAlert]) -> Stage:
    opened_at = read_instant(stage.current.opened_at or stage.current.start_time)
    ours = {alert.fingerprint: alert for alert in firing if alert.since >= opened_at}
    known = [alert.model_copy(update={"firing": alert.fingerprint in ours}) for alert in watch.alerts]
    fresh = [alert for fingerprint, alert in ours.items() if fingerprint not in {each.fingerprint for each in known}]
    fresh = sorted(fresh, key=lambda alert: (alert.since, alert.name))[: MAX_ALERTS - len(known)]
    new = [
        WatchedAlert(name=alert.name, fingerprint=alert.fingerprint, since=write_instant(alert.since))
        for alert in fresh
    ]
    if new:
        told = blamed(stage, fires(alert.name for alert in new))
        stage = stage.saying("UnhealthyAfterMaintenance", told, EventType.WARNING)
    if not ours and any(alert.firing for alert in watch.alerts):
        stage = stage.saying("HealthyAgain", "the alerts that came to fire are resolved")
    changes = {"quiet": not ours, "alerts": (*known, *new), "alerts_problem": ""}
    return stage.becoming(watch=watch.model_copy(update=changes))
