"""A key of any kind under `current` and `previous`: whoever checks it takes both, whoever shows it shows `current`."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import Model
from upkeep.actions.http.session import CONNECT_SECONDS, PageURL, explained, shown, trust
from upkeep.actions.rotate.kind import Changes, Credential
from upkeep.actions.rotate.record import Held, Phase, Record, fingerprint, new_token, new_value

CURRENT: Final = "current"
PREVIOUS: Final = "previous"

_BEARER: Final = "authorization"
_REFUSALS: Final = frozenset({401, 403})
_TRIES: Final = 10
_PAUSE: Final = 1.0
_SECONDS: Final = 5.0
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+")


class RotatedKey(Model):
    """A generated key, under `current` and `previous` in the Secret, and how to see that it works."""

    url: PageURL
    """What is requested (GET) to see that a key is taken, for example `http://shop-api:8000/account`."""
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "Authorization"
    """Request header with the key; in Authorization it stands after `Bearer `."""
    expected_status: Annotated[int, Field(ge=200, le=299)] = 200
    """Status of the answer to a key that is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys(Credential):
    """What a rotation does with a key."""

    context: Context
    given: RotatedKey

    key: ClassVar[str] = CURRENT
    redeploys: ClassVar[bool] = True

    def alone(self) -> AbstractAsyncContextManager[None]:
        """What is changed is the Secret alone, for which its version is enough."""
        return nullcontext()

    async def begin(self, held: Held) -> tuple[Record, Changes]:
        """The first record and the new value, where all that has to hold does.

        Raises:
            ActionError: it does not.
        """
        current = held.value(CURRENT)
        if fault := await self._fault(current):
            msg = f"key {CURRENT!r} of Secret {held.name!r} does not work now, so nothing was begun: {fault}"
            raise ActionError(msg)
        status, problem = await self._ask(new_value())
        if status not in _REFUSALS:
            said = problem or f"answers {status} to a wrong key instead of 401 or 403"
            msg = f"{shown(self.given.url)} {said}, so that nothing can be seen there: name a url that needs the key"
            raise ActionError(msg)
        value = new_value()
        record = Record(phase=Phase.SWITCHED, token=new_token(), fingerprint=fingerprint(value))
        return record, {CURRENT: value, PREVIOUS: current}

    async def prepared(self, held: Held, record: Record) -> tuple[str, Changes]:
        """There is nothing to prepare.

        Raises:
            ActionError: always.
        """
        msg = f"the rotation {record.token} of Secret {held.name!r} is one of a database role, not of a key"
        raise ActionError(msg)

    async def fault(self, held: Held) -> str:
        """Why what the Secret gives out does not work; empty where it does."""
        return await self._fault(held.value(CURRENT))

    async def way_back(self, held: Held) -> tuple[str, Changes]:
        """What the Secret has to give out to go back; those who check keys still take both."""
        return "", {CURRENT: held.value(PREVIOUS), PREVIOUS: held.value(PREVIOUS)}

    async def in_use(self, record: Record) -> str:  # noqa: ARG002 - as of roles
        """Nobody can tell who uses a key."""
        return ""

    async def revoke(self, held: Held, record: Record) -> str:  # noqa: ARG002 - as of roles
        """Nothing is revoked before the Secret has forgotten it."""
        return ""

    async def give_up(self, record: Record) -> str:  # noqa: ARG002 - as of roles
        """Nobody takes the new one any more."""
        return ""

    def forgotten(self, held: Held) -> Changes:
        """Both keys hold the same then: one that is not there would keep Pods that name it from starting."""
        return {PREVIOUS: held.value(CURRENT)}

    async def still_good(self, value: str) -> str:
        """That the old one is taken all the same; empty where it is refused, or nothing is known."""
        status, _ = await self._ask(value)
        return f"{shown(self.given.url)} takes the old key all the same" if status == self.given.expected_status else ""

    async def _fault(self, value: str) -> str:
        """Why the key is not taken, asked several times: those who take it may just have been restarted."""
        fault = ""
        for number in range(_TRIES):
            if number:
                await asyncio.sleep(_PAUSE)
            status, problem = await self._ask(value)
            if status == self.given.expected_status:
                return ""
            fault = problem or f"status {status} instead of {self.given.expected_status}"
        return f"{shown(self.given.url)}: {fault}"

    async def _ask(self, value: str) -> tuple[int, str]:
        """The status of the answer to a key, or 0 and why there is none."""
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        if not _SENDABLE.fullmatch(value):
            return 0, "the key has characters that a request header cannot have"
        header = self.given.header
        headers = {header: f"Bearer {value}" if header.lower() == _BEARER else value}
        timeout = httpx.Timeout(_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with (
                asyncio.timeout(_SECONDS),
                httpx.AsyncClient(timeout=timeout, verify=trust(self.given.url), trust_env=False) as client,
                client.stream("GET", self.given.url, headers=headers) as answer,
            ):
                return answer.status_code, ""
        except (TimeoutError, httpx.TimeoutException):
            return 0, f"no answer within {_SECONDS:g} s: check that it runs, and the NetworkPolicies"
        except httpx.HTTPError as error:
            return 0, explained(error)
