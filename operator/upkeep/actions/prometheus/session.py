"""Asks the HTTP API of Prometheus, version 1, and says what to do where it does not answer.

Nothing that it does not say is taken for good news: whatever stands between a question and its answer makes the step
`unknown`, but for a question that cannot be understood, which is the task's fault.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from upkeep.actions.connections import PrometheusTarget
from upkeep.actions.contract import ActionError, Context, UncheckableError
from upkeep.actions.http.answer import Limits, asked
from upkeep.actions.http.session import session
from upkeep.actions.text import readable

_LIMIT_BYTES: Final = 4 * 1024 * 1024
_ADVICE: Final = "aggregate in the query, or use topk()"
"""Of 20,000 series; reading it takes some 40 MiB of memory."""
_SHOWN_CHARACTERS: Final = 200
_SHOWN_LABELS: Final = 12
_NOT_UNDERSTOOD: Final = "bad_data"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Prometheus said.

    Attributes:
        data: the part of the answer that depends on the question.
        warnings: why it is not the whole answer; empty where it is.
    """

    data: Mapping[str, Any]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of an instant query: its labels and its value, which may be infinite or not a number."""

    labels: Labels
    value: float


async def ask(context: Context, name: str, path: str, *, parameters: Mapping[str, str], seconds: float) -> Answer:
    """One question to the API, for example to `query`.

    Raises:
        ActionError: no such connection or Secret, or Prometheus does not understand the question.
        UncheckableError: it cannot be reached, refuses the credentials or does not answer.
    """
    async with session(context, name, kind=PrometheusTarget, seconds=seconds) as client:
        limits = Limits(seconds=seconds, size=_LIMIT_BYTES, advice=_ADVICE, server="Prometheus")
        response, body = await asked(client, "GET", f"/api/v1/{path}", name=name, limits=limits, params=parameters)
    status = response.status_code
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        secret = context.secret_name(name)
        advice = f"check the keys of Secret {secret!r}" if secret else "name a Secret in secretRef of the connection"
        msg = f"{name!r} refuses to answer (status {status}): {advice}"
        raise UncheckableError(msg)
    return _read(name, status, body)


async def instant(context: Context, name: str, query: str, *, seconds: float) -> tuple[Sequence[Series], Sequence[str]]:
    """The series that an instant query gives now, and why these are not all; empty where they are.

    Raises:
        ActionError: as `ask`; or the query gives what is no number.
        UncheckableError: as `ask`.
    """
    answer = await ask(context, name, "query", parameters={"query": query}, seconds=seconds)
    match answer.data:
        case {"resultType": "vector", "result": [*found]}:
            return [_series(name, each) for each in found], answer.warnings
        case {"resultType": "scalar", "result": [_, value]}:
            return [Series(labels={}, value=_number(name, value))], answer.warnings
        case {"resultType": str(kind)}:
            msg = (
                f"the query gives a {readable(kind)}, not numbers of now: use for example rate(…) or last_over_time(…)"
            )
            raise ActionError(msg)
    raise _foreign(name)


def in_words(labels: Labels) -> str:
    """Labels as Prometheus writes them, without the metric's name, short and safe to show."""
    pairs = sorted((name, value) for name, value in labels.items() if name != "__name__")
    shown = ", ".join(f'{readable(name)}="{readable(value)}"' for name, value in pairs[:_SHOWN_LABELS])
    return f"{{{shorten(shown)}}}" if pairs else ""


def shorten(text: str) -> str:
    """The text, cut off where it is too long for a message."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _read(name: str, status: int, body: bytes) -> Answer:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise _foreign(name, status) from None
    match found:
        case {"status": "success", "data": {} as data}:
            return Answer(data=data, warnings=tuple(_texts(found.get("warnings"))))
        case {"status": "error", "errorType": str(kind), "error": str(error)}:
            reason = shorten(readable(error))
            if kind == _NOT_UNDERSTOOD:
                msg = f"{name!r} does not understand the question: {reason}: correct the query"
                raise ActionError(msg)
            msg = f"{name!r} could not answer: {reason}: try the query in its user interface, and see its log"
            raise UncheckableError(msg)
    raise _foreign(name, status)


def _texts(found: object) -> Iterator[str]:
    if isinstance(found, list):
        yield from (shorten(readable(text)) for text in found if isinstance(text, str))


def _series(name: str, found: object) -> Series:
    match found:
        case {"metric": {} as labels, "value": [_, value]}:
            return Series(labels={str(key): str(text) for key, text in labels.items()}, value=_number(name, value))
        case {"histogram": _}:
            msg = "the query gives a histogram: make a number of it, for example by histogram_quantile(0.95, …)"
            raise ActionError(msg)
    raise _foreign(name)


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise _foreign(name) from None


def _foreign(name: str, status: int = HTTPStatus.OK) -> UncheckableError:
    answer = f"{name!r} does not answer as Prometheus does (status {int(status)})"
    return UncheckableError(f"{answer}: check url, with its path prefix if it has one")
