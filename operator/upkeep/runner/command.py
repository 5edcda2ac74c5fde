"""The process of a Job's Pod: reads its order from the environment, leaves its report as the termination message.

It must leave a report whatever happens, and it must stop within a Pod's grace period when told to.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from upkeep.actions.contract import Outcome
from upkeep.domain.order import (
    CREDENTIALS_DIRECTORY,
    ORDER_VARIABLE,
    SCRATCH_DIRECTORY,
    TERMINATION_MESSAGE_PATH,
    RunOrder,
)
from upkeep.domain.report import RunReport
from upkeep.runner import journal
from upkeep.runner.redaction import Redaction
from upkeep.runner.run import execute

EXIT_FAILED: Final = 1
EXIT_UNKNOWN: Final = 2
EXIT_TERMINATED: Final = 128 + signal.SIGTERM

_LOGGER: Final = logging.getLogger(__name__)
_RESOLVER_OPTIONS: Final = "timeout:2 attempts:2"


def main(
    *,
    environment: Mapping[str, str] = os.environ,
    credentials: Path = Path(CREDENTIALS_DIRECTORY),
    scratch: Path = Path(SCRATCH_DIRECTORY),
    termination: Path = Path(TERMINATION_MESSAGE_PATH),
) -> int:
    """Run the order in the environment and write the report.

    Returns:
        The exit code: 0 for a good outcome, 1 failed, 2 unknown, 143 stopped by SIGTERM.
    """
    # Process 1 of a container loses signals that it has no handler for; a blocked one waits for the handler instead.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.environ.setdefault("RES_OPTIONS", _RESOLVER_OPTIONS)  # a DNS server that is down must not hold the exit up
    journal.start(Redaction.of(credentials))
    try:
        order = RunOrder.decode(environment.get(ORDER_VARIABLE, ""))
    except (ValidationError, ValueError) as error:
        _leave(_unreadable(error), termination)
        return EXIT_FAILED
    with asyncio.Runner() as runner:
        terminated, report = runner.run(_attended(order, credentials=credentials, scratch=scratch))
        _leave(report, termination)
    return EXIT_TERMINATED if terminated else _exit_code(report.outcome)


async def _attended(order: RunOrder, *, credentials: Path, scratch: Path) -> tuple[bool, RunReport]:
    """Run the order while SIGTERM cancels it; tells whether it did."""
    terminated = asyncio.Event()
    run = asyncio.create_task(execute(order, credentials=credentials, scratch=scratch))

    def stop() -> None:
        if not terminated.is_set():
            terminated.set()
            run.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    report = await run
    return terminated.is_set(), report


def _exit_code(outcome: Outcome) -> int:
    if outcome.good:
        return 0
    return EXIT_UNKNOWN if outcome is Outcome.UNKNOWN else EXIT_FAILED


def _leave(report: RunReport, termination: Path) -> None:
    try:
        termination.write_text(report.encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        _LOGGER.warning("cannot write the report to %s: %s: it is only in this log", termination, reason)


def _unreadable(error: ValueError) -> RunReport:
    causes = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else []
    cause = f"{'.'.join(map(str, causes[0]['loc']))}: {causes[0]['msg']}" if causes else str(error)
    message = (
        f"cannot read the run order in {ORDER_VARIABLE}: {cause}: the operator and this image are of different "
        "versions; let them be the same"
    )
    _LOGGER.error(message)
    return RunReport(outcome=Outcome.FAILED, message=message)
