"""Lets a synthetic alert fire and follows it: into Alertmanager, along its routes, and out to those it is for.

The alert ends when the step does; if the step is killed, it ends by its own time.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.alert.client import Alertmanager, Deliveries, Sent, alertmanager
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, format_duration
from upkeep.actions.text import readable

_NAME: Final = "UpkeepAlertTest"
_SUMMARY: Final = "Test of the alerting by Upkeep: nothing is to be done"
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_RESERVE: Final = 5.0
"""Seconds before the step's own deadline at which waiting ends, so that the alert can be ended."""
_MARGIN: Final = timedelta(minutes=1)
"""How much longer the alert would fire if nobody ended it."""
_ENDING_SECONDS: Final = 4.0

LabelKey = Annotated[str, Field(max_length=63, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
LabelValue = Annotated[str, Field(max_length=256)]


class AlertTest(Action):
    """Sends an alert to an Alertmanager, and waits until all receivers that its routes lead to have taken it.

    The alert has the name UpkeepAlertTest and the given labels, and a label `test` of its own; it is ended afterwards.
    That a receiver has taken it is told from what Alertmanager counts for its integrations (email, slack, webhook, …);
    other alerts that are sent at the same time count too, unless Alertmanager runs with receiver-name-in-metrics.
    Locks: none. Privileges: to post alerts and to read /metrics, where Alertmanager asks for credentials at all.
    """

    action_name: ClassVar[str] = "alertTest"
    finds: ClassVar[Mapping[str, str]] = {
        "alert.route": "the alert is not led to a receiver that it should reach",
        "alert.delivery": "a receiver did not take it",
    }

    connection: LabelName
    """Name of an http connection to Alertmanager."""
    path: Annotated[str, Field(max_length=256, pattern=r"^(/[^\t-\r ?#]*)?$")] = ""
    """Path prefix of Alertmanager, where it has one."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(default_factory=dict)
    """Labels by which it is routed, for example severity and namespace."""
    receivers: Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(max_length=16)] = Field(
        default_factory=list
    )
    """Receivers that it has to reach, by name. Left out: those that its routes lead to."""
    timeout: Duration = Field(default="6m", validate_default=True)
    """How long it may take: the group_wait of the route (30s), or its group_interval (5m) while others of the same
    group fire."""

    async def run(self, context: Context) -> Result:
        """Fire, follow, end.

        Raises:
            ActionError: no such connection or Secret, or Alertmanager does not take the alert.
            UncheckableError: Alertmanager does not answer, or does not tell what it has sent.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        limit = begun + max(0.0, min(self.timeout.total_seconds(), context.remaining - _RESERVE))
        labels = {**self.labels, "alertname": _NAME, "test": secrets.token_hex(8)}
        start = datetime.now(UTC)
        async with alertmanager(context, self.connection, prefix=self.path) as server:
            before = await server.deliveries()
            await server.fire(labels, summary=_SUMMARY, start=start, end=start + self.timeout + _MARGIN)
            try:
                result = await self._follow(server, labels["test"], before, limit)
            finally:
                await asyncio.shield(_end(server, labels, start))
        metrics = {**result.metrics, "seconds": round(clock() - begun, 1)}
        return Result(outcome=result.outcome, message=result.message, findings=result.findings, metrics=metrics)

    async def _follow(self, server: Alertmanager, token: str, before: Deliveries, limit: float) -> Result:
        clock, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
        while (held := await server.find(token)) is None:
            if clock() >= limit:
                msg = f"{self.connection!r} took the alert and does not show it: see its log"
                raise ActionError(msg)
            await asyncio.sleep(pause)
        if astray := [name for name in self.receivers if name not in held.receivers]:
            return self._astray(astray, held.receivers)
        if held.hindrance:
            msg = f"the alert is not sent, because {held.hindrance}: test again when it is not, or with other labels"
            raise UncheckableError(msg)
        receivers = self.receivers or held.receivers
        expected = await _expected(server, receivers)
        missing, seen = _missing(expected, before, await server.deliveries()), 0
        while clock() < limit and seen < 2:  # noqa: PLR2004 - a failure is counted a moment after its request
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            now = await server.deliveries()
            missing = _missing(expected, before, now)
            seen = 0 if missing else seen + 1
        if missing:
            return self._undelivered(missing, now=await server.deliveries(), before=before)
        names = ", ".join(map(readable, receivers))
        return Result(outcome=Outcome.OK, message=f"an alert has reached Alertmanager and {names}")

    def _astray(self, astray: Sequence[str], receivers: Sequence[str]) -> Result:
        led = ", ".join(map(readable, receivers)) or "nobody"
        findings = [
            Finding(
                check_id="alert.route",
                severity=Severity.CRITICAL,
                object=readable(name),
                observed=0,
                threshold=1,
                unit="alerts",
                recommendation=f"correct the routes of Alertmanager, or labels: these lead to {led}",
            )
            for name in astray
        ]
        message = f"the alert is led to {led}, not to {', '.join(map(readable, astray))}"
        return Result(outcome=Outcome.FAILED, message=message, findings=findings)

    def _undelivered(self, missing: Sent, *, now: Deliveries, before: Deliveries) -> Result:
        findings = []
        for (integration, receiver), number in missing.items():
            failed = (now.failed - before.failed)[integration, receiver]
            advice = "see Alertmanager's log for why" if failed else "see group_wait, group_interval and mute times"
            findings.append(
                Finding(
                    check_id="alert.delivery",
                    severity=Severity.CRITICAL,
                    object=readable(f"{receiver} {integration}".strip()),
                    observed=failed,
                    threshold=1,
                    unit="failed requests",
                    recommendation=f"{number} notifications did not arrive, {failed} attempts failed: {advice}",
                )
            )
        named = ", ".join(finding.object for finding in findings)
        message = f"the alert reached Alertmanager, but within {format_duration(self.timeout)} not {named}"
        return Result(outcome=Outcome.FAILED, message=message, findings=findings)


async def _expected(server: Alertmanager, receivers: Sequence[str]) -> Sent:
    """How often something has to arrive."""
    configured = await server.integrations()
    found: Sent = Counter()
    for receiver in receivers:
        kinds = configured.get(receiver)
        if not kinds:
            msg = f"receiver {readable(receiver)!r} sends to nobody: give it an integration, or name another one"
            raise ActionError(msg)
        for integration, number in kinds.items():
            found[integration, receiver] += number
    return found


def _missing(expected: Sent, before: Deliveries, now: Deliveries) -> Sent:
    """What has not arrived yet; without receivers where these are not told."""
    wanted: Sent = Counter()
    for (integration, receiver), number in expected.items():
        wanted[integration, receiver if now.named else ""] += number
    return wanted - (now.arrived - before.arrived)


async def _end(server: Alertmanager, labels: Mapping[str, str], start: datetime) -> None:
    """End the alert; where Alertmanager does not answer any more, its own time ends it."""
    try:
        async with asyncio.timeout(_ENDING_SECONDS):
            await server.fire(labels, summary=_SUMMARY, start=start, end=datetime.now(UTC))
    except (ActionError, TimeoutError):
        return
