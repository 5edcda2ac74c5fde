"""One Alertmanager as a step sees it: its alerts, where it sends them, and what became of that."""

import json
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.contract import ActionError, Context, UncheckableError
from upkeep.actions.http.answer import Limits, asked
from upkeep.actions.http.session import session
from upkeep.actions.text import readable

if TYPE_CHECKING:
    from httpx import AsyncClient

_SECONDS: Final = 10.0
_LIMITS: Final = Limits(seconds=_SECONDS, size=8 * 1024 * 1024, advice="check url and path")
_QUOTED: Final = 200
_CONFIGS: Final = "_configs"
_ASKED: Final = "alertmanager_notification_requests_total"
_FAILED: Final = "alertmanager_notification_requests_failed_total"
_SAMPLE: Final = re.compile(r"^([a-z_]+)\{(.*)\} (\S+)$")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Sent = Counter[tuple[str, str]]
"""How often, by integration and receiver; the receiver is empty where Alertmanager does not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An alert as Alertmanager has it.

    Attributes:
        receivers: where its routes lead.
        hindrance: why it is not sent; empty where nothing keeps it back.
    """

    receivers: Sequence[str]
    hindrance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """What Alertmanager counts since its start.

    Attributes:
        arrived: requests that the other side has taken.
        failed: those that it has not.
        named: whether it counts by receiver too.
    """

    arrived: Sent
    failed: Sent
    named: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager:
    """One Alertmanager."""

    name: str
    prefix: str
    client: "AsyncClient"

    async def fire(self, labels: Mapping[str, str], *, summary: str, start: datetime, end: datetime) -> None:
        """Let an alert fire until then, or end it by an end that is now.

        Raises:
            ActionError: it was refused.
            UncheckableError: no answer.
        """
        alert = {
            "labels": labels,
            "annotations": {"summary": summary},
            "startsAt": start.isoformat(),
            "endsAt": end.isoformat(),
        }
        await self._ask("POST", "/api/v2/alerts", json=[alert])

    async def find(self, token: str) -> Held | None:
        """The alert whose label `test` is this; None where there is none.

        Raises:
            UncheckableError: no answer, or none of an Alertmanager.
        """
        found = self._json(await self._ask("GET", "/api/v2/alerts", params={"filter": f'test="{token}"'}))
        match found:
            case []:
                return None
            case [{"receivers": [*receivers], "status": {} as status}, *_]:
                return Held(receivers=[str(each["name"]) for each in receivers], hindrance=_hindrance(status))
        raise self._foreign()

    async def integrations(self) -> Mapping[str, Counter[str]]:
        """By receiver: how many of each integration it has, from the configuration that is in force.

        Raises:
            UncheckableError: no answer, or none of an Alertmanager.
        """
        import yaml  # noqa: PLC0415 - only when the action runs

        found = self._json(await self._ask("GET", "/api/v2/status"))
        match found:
            case {"config": {"original": str(text)}}:
                try:
                    configuration = yaml.safe_load(text)
                except (yaml.YAMLError, RecursionError):
                    raise self._foreign() from None
                receivers = configuration.get("receivers") if isinstance(configuration, dict) else None
                return {str(each["name"]): _counted(each) for each in receivers or () if isinstance(each, dict)}
        raise self._foreign()

    async def deliveries(self) -> Deliveries:
        """What was sent so far.

        Raises:
            UncheckableError: no answer, or no such metrics.
        """
        text = (await self._ask("GET", "/metrics")).decode(errors="replace")
        asked, failed = _read(text, _ASKED), _read(text, _FAILED)
        if not asked and _ASKED not in text:
            msg = (
                f"{self.name!r} has no metric {_ASKED}: use Alertmanager 0.22 or later, and let this step read /metrics"
            )
            raise UncheckableError(msg)
        return Deliveries(arrived=asked - failed, failed=failed, named=any(receiver for _, receiver in asked))

    async def _ask(self, method: str, path: str, **content: Any) -> bytes:  # noqa: ANN401 - whatever httpx takes
        url = f"{self.prefix}{path}"
        answer, body = await asked(self.client, method, url, name=self.name, limits=_LIMITS, **content)
        if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            msg = f"{self.name!r} refuses to answer (status {answer.status_code}): check secretRef of the connection"
            raise UncheckableError(msg)
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            said = readable(body[:_QUOTED].decode(errors="replace"))
            msg = f"{self.name!r} does not take the alert: {said}: correct labels"
            raise ActionError(msg)
        if not answer.is_success:
            raise self._foreign()
        return body

    def _json(self, body: bytes) -> Any:  # noqa: ANN401 - any JSON value
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self._foreign() from None

    def _foreign(self) -> UncheckableError:
        return UncheckableError(f"{self.name!r} does not answer as an Alertmanager does: check url and path")


@asynccontextmanager
async def alertmanager(context: Context, name: str, *, prefix: str) -> AsyncIterator[Alertmanager]:
    """The Alertmanager behind an http connection.

    Raises:
        ActionError: no such connection or Secret.
    """
    async with session(context, name, seconds=_SECONDS) as client:
        yield Alertmanager(name=name, prefix=prefix.rstrip("/"), client=client)


def _hindrance(status: Mapping[str, Any]) -> str:
    for key, words in (
        ("silencedBy", "it is silenced (silence {})"),
        ("inhibitedBy", "it is inhibited by another alert ({})"),
        ("mutedBy", "its route is muted at this time ({})"),
    ):
        if by := status.get(key):
            return words.format(readable(str(by[0] if isinstance(by, list) else by)))
    return ""


def _counted(receiver: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, configurations in receiver.items():
        if str(key).endswith(_CONFIGS) and isinstance(configurations, list):
            found[str(key).removesuffix(_CONFIGS)] += len(configurations)
    return found


def _read(text: str, metric: str) -> Sent:
    found: Sent = Counter()
    for line in text.splitlines():
        match = _SAMPLE.match(line) if line.startswith(metric) else None
        if match is None or match[1] != metric:
            continue
        labels = dict(_LABEL.findall(match[2]))
        try:
            value = float(match[3])
        except ValueError:
            continue
        if math.isfinite(value):
            found[labels.get("integration", ""), labels.get("receiver_name", "")] += int(value)
    return found
