"""Turns, sends and what is remembered of them, between decisions and channels that take their time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from upkeep.api.window.notices import NoticeKind
from upkeep.cluster.cache import Cache, Key
from upkeep.controller.metrics import Metrics
from upkeep.controller.notifier import AT_ONCE, Notifier
from upkeep.controller.queue import WorkQueue
from upkeep.domain.notices import Attempt, Delivery, Message, NoticeKey, Receipt, SendNotice
from upkeep.notify.channels import Channel

TEXT: Final = Message("subject", "body")
SENT: Final = Delivery(Receipt.SENT)


def window(number: int = 0, namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": f"w{number}", "uid": f"uid-{number}"}}


def key_of(resource: dict[str, Any]) -> Key:
    return Key("maintenancewindows", resource["metadata"]["namespace"], resource["metadata"]["name"])


def order(claim: str, channel: str = "chat") -> SendNotice:
    key = NoticeKey(occurrence="2026-03-02T02:00:00Z", kind=NoticeKind.OPENED, lead=None, round=0, channel=channel)
    return SendNotice(attempt=Attempt(key, claim), message=TEXT)


class Place:
    """A notifier with a channel that answers when it is let."""

    def __init__(self, file: Path, answer: Callable[[Channel, Message], Delivery] | None = None) -> None:
        self.file = file
        self.file.write_text("chat: {url: 'json://chat'}\nmine: {url: 'json://mine', namespaces: [shop]}\n")
        self.gate = threading.Event()
        cache = Cache()
        self.queue = WorkQueue(clock=lambda: datetime.now(UTC), monotonic=lambda: 0.0)
        self.metrics = Metrics(prefix="upkeep", cache=cache)
        self.notifier = Notifier(
            file=file,
            identity="upkeep-0",
            cache=cache,
            queue=self.queue,
            metrics=self.metrics,
            send=answer or self._answer,
        )

    def _answer(self, _channel: Channel, _message: Message) -> Delivery:
        self.gate.wait()
        return SENT

    def counted(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "upkeep_notifications_total", {"channel": "chat", "result": result}
        )

    def with_turns(self, windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in windows if "chat" in self.notifier.post(each).turns]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "channels.yaml")
    yield made
    made.gate.set()
    await made.notifier.drain(10)


async def test_a_channel_is_offered_only_to_the_namespaces_that_may_use_it(place: Place) -> None:
    assert place.notifier.post(window()).channels == {"chat", "mine"}
    assert place.notifier.post(window(namespace="other")).channels == {"chat"}


async def test_of_many_that_wait_only_so_many_have_a_turn_as_can_be_sent_at_once(place: Place) -> None:
    windows = [window(number) for number in range(500)]
    for each in windows:
        place.notifier.ask(each, "chat")

    assert place.with_turns(windows) == windows[:AT_ONCE]
    assert len(place.queue) == AT_ONCE


async def test_a_turn_that_was_not_used_goes_to_the_next(place: Place) -> None:
    windows = [window(number) for number in range(AT_ONCE + 1)]
    for each in windows:
        place.notifier.ask(each, "chat")
    place.with_turns(windows)

    place.notifier.settle(key_of(windows[0]))

    assert place.with_turns(windows) == windows[1:]


async def test_a_turn_that_came_after_the_snapshot_is_kept(place: Place) -> None:
    assert place.notifier.post(window()).turns == frozenset()
    place.notifier.ask(window(), "chat")

    place.notifier.settle(key_of(window()))

    assert place.notifier.post(window()).turns == {"chat"}


async def test_a_window_that_is_gone_holds_no_turn(place: Place) -> None:
    windows = [window(number) for number in range(AT_ONCE + 1)]
    for each in windows:
        place.notifier.ask(each, "chat")

    place.notifier.settle(key_of(windows[0]))

    assert windows[AT_ONCE] in place.with_turns(windows)


async def test_what_is_sent_is_in_flight_then_delivered_and_then_forgotten(place: Place) -> None:
    one = order("upkeep-0/1")
    place.notifier.begin(window(), one)
    assert place.notifier.post(window()).in_flight == {one.attempt}

    place.gate.set()
    assert await asyncio.wait_for(place.queue.take(), 10) == key_of(window())
    post = place.notifier.post(window())
    assert post.in_flight == frozenset()
    assert post.deliveries == {one.attempt: SENT}
    assert place.counted("sent") == 1.0

    place.notifier.recorded("uid-0", [])
    post = place.notifier.post(window())
    assert post.deliveries == {}
    assert post.begun == {one.attempt.key}


async def test_who_ends_waits_for_what_is_on_its_way_until_it_is_recorded_but_not_for_ever(place: Place) -> None:
    place.notifier.begin(window(), order("upkeep-0/1"))
    await place.notifier.drain(0.01)

    ending = asyncio.create_task(place.notifier.drain(10))
    place.gate.set()
    await asyncio.wait_for(place.queue.take(), 10)
    assert not ending.done()
    place.notifier.recorded("uid-0", [])

    await asyncio.wait_for(ending, 5)


async def test_who_ends_begins_nothing_more(place: Place) -> None:
    await place.notifier.drain(1)

    place.notifier.ask(window(), "chat")

    assert place.notifier.post(window()).turns == frozenset()


async def test_an_error_in_a_plugin_leaves_the_message_in_doubt_and_tells_nothing_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_channel: Channel, _message: Message) -> Delivery:
        msg = "json://user:canary@chat"
        raise LookupError(msg)

    place = Place(tmp_path / "channels.yaml", broken)
    one = order("upkeep-0/1")
    place.notifier.begin(window(), one)
    await asyncio.wait_for(place.queue.take(), 10)

    delivery = place.notifier.post(window()).deliveries[one.attempt]

    assert delivery == Delivery(Receipt.UNKNOWN, "it failed unexpectedly (LookupError)")
    assert "canary" not in caplog.text


async def test_a_file_that_is_wrong_changes_nothing_and_is_complained_of_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.file.write_text("chat: {url: 'canary'}")

    assert not place.notifier.load()
    assert not place.notifier.load()

    assert place.notifier.post(window()).channels == {"chat", "mine"}
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


async def test_a_channel_that_is_gone_refuses(place: Place) -> None:
    place.file.write_text("other: {url: 'json://other'}")
    assert place.notifier.load()
    one = order("upkeep-0/1")

    place.notifier.begin(window(), one)
    await asyncio.wait_for(place.queue.take(), 10)

    assert place.notifier.post(window()).deliveries[one.attempt].receipt is Receipt.REFUSED
