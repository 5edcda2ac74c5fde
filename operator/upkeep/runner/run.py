"""Runs the steps of an order, one after the other, and always comes back with a report.

Whatever an action does (fails, hangs, raises what nobody foresaw) becomes the outcome of its step. A cancelled run
stops its current step, reports it, and does not raise: the report is what the controller waits for.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from upkeep.actions.contract import (
    MEMORY_BYTES,
    ActionError,
    Context,
    Finding,
    OnFailure,
    Outcome,
    Result,
    UncheckableError,
)
from upkeep.actions.fields import format_duration
from upkeep.domain import sighting
from upkeep.domain.order import VOLUMES_DIRECTORY, OrderedStep, RunOrder
from upkeep.domain.report import RunReport, StepReport, memory_size, worst_first
from upkeep.runner.journal import FIELDS
from upkeep.runner.redaction import Redaction

_LOGGER: Final = logging.getLogger(__name__)
_STOPPED: Final = "stopped: the Pod was told to end (SIGTERM) before this step was done"


async def execute(
    order: RunOrder, *, credentials: Path, scratch: Path, volumes: Path = Path(VOLUMES_DIRECTORY)
) -> RunReport:
    """Run the steps.

    Args:
        order: what to run, and how long it may take.
        credentials: directory with one sub-directory a connection, one file a Secret key.
        scratch: writable directory.
        volumes: directory with one sub-directory a connection of kind volume.

    Returns:
        The report over all steps, also when the run was cancelled or ran out of time. Nothing is raised.
    """
    run = _Run(
        order=order,
        credentials=credentials,
        scratch=scratch,
        volumes=volumes,
        redaction=Redaction.of(credentials),
        deadline=asyncio.get_running_loop().time() + order.timeout.total_seconds(),
    )
    _log("run started", owner=order.owner, steps=len(order.steps), timeout=format_duration(order.timeout))
    for step in order.steps:
        await run.take(step)
    report = RunReport.summarise(run.reports, run.findings)
    _log("run ended", owner=order.owner, outcome=report.outcome.value, summary=report.message)
    return report


@dataclass(slots=True, kw_only=True)
class _Run:
    order: RunOrder
    credentials: Path
    scratch: Path
    volumes: Path
    redaction: Redaction
    deadline: float
    reports: list[StepReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    given_up: str = ""

    async def take(self, step: OrderedStep) -> None:
        """Run one step, or skip it after what happened before."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        if self.given_up:
            result = Result(outcome=Outcome.SKIPPED, message=self.given_up)
        else:
            _log("step started", step=step.name, action=step.action_name)
            result = self._remembering(step, self.redaction.result(await self._outcome(step, begun)))
        report = StepReport(
            name=step.name,
            action=step.action_name,
            outcome=result.outcome,
            seconds=round(clock() - begun, 3),
            message=result.message,
            metrics=result.metrics,
            facts=result.facts,
            findings=len({finding.fingerprint for finding in result.findings}),
            seen=sighting.encode(worst_first(result.findings)),
            memory=result.memory,
        )
        self.reports.append(report)
        self.findings += result.findings
        if result.outcome is Outcome.FAILED and step.on_failure is OnFailure.STOP and not self.given_up:
            self.given_up = f"not started: step {step.name!r} failed before"
        for line in result.details:
            _log("detail", **{"step": step.name, **line})
        _log_step(report, result.findings)

    def _remembering(self, step: OrderedStep, result: Result) -> Result:
        """The result with what the next run of the step shall know, as far as there is room for it.

        What does not fit leaves what was remembered before: older, but true.
        """
        room = MEMORY_BYTES - sum(memory_size(report.memory) for report in self.reports)
        size = memory_size(result.memory)
        if size <= room:
            return result
        before = step.previous.values if step.previous else {}
        message = (
            f"{result.message}; not remembered for the next run: {size} bytes, and the run has {room} left: put the "
            "step into a task of its own"
        )
        return replace(result, message=message, memory=before if memory_size(before) <= room else {})

    async def _outcome(self, step: OrderedStep, begun: float) -> Result:
        own = begun + step.timeout.total_seconds() if step.timeout else self.deadline
        limit = min(own, self.deadline)
        if limit <= begun:
            return _failed(f"not started: timed out after {format_duration(self.order.timeout)}, the whole run's time")
        context = Context(
            connections={connection.name: connection for connection in self.order.connections},
            credentials=self.credentials,
            scratch=self.scratch,
            volumes=self.volumes,
            remaining=limit - begun,
            previous=step.previous,
            origins={origin.policy: origin for origin in self.order.origins},
        )
        try:
            async with asyncio.timeout_at(limit) as timer:
                return await step.action.run(context)
        except asyncio.CancelledError:
            _acknowledge_cancellation()
            self.given_up = "not started: the Pod was told to end (SIGTERM)"
            return _failed(_STOPPED)
        except Exception as error:  # noqa: BLE001 - whatever an action raises is its step's outcome, never a crash
            if timer.expired():
                return _timed_out(step.timeout if own < self.deadline else None, self.order.timeout, error)
            return _raised(error, step)


def _raised(error: Exception, step: OrderedStep) -> Result:
    match error:
        case UncheckableError():
            return Result(outcome=Outcome.UNKNOWN, message=str(error))
        case ActionError():
            return _failed(str(error))
        case _:
            _LOGGER.error("step raised an unexpected error", exc_info=error, extra={FIELDS: {"step": step.name}})
            return _failed(f"unexpected {type(error).__name__}: {error} (the log has the traceback)")


def _timed_out(of_step: timedelta | None, of_run: timedelta, error: Exception) -> Result:
    """A step that took too long, with what it was hindered by, where it left a note of that."""
    notes = getattr(error.__cause__, "__notes__", ())
    hindrance = f" ({'; '.join(notes)})" if notes else ""
    if of_step is not None:
        return _failed(f"timed out after {format_duration(of_step)}{hindrance}: give the step a longer timeout")
    return _failed(
        f"timed out after {format_duration(of_run)}{hindrance}, the whole run's time: give it a longer timeout"
    )


def _failed(message: str) -> Result:
    return Result(outcome=Outcome.FAILED, message=message)


def _acknowledge_cancellation() -> None:
    """Tell asyncio that the cancellation has been dealt with, so that the report can still be written."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _log(event: str, **fields: object) -> None:
    _LOGGER.info(event, extra={FIELDS: fields})


def _log_step(report: StepReport, findings: Sequence[Finding]) -> None:
    for finding in findings:
        _log("finding", step=report.name, fingerprint=finding.fingerprint, **asdict(finding))
    _log(
        "step ended",
        step=report.name,
        action=report.action,
        outcome=report.outcome.value,
        seconds=report.seconds,
        result=report.message,
        metrics=dict(report.metrics),
    )
