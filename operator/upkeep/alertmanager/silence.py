"""Brings about what is wanted of a silence, whatever is there already.

Both functions may be repeated, and cut off at any point: what exists is found by its id, or by the marker in its
comment, before anything is made. What a person has ended stays ended.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from upkeep.alertmanager.client import Alertmanager, HeldSilence
from upkeep.api.window.gating import AlertMatcher, SilenceState
from upkeep.domain.alerts import EndSilence, KeepSilence, SilenceReport

_EXACT: Final = timedelta(seconds=1)
"""Two ends that are closer than this are the same."""


async def keep(alertmanager: Alertmanager, wanted: KeepSilence, *, namespace: str) -> SilenceReport:
    """Make the silence, or make it as it should be.

    Args:
        alertmanager: where.
        wanted: the silence; its end lies ahead.
        namespace: that it is asked for in; where the platform demands it, only alerts of it are silenced.

    Raises:
        AlertmanagerError: it failed; it may or may not have been made.
    """
    report = SilenceReport(alertmanager=wanted.alertmanager, marker=wanted.marker)
    standing, over = await _found(alertmanager, wanted)
    if not standing and any(silence.end + _EXACT < wanted.planned for silence in over):
        return replace(report, id=over[0].id, until=over[0].end, state=SilenceState.EXPIRED_BY_HAND)
    first = standing[0] if standing else None
    for twin in standing[1:]:
        await alertmanager.expire(twin.id)
    matchers = confined(wanted.matchers, alertmanager.endpoint.namespace_label, namespace)
    identifier = first.id if first else ""
    if first is None or first.matchers != frozenset(matchers) or abs(first.end - wanted.until) >= _EXACT:
        identifier = await alertmanager.put(
            matchers=matchers, start=wanted.start, end=wanted.until, comment=wanted.comment, known=first
        )
    return replace(report, id=identifier, until=wanted.until, state=SilenceState.ACTIVE)


async def end(alertmanager: Alertmanager, wanted: EndSilence) -> SilenceReport:
    """End the silence, whether or not there is one.

    Raises:
        AlertmanagerError: it failed; it may or may not have ended.
    """
    standing, _ = await _found(alertmanager, wanted)
    for silence in standing:
        await alertmanager.expire(silence.id)
    return SilenceReport(alertmanager=wanted.alertmanager, marker=wanted.marker, id=wanted.id, state=SilenceState.ENDED)


def confined(matchers: Sequence[AlertMatcher], label: str, namespace: str) -> tuple[AlertMatcher, ...]:
    """The matchers, and that alerts must be of the namespace, where there is a label that tells."""
    own = (AlertMatcher(name=label, value=namespace),) if label else ()
    return tuple(dict.fromkeys((*matchers, *own)))


async def _found(
    alertmanager: Alertmanager, wanted: KeepSilence | EndSilence
) -> tuple[Sequence[HeldSilence], Sequence[HeldSilence]]:
    """The silences that are meant: those that stand, the oldest first, and those that are over."""
    known = await alertmanager.silence(wanted.id) if wanted.id else None
    if known is not None and not known.over:
        return [known], []
    # Another may stand in its place: changed matchers make a new silence, whose id was perhaps never written down.
    found = sorted(await alertmanager.silences(wanted.marker), key=lambda silence: (silence.start, silence.id))
    return [each for each in found if not each.over], [each for each in found if each.over]
