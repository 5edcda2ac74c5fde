"""What is seen of the cluster asks for the decisions that it calls for, and shows whether the watches live."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.resources import BACKUPS, JOBS, PODS, TASKS, WINDOWS, Resource
from upkeep.controller.queue import WorkQueue
from upkeep.controller.watches import Observer

Object = dict[str, Any]
MOMENT: Final = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class Watcher:
    """An observer, what it asked for, and a clock that a test sets."""

    seconds: float = 0.0
    cache: Cache = field(default_factory=Cache)

    def __post_init__(self) -> None:
        self.queue = WorkQueue(clock=lambda: MOMENT, monotonic=lambda: self.seconds)
        self.observer = Observer(self.cache, self.queue, monotonic=lambda: self.seconds)

    async def asked(self) -> list[str]:
        """The names of what is to be decided upon, taken out of the queue."""
        found = []
        while len(self.queue):
            key = await self.queue.take()
            self.queue.done(key)
            found.append(key.name)
        return sorted(found)


def thing(name: str, version: int, *, generation: int = 1, namespace: str = "shop", **more: Any) -> Object:  # noqa: ANN401
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | {"generation": generation}} | more


def job_of(owner: str, version: int, *, kind: str = "MaintenanceTask", **labels: str) -> Object:
    body = thing(f"{owner[:40]}-1", version)
    body["metadata"]["labels"] = {"upkeep.dev/owner-kind": kind, "upkeep.dev/owner-name": owner[:63]} | labels
    return body


@pytest.mark.parametrize("kind", [TASKS, WINDOWS, BACKUPS], ids=lambda kind: kind.kind)
async def test_news_of_a_resource_ask_for_a_decision_and_old_news_do_not(kind: Resource) -> None:
    watcher = Watcher()
    asked = []
    for version in (5, 5, 4, 6):
        watcher.observer.seen(kind, thing("nightly", version))
        asked.append(await watcher.asked())

    assert asked == [["nightly"], [], [], ["nightly"]]


@pytest.mark.parametrize("kind", [JOBS, PODS], ids=lambda kind: kind.kind)
async def test_news_of_a_run_ask_for_a_decision_about_its_owner(kind: Resource) -> None:
    watcher = Watcher()
    for owner in ("nightly", "nightly-two", "n" * 63, "n" * 70):
        watcher.observer.seen(TASKS, thing(owner, 1))
    await watcher.asked()

    watcher.observer.seen(kind, job_of("nightly", 2))
    short = await watcher.asked()
    watcher.observer.seen(kind, job_of("n" * 70, 3))

    assert short == ["nightly"]
    assert await watcher.asked() == ["n" * 63, "n" * 70], "its label is too short to tell which of the two"


async def test_a_run_of_a_window_wakes_the_window_too() -> None:
    watcher = Watcher()
    watcher.observer.seen(TASKS, thing("nightly", 1))
    watcher.observer.seen(WINDOWS, thing("sunday", 2, spec={}))
    await watcher.asked()

    watcher.observer.seen(JOBS, job_of("nightly", 3, **{"upkeep.dev/window-uid": "uid-sunday"}))

    assert await watcher.asked() == ["nightly", "sunday"]


async def test_a_resource_that_is_gone_asks_once_more_so_that_somebody_notices() -> None:
    watcher = Watcher()
    watcher.observer.seen(TASKS, thing("nightly", 1))
    await watcher.asked()

    watcher.observer.seen(TASKS, thing("nightly", 2), deleted=True)
    gone = await watcher.asked()
    watcher.observer.forgotten(Key(TASKS.plural, "shop", "other"))
    watcher.observer.forgotten(Key(JOBS.plural, "shop", "nightly-1"))

    assert gone == ["nightly"]
    assert await watcher.asked() == ["other"]


def test_a_write_that_no_watch_shows_makes_the_watches_old_until_one_shows_it() -> None:
    watcher = Watcher()
    ages = [watcher.observer.watch_age]
    watcher.observer.wrote(TASKS, thing("nightly", 7))
    for seconds, version in ((10, 6), (200, 7)):
        watcher.seconds = seconds
        ages.append(watcher.observer.watch_age)
        watcher.observer.seen(TASKS, thing("other", version))
        ages.append(watcher.observer.watch_age)

    assert ages == [0, 10, 10, 200, 0]


def test_a_watch_that_was_quicker_than_the_answer_owes_nothing() -> None:
    watcher = Watcher()
    watcher.observer.seen(TASKS, thing("nightly", 7))
    watcher.observer.wrote(TASKS, thing("nightly", 7))
    watcher.seconds = 500

    assert watcher.observer.watch_age == 0


def test_the_watch_of_one_kind_does_not_speak_for_that_of_another() -> None:
    watcher = Watcher()
    watcher.observer.wrote(JOBS, thing("nightly-1", 7))
    watcher.seconds = 181

    watcher.observer.seen(TASKS, thing("nightly", 9))

    assert watcher.observer.watch_age == 181


def test_later_writes_do_not_make_an_old_debt_younger() -> None:
    watcher = Watcher()
    for seconds in range(0, 200, 20):
        watcher.seconds = seconds
        watcher.observer.wrote(JOBS, thing("nightly-1", 100 + seconds))

    assert watcher.observer.watch_age == 180
