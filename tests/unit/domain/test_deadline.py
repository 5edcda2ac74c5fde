"""A run that is stopped for its deadline is over at once: its Pod is deleted, and nobody waits for its last words."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from upkeep.actions.contract import Outcome
from upkeep.domain.history import SETTLING, settled
from upkeep.domain.run import observe

ENDED: Final = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def _job(reason: str) -> dict[str, Any]:
    condition = {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": "2026-03-01T02:00:00Z"}
    return {
        "metadata": {"name": "care-1", "uid": "uid-1", "creationTimestamp": "2026-03-01T01:00:00Z"},
        "status": {"startTime": "2026-03-01T01:00:00Z", "failed": 1, "conditions": [condition]},
    }


def test_a_run_beyond_its_deadline_is_recorded_at_once() -> None:
    run = observe(_job("DeadlineExceeded"), [])

    assert settled(run, ENDED)
    assert run.outcome is Outcome.FAILED
    assert run.message == "it took longer than its timeout and was stopped"


@pytest.mark.parametrize("wait", [timedelta(0), SETTLING - timedelta(seconds=1)])
def test_any_other_failed_run_is_given_time_for_the_last_words_of_its_pod(wait: timedelta) -> None:
    run = observe(_job("BackoffLimitExceeded"), [])

    assert not settled(run, ENDED + wait)
    assert settled(run, ENDED + SETTLING)
