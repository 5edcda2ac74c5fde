"""Requests pages so that caches have them before users ask, without becoming a load of its own."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.http.session import explained, session

if TYPE_CHECKING:
    from httpx import AsyncClient

_FIRST_ERROR: Final = 400
_NAMED_IN_MESSAGE: Final = 3

RequestPath = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^/([^\s#/][^\s#]*)?$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """One request: its path without the query, and what was wrong, if anything was."""

    path: str
    status: int = 0
    fault: str = ""
    size: int = 0


class HttpWarm(Action):
    """Requests a list of paths by GET, several at a time and not too fast, and reads every answer to its end.

    Redirects are not followed. Locks: none. Privileges: those of the connection's credentials at the server; do not put
    tokens into paths, they are readable in the resource.
    """

    action_name: ClassVar[str] = "httpWarm"
    finds: ClassVar[Mapping[str, str]] = {
        "http.warm.failed": "a path that was not answered with 2xx",
    }

    connection: LabelName
    """Name of an HTTP connection."""
    paths: Annotated[list[RequestPath], Field(min_length=1, max_length=200)]
    """What to request, in this order, for example `/` and `/products?page=1`."""
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """How many requests run at the same time at most."""
    requests_per_second: Annotated[float, Field(ge=0.1, le=1000)] = 10
    """How many requests are begun a second at most."""
    max_failed_percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Share of requests, in percent, that may fail (status 400 or above, or no answer) before the step has failed."""
    timeout: Duration = Field(default="30s", validate_default=True)
    """How long one request may take."""

    async def run(self, context: Context) -> Result:
        """Request all paths. Those that fail are findings.

        Raises:
            ActionError: no such connection or Secret.
        """
        limit = max(0.1, min(self.timeout.total_seconds(), context.remaining))
        places = asyncio.Semaphore(self.concurrency)
        clock = asyncio.get_running_loop().time
        async with session(context, self.connection, seconds=limit) as client, asyncio.TaskGroup() as group:
            begun = clock()
            visits = []
            for number, path in enumerate(self.paths):
                await asyncio.sleep(max(0.0, begun + number / self.requests_per_second - clock()))
                await places.acquire()
                visits.append(group.create_task(_visit(client, path, limit)))
                visits[-1].add_done_callback(lambda _: places.release())
        return self._result([visit.result() for visit in visits])

    def _result(self, visits: Sequence[_Visit]) -> Result:
        failed = [visit for visit in visits if visit.fault]
        metrics = {
            "requests": float(len(visits)),
            "failed_requests": float(len(failed)),
            "bytes": float(sum(visit.size for visit in visits)),
        }
        findings = list(_findings(failed))
        too_many = 100 * len(failed) / len(visits) > self.max_failed_percent
        message = f"{len(visits) - len(failed)} of {len(visits)} paths requested"
        if failed:
            named = "; ".join(f"{visit.path}: {visit.fault}" for visit in failed[:_NAMED_IN_MESSAGE])
            message = f"{message}; {named}" + ("; …" if failed[_NAMED_IN_MESSAGE:] else "")
        outcome = Outcome.FAILED if too_many else Outcome.OK
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)


async def _visit(client: "AsyncClient", path: str, limit: float) -> _Visit:
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    shown, size = path.partition("?")[0], 0
    try:
        async with asyncio.timeout(limit), client.stream("GET", path, follow_redirects=False) as response:
            async for chunk in response.aiter_raw():
                size += len(chunk)
            status = response.status_code
    except (TimeoutError, httpx.TimeoutException):
        return _Visit(path=shown, fault=f"no complete answer within {limit:g} s: check the server")
    except httpx.HTTPError as error:
        return _Visit(path=shown, fault=explained(error))
    fault = f"status {status}" if status >= _FIRST_ERROR else ""
    return _Visit(path=shown, status=status, fault=fault, size=size)


def _findings(failed: Sequence[_Visit]) -> Iterator[Finding]:
    for visit in failed:
        yield Finding(
            check_id="http.warm.failed",
            severity=Severity.WARNING,
            object=visit.path,
            observed=visit.status,
            threshold=_FIRST_ERROR,
            unit="status",
            recommendation=f"{visit.fault}: take the path out of the list, or mend what serves it",
        )
