"""A run whose Pod nobody admits says so while it waits and when its time is over, and never by mistake."""

from typing import Any, Final

import pytest

from upkeep.domain.run import observe

STARTED: Final = "2026-03-01T01:00:00Z"
TRIED: Final[dict[str, Any]] = {"startTime": STARTED, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
"""What the Job controller writes when it could not create the Pod (seen on Kubernetes 1.34)."""


def _job(status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "care-1", "uid": "uid-1", "creationTimestamp": STARTED}, "status": status}


def test_a_pod_that_is_not_admitted_is_a_trouble_that_says_where_to_look() -> None:
    run = observe(_job(TRIED), [])

    assert run.trouble is not None
    assert run.trouble.reason == "PodRefused"
    assert "no Pod of it is admitted" in run.trouble.message
    assert "`kubectl describe job care-1` tells which" in run.trouble.message


def test_at_the_deadline_it_is_not_said_to_have_taken_too_long() -> None:
    over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "lastTransitionTime": STARTED}

    run = observe(_job({**TRIED, "conditions": [over]}), [])

    assert run.trouble is None
    assert run.message.startswith("no Pod of it was admitted before its timeout: a ServiceAccount that does not exist")


@pytest.mark.parametrize(
    "status",
    [
        {},
        {**TRIED, "active": 1},
        {**TRIED, "failed": 1},
        {**TRIED, "succeeded": 1},
        {**TRIED, "terminating": 1},
        {**TRIED, "uncountedTerminatedPods": {"succeeded": ["uid-2"]}},
    ],
    ids=["new", "active", "failed", "succeeded", "terminating", "uncounted"],
)
def test_a_job_whose_pod_is_only_not_seen_yet_has_no_trouble(status: dict[str, Any]) -> None:
    assert observe(_job(status), []).trouble is None
