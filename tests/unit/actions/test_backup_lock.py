"""The lock of a Pod that is gone is told from all others by the whole name of its Job."""

import pytest

from upkeep.actions.backup.lock import Departed

JOB = "shop-db-daily-29380000-1a2b3c4d"
LONG = "a-very-long-name-of-a-policy-daily-x-window-29380000-1a2b3c4d"


@pytest.mark.parametrize(("job", "pod"), [(JOB, f"{JOB}-x7k2p"), (LONG, f"{f'{LONG}-'[:58]}x7k2p")])
def test_it_was_the_pod_of_a_job_that_has_ended(job: str, pod: str) -> None:
    assert Departed(["another", job]).left({"hostname": pod})


@pytest.mark.parametrize(
    "host",
    [JOB, f"{JOB}-", f"{JOB}-x7k2", f"{JOB}-x7k2pp", f"{JOB}-X7K2P", f"x{JOB}-x7k2p", f"{JOB}-x7k2p\n", "", None],
)
def test_anybody_else_may_still_be_there(host: str | None) -> None:
    assert not Departed([JOB]).left({"hostname": host})


def test_nobody_is_known_to_be_gone_at_first() -> None:
    assert not Departed().left({"hostname": f"{JOB}-x7k2p"})
    assert not Departed([JOB]).left({})
