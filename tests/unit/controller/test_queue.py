"""The work queue: nothing is handled twice at once, nothing is forgotten, and nobody is woken early."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from weakref import WeakSet

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.controller.virtual import at, clock, elapsed, lived
from upkeep.cluster.cache import Key
from upkeep.controller.queue import WorkQueue

A, B, C = (Key("maintenancetasks", "team", name) for name in "abc")
KEYS: Final = st.sampled_from((A, B, C))
WORKERS: Final = 3


class Moment(datetime):
    """A time of which can be told whether anybody still keeps it."""


def new(clock: Callable[[], datetime] = clock) -> WorkQueue:
    return WorkQueue(clock=clock, monotonic=elapsed)


@asynccontextmanager
async def beside(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something that goes on meanwhile, and ends with the test."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


def test_a_key_that_is_asked_for_twice_is_handled_once() -> None:
    async def story() -> None:
        queue = new()
        for key in (A, B, A, A, B):
            queue.add(key)

        assert len(queue) == 2
        assert [await queue.take(), await queue.take()] == [A, B]
        assert len(queue) == 0

    lived(story())


def test_a_key_that_is_asked_for_while_it_is_handled_is_handled_once_more_and_only_then() -> None:
    async def story() -> None:
        queue = new()
        queue.add(A)
        key = await queue.take()

        queue.add(A)
        queue.add(A)
        waiting = len(queue)
        queue.done(key)

        assert waiting == 0
        assert await queue.take() == A
        queue.done(A)
        assert len(queue) == 0

    lived(story())


@settings(max_examples=60, deadline=None)
@given(
    asked=st.lists(st.tuples(KEYS, st.integers(0, 20)), max_size=30),
    takes=st.lists(st.integers(0, 7), min_size=1, max_size=10),
)
def test_whoever_works_no_key_is_in_two_hands_and_each_request_is_answered_after_it_was_made(
    asked: list[tuple[Key, int]], takes: list[int]
) -> None:
    """Given some workers who take their time."""
    in_hand: set[Key] = set()
    began: list[tuple[Key, float]] = []
    made: list[tuple[Key, float]] = []

    async def work(queue: WorkQueue) -> None:
        while True:
            key = await queue.take()
            assert key not in in_hand
            in_hand.add(key)
            began.append((key, elapsed()))
            await asyncio.sleep(takes[len(began) % len(takes)])
            in_hand.discard(key)
            queue.done(key)

    async def story() -> None:
        queue = new()
        async with beside(*(work(queue) for _ in range(WORKERS))):
            for key, pause in asked:
                await asyncio.sleep(pause)
                made.append((key, elapsed()))
                queue.add(key)
            await asyncio.sleep(1000)
        assert len(queue) == 0

    lived(story())

    assert all(any(start >= when for done, start in began if done == key) for key, when in made)
    assert len(began) <= len(made)


def test_workers_who_are_stopped_take_nothing_with_them() -> None:
    """Given more who wait than there is to do, and all but one of them stopped when it comes."""

    async def story() -> None:
        queue = new()
        waiting = [asyncio.create_task(queue.take()) for _ in range(WORKERS)]
        await asyncio.sleep(1)
        for each in waiting[1:]:
            each.cancel()
        queue.add(A)

        assert await waiting[0] == A
        assert (await asyncio.gather(*waiting[1:], return_exceptions=True)).count(A) == 0
        late = asyncio.create_task(queue.take())
        queue.add(B)
        assert await late == B

    lived(story())


def test_the_lag_is_how_long_the_oldest_key_has_been_waiting() -> None:
    async def story() -> None:
        queue = new()
        lags = [queue.lag]
        queue.add(A)
        await asyncio.sleep(5)
        queue.add(B)
        queue.add(A)
        await asyncio.sleep(2)
        lags.append(queue.lag)
        await queue.take()
        lags.append(queue.lag)
        await queue.take()
        lags.append(queue.lag)

        assert lags == pytest.approx([0, 7, 2, 0])

    lived(story())


async def rung(queue: WorkQueue, heard: list[tuple[Key, float]]) -> None:
    """Note when each key becomes ready."""
    while True:
        key = await queue.take()
        heard.append((key, elapsed()))
        queue.done(key)


def heard_of(setting: Callable[[WorkQueue], Coroutine[Any, Any, None]], *, within: float) -> list[tuple[Key, float]]:
    heard: list[tuple[Key, float]] = []

    async def story() -> None:
        queue = new()
        async with beside(queue.ring(), rung(queue, heard)):
            await setting(queue)
            await asyncio.sleep(within - elapsed())

    lived(story())
    return [(key, round(when, 3)) for key, when in heard]


def test_a_key_is_ready_when_its_time_has_come_even_hours_from_now() -> None:
    async def set_them(queue: WorkQueue) -> None:
        queue.add_at(A, at(7200.5))
        queue.add_at(B, at(3600))
        queue.add_at(C, at(-5))

    assert heard_of(set_them, within=86_400) == [(C, 0), (B, 3600), (A, 7200.5)]


@pytest.mark.parametrize(("later", "rings"), [(50, [(A, 50)]), (200, [(A, 200)]), (None, [])])
def test_a_time_replaces_the_one_before(later: float | None, rings: list[tuple[Key, float]]) -> None:
    async def set_them(queue: WorkQueue) -> None:
        queue.add_at(A, at(100))
        await asyncio.sleep(10)
        queue.add_at(A, None if later is None else at(later))

    assert heard_of(set_them, within=1000) == rings


def test_a_time_that_is_set_taken_back_and_set_again_rings_once() -> None:
    async def set_them(queue: WorkQueue) -> None:
        for when in (at(100), None, at(100), at(300), at(100)):
            queue.add_at(A, when)

    assert heard_of(set_them, within=1000) == [(A, 100)]


@settings(max_examples=80, deadline=None)
@given(
    moves=st.lists(st.tuples(KEYS, st.integers(0, 40), st.none() | st.integers(0, 400)), max_size=25),
)
def test_each_key_rings_at_the_last_time_that_was_set_for_it_and_never_before(
    moves: list[tuple[Key, int, int | None]],
) -> None:
    """Given keys that are moved at whole seconds, to half ones."""
    alarms: dict[Key, float] = {}
    expected: list[tuple[float, Key]] = []

    def pass_until(now: float) -> None:
        for key, when in [*alarms.items()]:
            if when <= now:
                expected.append((alarms.pop(key), key))

    async def set_them(queue: WorkQueue) -> None:
        for key, pause, when in moves:
            await asyncio.sleep(pause)
            now = round(elapsed())
            pass_until(now)
            queue.add_at(key, None if when is None else at(when + 0.5))
            alarms.pop(key, None)
            if when is not None:
                alarms[key] = max(when + 0.5, now)
            await asyncio.sleep(1)

    heard = heard_of(set_them, within=5000)
    pass_until(5000)

    assert sorted((when, key) for key, when in heard) == sorted(expected)


def test_a_clock_that_is_set_forward_is_noticed_soon() -> None:
    ahead = timedelta(0)
    heard: list[tuple[Key, float]] = []

    async def story() -> None:
        nonlocal ahead
        queue = new(lambda: clock() + ahead)
        async with beside(queue.ring(), rung(queue, heard)):
            queue.add_at(A, at(86_400))
            await asyncio.sleep(100)
            ahead = timedelta(days=1)
            await asyncio.sleep(31)

    lived(story())

    assert [key for key, _ in heard] == [A]


@pytest.mark.parametrize("taken_back", [False, True])
def test_times_that_were_replaced_are_not_kept(taken_back: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Given a key that is moved ten thousand times, among others that stay."""
    kept: WeakSet[Moment] = WeakSet()
    queue = new(lambda: at(0))
    queue.add_at(B, at(86_400))
    queue.add_at(C, at(86_401))

    for second in range(10_000):
        moment = Moment.fromtimestamp(1_800_000_000 - second, UTC)
        kept.add(moment)
        queue.add_at(A, moment)
        if taken_back:
            queue.add_at(A, None)

    assert len(kept) < 200


def test_what_replaced_times_leave_behind_disturbs_no_alarm() -> None:
    async def set_them(queue: WorkQueue) -> None:
        queue.add_at(B, at(150))
        for second in range(1000):
            queue.add_at(A, at(5000 - second))
        queue.add_at(C, at(100))
        queue.add_at(A, at(120))

    assert heard_of(set_them, within=9000) == [(C, 100), (A, 120), (B, 150)]
