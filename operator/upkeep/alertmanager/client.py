"""Talks to one Alertmanager by its API, version 2.

Every call has a timeout and either answers or says in one sentence what failed; trying again is the business of others.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx

from upkeep.alertmanager.configuration import Endpoint
from upkeep.api.window.gating import AlertMatcher
from upkeep.domain.alerts import FiringAlert
from upkeep.domain.instants import read_instant

TIMEOUT: Final = 5.0
"""Seconds that a request may take."""
CREATOR: Final = "upkeep"
_QUOTED: Final = 200
"""Characters of a refusal that are passed on."""

Read = TypeVar("Read")


class AlertmanagerError(Exception):
    """An Alertmanager did not do what was asked; the message says which one, what was asked, and why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSilence:
    """A silence as Alertmanager has it.

    Attributes:
        id: its id.
        over: whether it has ended: by its time, or because somebody has expired it.
        matchers: what it silences.
        start, end: when it begins, and ends or has ended.
    """

    id: str
    over: bool
    matchers: frozenset[AlertMatcher]
    start: datetime
    end: datetime


class Alertmanager:
    """One Alertmanager."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        # Nothing of the environment: neither a proxy nor a .netrc may see these requests.
        self._http = httpx.AsyncClient(timeout=TIMEOUT, verify=endpoint.tls, trust_env=False)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.aclose()

    async def firing(self, matchers: Sequence[AlertMatcher]) -> Sequence[FiringAlert]:
        """The alerts that fire, neither silenced nor inhibited, and for which all matchers hold.

        Raises:
            AlertmanagerError: it did not say.
        """
        query = {"active": "true", "silenced": "false", "inhibited": "false", "filter": list(map(_filter, matchers))}
        doing = "asking which alerts fire"
        found = await self._ask("GET", "alerts", doing=doing, params=query)
        return self._read(doing, lambda: [_firing(alert) for alert in found])

    async def silence(self, identifier: str) -> HeldSilence | None:
        """The silence with this id; None where there is none, or none any more.

        Raises:
            AlertmanagerError: it did not say.
        """
        doing = f"looking at silence {identifier}"
        found = await self._ask("GET", _silence(identifier), doing=doing, optional=True)
        return None if found is None else self._read(doing, lambda: _held(found))

    async def silences(self, marker: str) -> Sequence[HeldSilence]:
        """Our own silences with this text in their comment, also those that are over.

        Raises:
            AlertmanagerError: it did not say.
        """
        doing = "looking for a silence"
        found = await self._ask("GET", "silences", doing=doing)
        return self._read(doing, lambda: [_held(each) for each in found if _is_ours(each, marker)])

    async def put(
        self,
        *,
        matchers: Sequence[AlertMatcher],
        start: datetime,
        end: datetime,
        comment: str,
        known: HeldSilence | None = None,
    ) -> str:
        """Make a silence, or change the known one; the id of the one that holds now, which may be another.

        Raises:
            AlertmanagerError: it did not.
        """
        body: dict[str, Any] = {
            "matchers": [matcher.model_dump(by_alias=True) for matcher in matchers],
            "startsAt": (known.start if known else start).isoformat(),
            "endsAt": end.isoformat(),
            "createdBy": CREATOR,
            "comment": comment,
        }
        doing = "changing a silence" if known else "making a silence"
        answer = await self._ask("POST", "silences", doing=doing, json=body | ({"id": known.id} if known else {}))
        return self._read(doing, lambda: str(answer["silenceID"]))

    async def expire(self, identifier: str) -> None:
        """End a silence now; one that is not there has ended.

        Raises:
            AlertmanagerError: it did not.
        """
        await self._ask("DELETE", _silence(identifier), doing=f"ending silence {identifier}", optional=True)

    async def _ask(self, method: str, path: str, *, doing: str, optional: bool = False, **content: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The answer; None for what is not there, where that is `optional`."""
        try:
            login = self._login()
            answer = await self._http.request(method, f"{self.endpoint.url}/api/v2/{path}", auth=login, **content)
        except httpx.TimeoutException as problem:
            raise self._error(doing, f"no answer within {TIMEOUT:.0f} s") from problem
        except httpx.HTTPError as problem:
            raise self._error(doing, str(problem) or type(problem).__name__) from problem
        except (OSError, UnicodeError) as problem:
            raise self._error(doing, f"its credentials cannot be read ({type(problem).__name__})") from problem
        if optional and answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        if not answer.is_success:
            said = " ".join(answer.text.split())[:_QUOTED]
            raise self._error(doing, f"{answer.status_code} {said}".rstrip())
        return self._read(doing, lambda: answer.json() if answer.content else None)

    def _login(self) -> httpx.Auth | None:
        endpoint = self.endpoint
        if endpoint.token:
            return _Bearer(_line_of(endpoint.token))
        if endpoint.username and endpoint.password:
            return httpx.BasicAuth(endpoint.username, _line_of(endpoint.password))
        return None

    def _read(self, doing: str, reading: Callable[[], Read]) -> Read:
        try:
            return reading()
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise self._error(doing, "its answer is not that of an Alertmanager: check its url") from problem

    def _error(self, doing: str, problem: str) -> AlertmanagerError:
        return AlertmanagerError(f"Alertmanager {self.endpoint.name!r}, {doing}: {problem}")


class _Bearer(httpx.Auth):
    """Logs in by a token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """The request with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _line_of(file: Path) -> str:
    return file.read_text().strip()


def _silence(identifier: str) -> str:
    return f"silence/{quote(identifier, safe='')}"


def _filter(matcher: AlertMatcher) -> str:
    """A matcher as Alertmanager reads it."""
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    sign = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}
    return f'{matcher.name}{sign[matcher.is_equal, matcher.is_regex]}"{value}"'


def _firing(alert: Any) -> FiringAlert:  # noqa: ANN401 - JSON as it came
    return FiringAlert(
        name=str(alert["labels"].get("alertname", "unnamed")),
        fingerprint=str(alert["fingerprint"]),
        since=read_instant(alert["startsAt"]),
    )


def _is_ours(silence: Any, marker: str) -> bool:  # noqa: ANN401 - JSON as it came
    return silence["createdBy"] == CREATOR and marker in silence["comment"]


def _held(silence: Any) -> HeldSilence:  # noqa: ANN401 - JSON as it came
    return HeldSilence(
        id=silence["id"],
        over=silence["status"]["state"] == "expired",
        matchers=frozenset(
            AlertMatcher(
                name=each["name"],
                value=each["value"],
                is_regex=each["isRegex"],
                is_equal=each.get("isEqual", True),
            )
            for each in silence["matchers"]
        ),
        start=read_instant(silence["startsAt"]),
        end=read_instant(silence["endsAt"]),
    )
