"""A MaintenanceWindow beside an Alertmanager, which may not answer, and an operator that may forget."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from unit.domain.windowworld import WindowWorld
from upkeep.api.window.gating import AlertMatcher, NoFiringAlerts, SilenceState
from upkeep.controller.references import alerts_after, alerts_before
from upkeep.domain.alerts import AlertAnswer, EndSilence, FiringAlert, KeepSilence, SilenceReport
from upkeep.domain.decision import Action, Decision
from upkeep.domain.window import WindowSnapshot
from upkeep.domain.window.requires import alert_query

_RETRY = timedelta(seconds=30)


@dataclass
class Held:
    """A silence that the Alertmanager has, or has had."""

    marker: str
    matchers: tuple[AlertMatcher, ...]
    start: datetime
    end: datetime
    comment: str


@dataclass
class AlertWorld(WindowWorld):
    """A window and the Alertmanager `main`.

    Attributes:
        configured: names of the Alertmanagers of the platform.
        answers: whether `main` answers.
        firing: alerts that fire.
        asked: how often it was asked for them.
        since: when alerts came to fire.
        silences: all that were ever made, by id.
    """

    configured: Sequence[str] = ("main",)
    answers: bool = True
    firing: Sequence[str] = ()
    asked: int = 0
    silences: dict[str, Held] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)
    reports: dict[str, SilenceReport] = field(default_factory=dict)
    wanted: dict[str, KeepSilence | EndSilence] = field(default_factory=dict)

    def snapshot(self) -> WindowSnapshot:
        return replace(
            super().snapshot(),
            alertmanagers=frozenset(self.configured),
            alerts=self._answer(alerts_before(self.live, self.now)),
            aftermath=self._answer(alerts_after(self.live, self.now)),
            silences=tuple(self.reports.values()),
        )

    def act(self, *, crash_after: int | None = None) -> Decision | None:
        told = dict(self.reports)
        for wanted in list(self.wanted.values()):
            self._see_to(wanted)
        decision = super().act(crash_after=crash_after)
        if crash_after is not None:
            self.forget()
        elif self.reports != told:
            self.wake_at = self.now
        elif any(report.problem for report in self.reports.values()):
            self.wake_at = min(self.wake_at or self.now + _RETRY, self.now + _RETRY)
        return decision

    def forget(self) -> None:
        """Another operator takes over, who knows only what is written."""
        self.reports, self.wanted, self.wake_at = {}, {}, self.now

    def standing(self) -> list[Held]:
        """The silences in force."""
        return [held for held in self.silences.values() if held.end > self.now]

    def expire_by_hand(self) -> None:
        """Somebody ends what is silenced."""
        for held in self.standing():
            held.end = self.now
        for marker, report in self.reports.items():
            wanted = self.wanted.get(marker)
            if isinstance(wanted, KeepSilence) and report.state is SilenceState.ACTIVE:
                self._see_to(wanted)

    def condition(self, name: str) -> tuple[str, str]:
        found = next((each for each in self.status["conditions"] if each["type"] == name), None)
        return (found["status"], found["reason"]) if found else ("", "")

    def _do(self, action: Action) -> None:
        if isinstance(action, KeepSilence | EndSilence):
            self.wanted[action.marker] = action
            self._see_to(action)
        else:
            super()._do(action)

    def _answer(self, raw: object) -> AlertAnswer | None:
        if raw is None:
            return None
        query = alert_query(NoFiringAlerts.model_validate(raw))
        if query.alertmanager not in self.configured:
            return None
        self.asked += 1
        if not self.answers:
            return AlertAnswer(query=query, asked_at=self.now, firing=None, problem="main does not answer")
        firing = [self._alert(name, number) for number, name in enumerate(self.firing)]
        return AlertAnswer(query=query, asked_at=self.now, firing=firing)

    def _alert(self, name: str, number: int) -> FiringAlert:
        """An alert under its name, of which there may be several: it fires since it was first asked about."""
        fingerprint = f"{name}-{self.firing[:number].count(name)}"
        return FiringAlert(name=name, fingerprint=fingerprint, since=self.since.setdefault(fingerprint, self.now))

    def _see_to(self, wanted: KeepSilence | EndSilence) -> None:
        known = self.reports.get(wanted.marker)
        report = known or SilenceReport(alertmanager=wanted.alertmanager, marker=wanted.marker)
        if report.state not in {SilenceState.PENDING, SilenceState.ACTIVE}:
            return
        if wanted.until <= self.now:
            report = replace(report, state=SilenceState.ENDED, problem="")
        elif not self.answers:
            report = replace(report, problem="main does not answer")
        elif isinstance(wanted, KeepSilence):
            report = self._kept(wanted)
        else:
            for held in self.standing():
                held.end = self.now if held.marker == wanted.marker else held.end
            report = replace(report, state=SilenceState.ENDED, problem="")
        self.reports[wanted.marker] = report

    def _kept(self, wanted: KeepSilence) -> SilenceReport:
        report = SilenceReport(alertmanager=wanted.alertmanager, marker=wanted.marker)
        own = {identifier: held for identifier, held in self.silences.items() if held.marker == wanted.marker}
        standing = [identifier for identifier, held in own.items() if held.end > self.now]
        if not standing and any(held.end < wanted.planned for held in own.values()):
            return replace(report, state=SilenceState.EXPIRED_BY_HAND)
        identifier = standing[0] if standing else f"silence-{len(self.silences)}"
        held = self.silences.setdefault(
            identifier, Held(wanted.marker, wanted.matchers, self.now, wanted.until, wanted.comment)
        )
        held.matchers, held.end = wanted.matchers, wanted.until
        return replace(report, id=identifier, until=wanted.until, state=SilenceState.ACTIVE)
