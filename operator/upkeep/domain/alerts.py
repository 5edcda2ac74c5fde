"""Alerts and silences of an Alertmanager, as decisions see them and ask for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from upkeep.api.window.gating import AlertMatcher, SilenceState

_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertQuery:
    """Which firing alerts are asked for: those for which all matchers hold."""

    alertmanager: str
    matchers: tuple[AlertMatcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringAlert:
    """An alert that fires, neither silenced nor inhibited.

    Attributes:
        name: its label alertname.
        fingerprint: of all its labels, by which Alertmanager tells it from others.
        since: since when it fires.
    """

    name: str
    fingerprint: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAnswer:
    """What an Alertmanager said.

    Attributes:
        query: what it was asked.
        asked_at: when.
        firing: the alerts that fire; None where it did not say.
        problem: why it did not say.
    """

    query: AlertQuery
    asked_at: datetime
    firing: Sequence[FiringAlert] | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSilence:
    """See to it that there is a silence, without waiting for it.

    Attributes:
        alertmanager: where, by its configured name.
        marker: stands in its comment, and in that of no other one; by it a silence is found whose id is not known.
        id: of the silence, empty where it is not known.
        matchers: alerts for which all of them hold.
        start, until: when it begins and ends, in whole seconds.
        planned: the end that it was given last; one that is over before that was ended by a person.
        comment: for people, with the marker.
    """

    alertmanager: str
    marker: str
    id: str
    matchers: tuple[AlertMatcher, ...]
    start: datetime
    until: datetime
    planned: datetime
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSilence:
    """See to it that a silence ends, without waiting for it.

    Attributes:
        alertmanager, marker, id: which one.
        until: when it ends by itself.
    """

    alertmanager: str
    marker: str
    id: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceReport:
    """What became of a silence.

    Attributes:
        alertmanager, marker: which one.
        id: empty where none was made yet.
        until: when it ends; None where none was made yet.
        state: Pending until it was made.
        problem: why the last attempt failed; empty where it did not.
    """

    alertmanager: str
    marker: str
    id: str = ""
    until: datetime | None = None
    state: SilenceState = SilenceState.PENDING
    problem: str = ""


def fires(alerts: Iterable[str]) -> str:
    """How many alerts fire, one name for each of them, and what the first are called."""
    found = list(alerts)
    names = sorted(set(found))
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    number = f"{len(found)} alerts fire" if len(found) > 1 else "an alert fires"
    return f"{number}: {', '.join(names[:_NAMED])}{more}"
