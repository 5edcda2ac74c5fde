"""Two replicas, one leads; whatever happens to it, the other takes over and nothing runs twice."""

import signal
import time
from collections.abc import Callable
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any, Final

import pytest

from fakeapi.audit import Entry
from replicas import runs
from replicas.replica import NAMESPACE, Process
from replicas.stage import Stage, in_seconds, resource
from replicas.story import occasions

PATIENCE: Final = 60.0
DURATION: Final = 5
SETTINGS: Final = {
    "UPKEEP_LEASE_DURATION": str(DURATION),
    "UPKEEP_LEASE_RENEW_DEADLINE": "4",
    "UPKEEP_LEASE_CALL_TIMEOUT": "2",
    "UPKEEP_LEASE_RETRY_PERIOD": "0.25",
}
FIRST: Final = "upkeep-first"
SECOND: Final = "upkeep-second"


def lease(stage: Stage) -> dict[str, Any]:
    """What the Lease says, empty where there is none yet."""
    found = stage.cluster.list("leases", NAMESPACE)
    spec: dict[str, Any] = found[0]["spec"] if found else {}
    return spec


async def leads(stage: Stage, name: str) -> None:
    await stage.cluster.until(lambda: lease(stage).get("holderIdentity") == name, within=PATIENCE)


async def waits(stage: Stage) -> None:
    """Until whoever does not lead has looked at the Lease, which shows that it is there."""
    before = len(stage.cluster.audit)

    def looked() -> bool:
        asked = [entry for entry in stage.cluster.audit[before:] if entry.resource == "leases"]
        return any(one.verb == other.verb == "get" for one, other in pairwise(asked))

    await stage.cluster.until(looked, within=PATIENCE)


async def pair(stage: Stage) -> tuple[Process, Process]:
    """The first leads, the second waits."""
    first = await stage.household.operator(FIRST, settings=SETTINGS)
    await leads(stage, FIRST)
    second = await stage.household.operator(SECOND, settings=SETTINGS)
    await waits(stage)
    return first, second


def lease_writes(stage: Stage) -> list[Entry]:
    return [entry for entry in stage.cluster.writes if entry.resource == "leases" and entry.committed]


def due_in(stage: Stage, seconds: float) -> None:
    runs.runs_end_well(stage)
    stage.cluster.create(resource("MaintenanceTask", runs.NAME, {"runAt": in_seconds(seconds), "job": runs.JOB}))


async def ran_once(stage: Stage) -> None:
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    assert len(occasions(stage)) == 1
    assert [each["ending"] for each in stage.status("MaintenanceTask", runs.NAME)["history"]] == ["Ran"]


async def test_one_leads_and_does_the_work_the_other_only_watches(stage: Stage) -> None:
    await pair(stage)
    due_in(stage, 0)

    await ran_once(stage)

    assert lease(stage)["holderIdentity"] == FIRST
    assert {event["reportingInstance"] for event in stage.events()} == {FIRST}


async def test_when_the_leader_is_killed_the_other_takes_over_when_the_lease_expires(
    stage: Stage, measured: Callable[[str], None]
) -> None:
    first, second = await pair(stage)

    first.kill()
    killed = time.monotonic()
    renewed = read_exactly(lease(stage)["renewTime"])
    await leads(stage, SECOND)
    took = time.monotonic() - killed

    measured(f"kill -9 with a lease of {DURATION}s: the other leads after {took:.1f}s")
    assert (read_exactly(lease(stage)["acquireTime"]) - renewed).total_seconds() >= DURATION, "it took over early"
    assert lease(stage)["leaseTransitions"] == 1
    assert not second.ended


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(stage: Stage, measured: Callable[[str], None]) -> None:
    first, _ = await pair(stage)
    runs.ONCE.begin(stage)
    await ran_once(stage)

    told = time.monotonic()
    first.send(signal.SIGTERM)
    code = await first.end()
    ended = time.monotonic() - told
    await leads(stage, SECOND)
    took = time.monotonic() - told

    measured(f"SIGTERM: it ends after {ended:.2f}s, the other leads after {took:.2f}s")
    assert code == 0
    holders = [entry.body["spec"]["holderIdentity"] for entry in lease_writes(stage)]
    assert [name for name, _ in groupby(holders)] == [FIRST, "", SECOND]
    assert took < DURATION, "the other had to wait for the lease to expire"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_comes_due_as_the_leader_dies_is_started_once_by_the_other(stage: Stage, moment: str) -> None:
    first, _ = await pair(stage)
    here = stage.cluster.faults.on("create", "jobs", times=1)
    rule = here.kill_before(first.kill) if moment == "before" else here.kill_after(first.kill)

    due_in(stage, 0.2)
    await ran_once(stage)

    assert rule.fired == 1
    assert lease(stage)["holderIdentity"] == SECOND


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_what_comes_due_as_the_leader_hands_over_is_started_once(stage: Stage, moment: str) -> None:
    """Given a leader that is told to stop while it waits for the answer to its write, which never comes."""
    first, _ = await pair(stage)
    here = stage.cluster.faults.on("create", "jobs", times=1)
    strike = here.kill_before if moment == "before" else here.kill_after
    rule = strike(lambda: first.send(signal.SIGTERM))

    due_in(stage, 0.2)
    await ran_once(stage)

    assert rule.fired == 1
    assert lease(stage)["holderIdentity"] == SECOND
    assert await first.end() == 0


async def test_schedules_go_on_across_a_failover(stage: Stage) -> None:
    """Given three tasks that come due before the leader is killed, while nobody leads, and after."""
    first, _ = await pair(stage)
    runs.runs_end_well(stage)
    for name, seconds in {"before": 0, "between": 3, "after": DURATION + 3}.items():
        spec = {"runAt": in_seconds(seconds), "job": runs.JOB}
        stage.cluster.create(resource("MaintenanceTask", name, spec))
    await stage.cluster.until(lambda: stage.status("MaintenanceTask", "before").get("history"), within=PATIENCE)

    first.kill()
    names = ("before", "between", "after")
    await stage.cluster.until(
        lambda: all(stage.status("MaintenanceTask", name).get("history") for name in names), within=PATIENCE
    )

    assert len(occasions(stage)) == 3
    for name in names:
        assert [each["ending"] for each in stage.status("MaintenanceTask", name)["history"]] == ["Ran"]


async def test_a_leader_whose_lease_somebody_else_has_ends_with_an_error(stage: Stage) -> None:
    first, _ = await pair(stage)

    stage.cluster.patch("Lease", NAMESPACE, "upkeep-operator", {"spec": {"holderIdentity": "somebody-else"}})

    assert await first.end(within=PATIENCE) == 1
    assert "upkeep-system/upkeep-operator is lost: another replica takes over" in first.log


async def test_a_leader_that_cannot_reach_its_lease_ends_with_an_error_and_the_other_takes_over(stage: Stage) -> None:
    first, second = await pair(stage)
    outage = stage.cluster.faults.on(None, "leases").answer(503)

    assert await first.end(within=PATIENCE) == 1
    assert not second.ended, "who only waits has nothing to lose"
    outage.remove()

    await leads(stage, SECOND)


async def test_a_leader_that_was_frozen_wakes_up_as_nobody(stage: Stage) -> None:
    """Given a leader that does not run for longer than its lease, as on an overcommitted node."""
    first, second = await pair(stage)

    first.send(signal.SIGSTOP)
    due_in(stage, 0.2)
    await leads(stage, SECOND)
    await ran_once(stage)
    before = len(stage.writes)
    first.send(signal.SIGCONT)

    assert await first.end(within=PATIENCE) == 1
    assert lease(stage)["holderIdentity"] == SECOND
    assert not second.ended
    assert [entry for entry in stage.writes[before:] if entry.resource != "events"] == []
    assert len(occasions(stage)) == 1


async def test_a_replica_that_only_waits_ends_at_once_when_told_to(stage: Stage) -> None:
    first, second = await pair(stage)

    second.send(signal.SIGTERM)

    assert await second.end() == 0
    assert not first.ended
    assert lease(stage)["holderIdentity"] == FIRST


def read_exactly(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
