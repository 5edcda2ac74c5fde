"""The probes: what a process that has stopped working answers, and that it gets well again by itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from upkeep.controller.probes import (
    LONGEST_LEASE_SILENCE,
    LONGEST_QUEUE_LAG,
    LONGEST_WATCH_AGE,
    Vitals,
    application,
)

WELL: Final = Vitals(leading=True, synced=True, lease_silence=1.0, queue_lag=0.0, watch_age=0.0)


class Patient:
    """A process whose vitals a test sets, and its HTTP port."""

    def __init__(self, client: TestClient[Request, Application]) -> None:
        self.vitals = WELL
        self._client = client

    async def answer(self, path: str) -> tuple[int, str]:
        async with self._client.get(path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def patient() -> AsyncIterator[Patient]:
    registry = CollectorRegistry()
    Gauge("upkeep_leader", "1 while it acts.", registry=registry).set(1)
    found: list[Patient] = []
    async with TestClient(TestServer(application(lambda: found[0].vitals, registry))) as client:
        found.append(Patient(client))
        yield found[0]


@pytest.mark.parametrize(
    ("ill", "says"),
    [
        ({"lease_silence": LONGEST_LEASE_SILENCE + 1}, "the Lease has not been reached for 61s"),
        ({"queue_lag": LONGEST_QUEUE_LAG + 1}, "a resource has been waiting for a decision for 121s"),
        ({"watch_age": LONGEST_WATCH_AGE + 1}, "the watches have not shown a write for 181s"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_it_is_ill_while_one_thing_does_not_work_and_well_afterwards(
    ill: dict[str, Any], says: str, patient: Patient
) -> None:
    answers = []
    for vitals in (WELL, replace(WELL, **ill), WELL):
        patient.vitals = vitals
        answers.append(await patient.answer("/healthz"))

    assert answers == [(200, "ok"), (503, says), (200, "ok")]


async def test_it_says_all_that_is_wrong_at_once(patient: Patient) -> None:
    patient.vitals = replace(WELL, lease_silence=100.0, queue_lag=200.0, watch_age=300.0)

    status, text = await patient.answer("/healthz")

    assert status == 503
    assert text.count("; ") == 2


@pytest.mark.parametrize(
    ("vital", "longest"),
    [
        ("lease_silence", LONGEST_LEASE_SILENCE),
        ("queue_lag", LONGEST_QUEUE_LAG),
        ("watch_age", LONGEST_WATCH_AGE),
    ],
)
def test_it_is_given_just_so_long_to_recover(vital: str, longest: float) -> None:
    assert not replace(WELL, **{vital: longest}).complaints()  # type: ignore[arg-type]  # only numbers are set
    assert replace(WELL, **{vital: longest + 0.1}).complaints()  # type: ignore[arg-type]  # only numbers are set


@given(silence=st.none() | st.floats(0, LONGEST_LEASE_SILENCE), lag=st.floats(0, 1e9))
def test_who_waits_for_the_lease_is_not_ill_for_what_only_a_leader_does(silence: float | None, lag: float) -> None:
    waiting = Vitals(leading=False, synced=True, lease_silence=silence, queue_lag=lag, watch_age=0.0)

    assert waiting.complaints() == []


def test_a_restart_comes_only_after_kopf_had_the_time_to_notice_a_dead_watch_itself() -> None:
    assert LONGEST_WATCH_AGE > 70


@pytest.mark.parametrize(
    ("leading", "synced", "answer"),
    [
        (True, True, (200, "leading")),
        (False, True, (200, "standing by")),
        (True, False, (503, "not synced yet")),
        (False, False, (503, "not synced yet")),
    ],
)
async def test_it_is_ready_when_it_knows_what_it_has_to(
    leading: bool,  # noqa: FBT001 - a parameter of the test
    synced: bool,  # noqa: FBT001 - a parameter of the test
    answer: tuple[int, str],
    patient: Patient,
) -> None:
    patient.vitals = replace(WELL, leading=leading, synced=synced)

    assert await patient.answer("/readyz") == answer


async def test_who_is_ill_is_not_taken_out_of_service_for_it(patient: Patient) -> None:
    """Given that the metrics tell why, and that Kubernetes restarts it anyway."""
    patient.vitals = replace(WELL, queue_lag=1000.0)

    assert await patient.answer("/readyz") == (200, "leading")
    assert "upkeep_leader 1.0" in (await patient.answer("/metrics"))[1]
