"""One Lease, several candidates: exactly one acts, and it stops before another begins."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from kubernetes.aio.client.configuration import Configuration

from fakeapi.server import FakeCluster
from upkeep.cluster.client import Client
from upkeep.cluster.lease import Leadership, LeadershipLostError, LeaseTimes, LeaseTimesError

NAMESPACE: Final = "upkeep-system"
NAME: Final = "upkeep-operator"
LONG_AGO: Final = "1999-12-31T00:00:00.000000Z"
PATIENCE: Final = 20.0
"""Seconds; only a test that fails waits so long."""


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster() as cluster:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield cluster


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with Client(Configuration(host=cluster.url)) as client:
        yield client


Candidate = Callable[[str], Leadership]


@pytest.fixture
def candidate(client: Client, clock: Clock) -> Candidate:
    times = LeaseTimes(duration=15, renew_deadline=10, call_timeout=4, retry_period=0.05)
    return lambda identity: Leadership(
        client, namespace=NAMESPACE, name=NAME, identity=identity, times=times, monotonic=clock
    )


def lease(cluster: FakeCluster) -> dict[str, Any]:
    spec: dict[str, Any] = cluster.get("Lease", NAMESPACE, NAME)["spec"]
    return spec


def held_by(cluster: FakeCluster, holder: str) -> None:
    """A Lease that somebody holds, last renewed long ago by the wall clock of some other machine."""
    cluster.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": 15,
                "acquireTime": LONG_AGO,
                "renewTime": LONG_AGO,
                "leaseTransitions": 3,
            },
        }
    )


async def asked(cluster: FakeCluster, *, more: int = 2) -> None:
    """Wait until the Lease was asked for so many times more."""
    before = len(cluster.audit)
    async with asyncio.timeout(PATIENCE):
        while sum(entry.resource == "leases" for entry in cluster.audit[before:]) < more:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


async def led(leadership: Leadership) -> None:
    """Wait until it leads: it knows a moment after the server does."""
    async with asyncio.timeout(PATIENCE):
        while not leadership.held:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(leadership: Leadership, *, until_led: bool = True) -> AsyncIterator["asyncio.Task[None]"]:
    """A candidate that waits, leads and renews for as long as the block lasts."""

    async def lead() -> None:
        await leadership.acquire()
        await leadership.keep()

    task = asyncio.create_task(lead())
    try:
        if until_led:
            await led(leadership)
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_the_first_to_come_makes_the_lease_and_leads(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")

    await leadership.acquire()

    assert leadership.held
    assert lease(cluster) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": lease(cluster)["renewTime"],
        "renewTime": lease(cluster)["renewTime"],
        "leaseTransitions": 0,
    }


async def test_of_two_that_come_at_once_one_leads(cluster: FakeCluster, candidate: Candidate) -> None:
    candidates = [candidate("a"), candidate("b")]

    async with running(candidates[0], until_led=False), running(candidates[1], until_led=False):
        await asked(cluster, more=12)

        assert sorted(each.held for each in candidates) == [False, True]


async def test_the_second_takes_over_when_the_lease_has_not_been_renewed_for_its_duration(
    cluster: FakeCluster, candidate: Candidate, clock: Clock
) -> None:
    held_by(cluster, "dead")
    second = candidate("b")

    async with running(second, until_led=False):
        await asked(cluster)
        clock.now += 14.9
        await asked(cluster)
        assert not second.held, "it took the Lease early"

        clock.now += 0.2
        await led(second)
    assert lease(cluster)["holderIdentity"] == "b"
    assert lease(cluster)["leaseTransitions"] == 4


async def test_what_counts_is_when_a_renewal_was_seen_not_what_time_it_claims(
    cluster: FakeCluster, candidate: Candidate, clock: Clock
) -> None:
    held_by(cluster, "a-node-whose-clock-is-wrong")
    second = candidate("b")

    async with running(second, until_led=False):
        for _ in range(3):
            await asked(cluster)
            clock.now += 14
            cluster.patch("Lease", NAMESPACE, NAME, {"metadata": {"labels": {"renewed": str(clock.now)}}})
            await asked(cluster)

            assert not second.held


async def test_a_holder_renews_and_keeps_what_it_has(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        first = lease(cluster)

        await asked(cluster, more=6)

        assert not task.done()
    assert lease(cluster)["renewTime"] > first["renewTime"]
    assert lease(cluster) | {"renewTime": ""} == first | {"renewTime": ""}


async def test_a_process_that_comes_back_under_its_name_leads_at_once(
    cluster: FakeCluster, candidate: Candidate
) -> None:
    held_by(cluster, "a")
    leadership = candidate("a")

    async with running(leadership):
        assert lease(cluster)["leaseTransitions"] == 3


async def test_a_lease_that_is_given_back_is_taken_at_once(cluster: FakeCluster, candidate: Candidate) -> None:
    first, second = candidate("a"), candidate("b")
    await first.acquire()
    async with running(second, until_led=False):
        await asked(cluster)

        await first.release()
        await led(second)

        assert not first.held


async def test_a_write_by_somebody_else_meanwhile_is_no_loss(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        conflict = cluster.faults.on("update", "leases", times=1).answer(409)

        await asked(cluster, more=6)

        assert conflict.fired == 1
        assert leadership.held
        assert not task.done()


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_errors_are_no_loss_while_the_deadline_has_not_passed(
    cluster: FakeCluster, candidate: Candidate, clock: Clock, code: int
) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        fault = cluster.faults.on(None, "leases").answer(code)
        clock.now += 9.9
        await asked(cluster)
        assert leadership.held

        clock.now += 0.2
        with pytest.raises(LeadershipLostError, match="upkeep-system/upkeep-operator is lost"):
            await asyncio.wait_for(task, PATIENCE)

        assert fault.fired


async def test_somebody_else_in_the_lease_ends_it_at_once(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        cluster.patch("Lease", NAMESPACE, NAME, {"spec": {"holderIdentity": "b"}})

        with pytest.raises(LeadershipLostError):
            await asyncio.wait_for(task, PATIENCE)

        assert not leadership.held
    assert lease(cluster)["holderIdentity"] == "b"


async def test_whoever_lost_the_lease_does_not_give_it_back(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        cluster.patch("Lease", NAMESPACE, NAME, {"spec": {"holderIdentity": "b"}})
        await asyncio.wait([task], timeout=PATIENCE)
        writes = len(cluster.writes)

        await leadership.release()

    assert len(cluster.writes) == writes


async def test_a_lease_is_given_back_also_when_its_last_renewal_was_never_answered(
    cluster: FakeCluster, candidate: Candidate
) -> None:
    """Given a holder that is told to stop while it renews: the renewal was committed, and it does not know."""
    leadership = candidate("a")
    await leadership.acquire()
    cluster.patch("Lease", NAMESPACE, NAME, {"spec": {"renewTime": LONG_AGO}})

    await leadership.release()

    assert lease(cluster)["holderIdentity"] == ""


async def test_a_lease_that_somebody_else_took_meanwhile_is_not_given_back(
    cluster: FakeCluster, candidate: Candidate
) -> None:
    leadership = candidate("a")
    await leadership.acquire()
    cluster.patch("Lease", NAMESPACE, NAME, {"spec": {"holderIdentity": "b"}})

    await leadership.release()

    assert lease(cluster)["holderIdentity"] == "b"


async def test_a_lease_that_cannot_be_given_back_is_left_to_expire(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    await leadership.acquire()
    cluster.faults.on("update", "leases").answer(500)

    await leadership.release()

    assert not leadership.held
    assert lease(cluster)["holderIdentity"] == "a"


async def test_a_lease_that_was_deleted_is_made_again(cluster: FakeCluster, candidate: Candidate) -> None:
    leadership = candidate("a")
    async with running(leadership) as task:
        cluster.delete("Lease", NAMESPACE, NAME)

        await asked(cluster, more=4)

        assert not task.done()
    assert lease(cluster)["holderIdentity"] == "a"


async def test_a_lease_without_content_is_free(cluster: FakeCluster, candidate: Candidate) -> None:
    cluster.create(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
        }
    )

    await asyncio.wait_for(candidate("a").acquire(), PATIENCE)

    assert lease(cluster)["holderIdentity"] == "a"


async def test_an_answer_that_never_comes_does_not_carry_a_holder_past_its_deadline(
    cluster: FakeCluster, client: Client
) -> None:
    times = LeaseTimes(duration=4, renew_deadline=1.6, call_timeout=1.2, retry_period=0.1)
    leadership = Leadership(client, namespace=NAMESPACE, name=NAME, identity="a", times=times)
    async with running(leadership) as task:
        # Each request alone stays within its timeout; both together would go past the deadline.
        cluster.faults.on("get", "leases").delay(1.1)
        cluster.faults.on("update", "leases").delay(1.1)
        begun = time.monotonic()

        with pytest.raises(LeadershipLostError):
            await asyncio.wait_for(task, PATIENCE)

        assert time.monotonic() - begun < times.duration, "another replica may act by now"


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        ({"duration": 10, "renew_deadline": 10.0}, r"lease duration \(10s\) > renew deadline \(10s\)"),
        ({"renew_deadline": 4.0}, r"renew deadline \(4s\) > call timeout \(4s\)"),
        ({"call_timeout": 1.0}, r"call timeout \(1s\) > retry period \(1s\)"),
        ({"retry_period": 0.0}, r"retry period \(0s\) > 0"),
        ({"retry_period": 3.0}, r"leaves no time for a renewal, which takes up to 10s"),
    ],
)
def test_times_that_would_let_two_act_are_refused(times: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LeaseTimesError, match=complaint):
        LeaseTimes(**times)
