"""Whatever the steps do, a run ends with a report that tells it."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from upkeep.actions.contract import (
    MEMORY_BYTES,
    Action,
    ActionError,
    Context,
    Finding,
    OnFailure,
    Outcome,
    Previous,
    Result,
    Severity,
    UncheckableError,
)
from upkeep.domain.order import OrderedStep, RunOrder
from upkeep.domain.report import RunReport
from upkeep.runner.run import execute

SECRET = "canary-41c7d2"  # noqa: S105 - the value that no report may contain


class Saying(Action):
    """Ends at once with the outcome that it was told."""

    action_name: ClassVar[str] = "testSaying"
    outcome: Outcome = Outcome.OK
    text: str = "said"
    finding: str = ""
    memory: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it

    async def run(self, context: Context) -> Result:
        """End."""
        finding = Finding(
            check_id="test", severity=Severity.WARNING, object=self.finding, observed=2, threshold=1, unit="",
            recommendation=self.text,
        )  # fmt: skip
        metrics = {"remaining": context.remaining}
        return Result(
            outcome=self.outcome,
            message=self.text,
            findings=[finding] if self.finding else [],
            metrics=metrics,
            memory={**self.memory, **({"before": context.previous.values["said"]} if context.previous else {})},
        )


class Raising(Action):
    """Raises."""

    action_name: ClassVar[str] = "testRaising"
    error: str
    text: str = "nothing works"

    async def run(self, context: Context) -> Result:  # noqa: ARG002 - the contract's signature
        """Raise."""
        kinds = {"ActionError": ActionError, "UncheckableError": UncheckableError, "TimeoutError": TimeoutError}
        raise kinds.get(self.error, ValueError)(self.text)


class Waiting(Action):
    """Waits for ever, and tells when it was stopped."""

    action_name: ClassVar[str] = "testWaiting"
    marker: str

    async def run(self, context: Context) -> Result:
        """Wait."""
        (context.scratch / self.marker).write_text("waiting")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            (context.scratch / self.marker).write_text("stopped")
        return Result(outcome=Outcome.OK, message="never")


def step(action: Action, *, on_failure: OnFailure = OnFailure.STOP, seconds: float | None = None) -> OrderedStep:
    timeout = None if seconds is None else timedelta(seconds=seconds)
    return OrderedStep(
        name=action.action_name.lower(),
        action_name=action.action_name,
        action=action,
        on_failure=on_failure,
        timeout=timeout,
    )


def replace_previous(step: OrderedStep, values: dict[str, str]) -> OrderedStep:
    return step.model_copy(update={"previous": Previous(time=datetime(2026, 3, 2, tzinfo=UTC), values=values)})


class Ground:
    """Where a run takes place."""

    def __init__(self, directory: Path) -> None:
        self.credentials = directory / "credentials"
        self.scratch = directory / "scratch"
        (self.credentials / "db").mkdir(parents=True)
        (self.credentials / "db" / "password").write_text(f"{SECRET}\n")
        (self.credentials / "db" / "username").write_text("upkeep")
        self.scratch.mkdir()

    async def run(self, steps: Sequence[OrderedStep], *, seconds: float = 60) -> RunReport:
        order = RunOrder(owner="MaintenanceTask/shop/nightly", timeout=timedelta(seconds=seconds), steps=steps)
        return await execute(order, credentials=self.credentials, scratch=self.scratch)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def outcomes(report: RunReport) -> list[str]:
    return [step.outcome.value for step in report.steps]


async def test_steps_run_in_their_order_and_the_worst_outcome_counts(ground: Ground) -> None:
    report = await ground.run([step(Saying(text="one")), step(Saying(text="two", outcome=Outcome.CHANGED))])
    assert [step.message for step in report.steps] == ["one", "two"]
    assert report.outcome is Outcome.CHANGED


async def test_after_a_failed_step_the_later_ones_are_skipped(ground: Ground) -> None:
    report = await ground.run([step(Raising(error="ActionError")), step(Saying()), step(Saying())])
    assert outcomes(report) == ["failed", "skipped", "skipped"]
    assert report.message == "testraising: nothing works"
    assert report.steps[1].message == "not started: step 'testraising' failed before"


async def test_a_result_that_says_failed_stops_the_run_too(ground: Ground) -> None:
    report = await ground.run([step(Saying(outcome=Outcome.FAILED)), step(Saying())])
    assert outcomes(report) == ["failed", "skipped"]


async def test_on_failure_continue_lets_the_later_steps_run(ground: Ground) -> None:
    report = await ground.run([step(Raising(error="ActionError"), on_failure=OnFailure.CONTINUE), step(Saying())])
    assert outcomes(report) == ["failed", "ok"]
    assert report.outcome is Outcome.FAILED


async def test_what_could_not_be_checked_is_unknown_and_stops_nothing(ground: Ground) -> None:
    report = await ground.run([step(Raising(error="UncheckableError")), step(Saying())])
    assert outcomes(report) == ["unknown", "ok"]
    assert report.outcome is Outcome.UNKNOWN


async def test_an_error_that_nobody_foresaw_fails_the_step_and_is_logged(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        report = await ground.run([step(Raising(error="ValueError"))])
    assert report.message == "testraising: unexpected ValueError: nothing works (the log has the traceback)"
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.exc_info is not None


async def test_a_timeout_of_the_action_itself_is_not_the_step_s(ground: Ground) -> None:
    report = await ground.run([step(Raising(error="TimeoutError"), seconds=30)])
    assert report.steps[0].message.startswith("unexpected TimeoutError: ")


async def test_a_step_that_takes_too_long_is_stopped(ground: Ground) -> None:
    report = await ground.run([step(Waiting(marker="one"), seconds=0.05), step(Saying())])
    assert outcomes(report) == ["failed", "skipped"]
    assert report.steps[0].message.startswith("timed out after ")
    assert (ground.scratch / "one").read_text() == "stopped"


async def test_a_run_that_takes_too_long_starts_nothing_more(ground: Ground) -> None:
    patient = step(Waiting(marker="one"), on_failure=OnFailure.CONTINUE, seconds=60)
    report = await ground.run([patient, step(Saying())], seconds=0.05)
    assert outcomes(report) == ["failed", "failed"]
    assert report.steps[0].message.endswith(", the whole run's time: give it a longer timeout")
    assert report.steps[1].message.startswith("not started: timed out after ")


async def test_a_step_knows_how_much_time_is_left(ground: Ground) -> None:
    report = await ground.run([step(Saying(), seconds=30), step(Saying())], seconds=600)
    assert 29 < report.steps[0].metrics["remaining"] <= 30
    assert 599 < report.steps[1].metrics["remaining"] <= 600


async def test_a_cancelled_run_stops_its_step_and_still_reports(ground: Ground) -> None:
    # given a run in its second step
    steps = [step(Saying()), step(Waiting(marker="two"), on_failure=OnFailure.CONTINUE), step(Saying())]
    run = asyncio.create_task(ground.run(steps))
    async with asyncio.timeout(10):
        while not (ground.scratch / "two").exists():  # noqa: ASYNC110 - the step sets no event of ours
            await asyncio.sleep(0.01)
    # when it is cancelled
    run.cancel()
    report = await run
    # then the step was stopped, nothing more was started, and the report says why
    assert outcomes(report) == ["ok", "failed", "skipped"]
    assert (ground.scratch / "two").read_text() == "stopped"
    assert report.message.endswith("stopped: the Pod was told to end (SIGTERM) before this step was done")


async def test_findings_of_all_steps_are_in_the_report(ground: Ground) -> None:
    report = await ground.run([step(Saying(finding="a")), step(Saying(finding="b"))])
    assert [finding.object for finding in report.findings] == ["a", "b"]
    assert report.counts.warning == 2


async def test_a_step_knows_what_its_last_run_left_and_leaves_something_itself(ground: Ground) -> None:
    first = replace_previous(step(Saying(memory={"said": "now"})), {"said": "then"})
    report = await ground.run([first, step(Saying())])
    assert [dict(each.memory) for each in report.steps] == [{"said": "now", "before": "then"}, {}]


async def test_what_is_too_much_to_remember_leaves_what_was_remembered(ground: Ground) -> None:
    much = {"said": "x" * (MEMORY_BYTES // 2)}
    second = replace_previous(step(Saying(memory=much)), {"said": "then"})
    report = await ground.run([step(Saying(memory=much)), second, step(Saying(memory={"said": "a"}))])
    assert [dict(each.memory) for each in report.steps] == [much, {"said": "then"}, {"said": "a"}]
    assert "not remembered for the next run: " in report.steps[1].message
    assert report.steps[1].message.endswith(" left: put the step into a task of its own")


async def test_findings_are_known_by_their_fingerprints_besides(ground: Ground) -> None:
    report = await ground.run([step(Saying(finding="a")), step(Saying())])
    assert [(each.findings, each.seen) for each in report.steps] == [(1, report.findings[0].fingerprint), (0, "")]


@pytest.mark.parametrize(
    "action",
    [
        Saying(memory={"said": SECRET}, text=SECRET),
        Saying(text=f"connected with {SECRET}", finding=f"object {SECRET}"),
        Raising(error="ActionError", text=f"refused {SECRET}"),
        Raising(error="ValueError", text=f"invalid literal {SECRET}"),
    ],
)
async def test_no_report_contains_a_credential(ground: Ground, action: Action) -> None:
    report = await ground.run([step(action)])
    assert SECRET not in report.encode()
    assert "[redacted]" in report.encode()
