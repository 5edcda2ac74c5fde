"""Requests pages so that caches have them before users ask, without becoming a load of its own."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.http.session import session
from upkeep.actions.http.visit import FIRST_ERROR, RequestPath, Visit, visit

_NAMED_IN_MESSAGE: Final = 3


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
                visits.append(group.create_task(visit(client, path, limit)))
                visits[-1].add_done_callback(lambda _: places.release())
        return self._result([done.result() for done in visits])

    def _result(self, visits: Sequence[Visit]) -> Result:
        failed = [each for each in visits if each.fault]
        metrics = {
            "requests": float(len(visits)),
            "failed_requests": float(len(failed)),
            "bytes": float(sum(each.size for each in visits)),
        }
        findings = list(_findings(failed))
        too_many = 100 * len(failed) / len(visits) > self.max_failed_percent
        message = f"{len(visits) - len(failed)} of {len(visits)} paths requested"
        if failed:
            named = "; ".join(f"{each.path}: {each.fault}" for each in failed[:_NAMED_IN_MESSAGE])
            message = f"{message}; {named}" + ("; …" if failed[_NAMED_IN_MESSAGE:] else "")
        outcome = Outcome.FAILED if too_many else Outcome.OK
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)


def _findings(failed: Sequence[Visit]) -> Iterator[Finding]:
    for each in failed:
        yield Finding(
            check_id="http.warm.failed",
            severity=Severity.WARNING,
            object=each.path,
            observed=each.status,
            threshold=FIRST_ERROR,
            unit="status",
            recommendation=f"{each.fault}: take the path out of the list, or mend what serves it",
        )
