"""Sends what decisions have claimed, beside them: no decision ever waits for a channel.

A message is sent only after its claim stands in the status, so it goes out at most once. Claims are made by turns, as
many as can be sent at once: what waits for its turn is claimed by nobody, and an operator that is killed leaves only
those messages in doubt that it was sending or had not yet noted as sent. All that is kept here may be lost.
"""

import asyncio
import contextlib
import itertools
import logging
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from upkeep.api.window.notices import Notice, NoticeState
from upkeep.cluster.cache import Cache, Key
from upkeep.cluster.client import Object
from upkeep.cluster.resources import WINDOWS
from upkeep.configuration import ConfigurationError
from upkeep.controller.metrics import Metrics
from upkeep.controller.queue import WorkQueue
from upkeep.domain.notices import Attempt, Delivery, Message, NoticeKey, Post, Receipt, SendNotice
from upkeep.domain.notices.farewell import farewell
from upkeep.notify.channels import Channel, read_channels

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Messages under way on one channel."""
LONGEST_SEND: Final = 60.0
"""Seconds after which nobody waits for a channel any more; its own timeouts are shorter."""
LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at the file of channels."""
_FAREWELL_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
REMEMBERED_WINDOWS: Final = 10_000
REMEMBERED_MESSAGES: Final = 100
"""So many of a window are known to have been begun by this process, should the status be lost."""

Send = Callable[[Channel, Message], Delivery]


class Notifier:
    """The messages of all windows, between their claims and what comes of them.

    Args:
        file: where the channels stand; None: there are none.
        identity: of this replica.
        cache: where the windows are.
        queue: asked for decisions.
        metrics: where attempts are counted.
        send: how a message is sent; left out: by Apprise, which is loaded only when it is needed.
    """

    def __init__(
        self,
        *,
        file: Path | None,
        identity: str,
        cache: Cache,
        queue: WorkQueue,
        metrics: Metrics,
        send: Send | None = None,
    ) -> None:
        self._file = file
        self._sender = f"{identity}-{secrets.token_hex(4)}"
        self._cache = cache
        self._queue = queue
        self._metrics = metrics
        self._send = send
        self._claims = itertools.count(1)
        self._channels: Mapping[str, Channel] = {}
        self._complaint = ""
        self._waiting: dict[str, deque[Key]] = {}
        self._turns: dict[str, set[Key]] = {}
        self._shown: dict[Key, frozenset[str]] = {}
        self._closing = False
        self._under_way: dict[str, int] = {}
        self._in_flight: dict[str, set[Attempt]] = {}
        self._deliveries: dict[str, dict[Attempt, Delivery]] = {}
        self._begun: OrderedDict[str, deque[NoticeKey]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._parting = asyncio.Semaphore(AT_ONCE)
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.load()

    def post(self, resource: Object) -> Post:
        """The delivery of the messages of a window, for a decision about it."""
        metadata = resource["metadata"]
        uid, key = metadata["uid"], _key(resource)
        turns = self._shown[key] = frozenset(channel for channel, keys in self._turns.items() if key in keys)
        return Post(
            sender=self._sender,
            claim=f"{self._sender}/{next(self._claims)}",
            channels=frozenset(
                name for name, channel in self._channels.items() if channel.serves(metadata["namespace"])
            ),
            turns=turns,
            in_flight=frozenset(self._in_flight.get(uid, ())),
            deliveries=dict(self._deliveries.get(uid, {})),
            begun=frozenset(self._begun.get(uid, ())),
        )

    def ask(self, resource: Object, channel: str) -> None:
        """Take note that a window wants to send something on a channel; it is decided on again when it may."""
        key, waiting = _key(resource), self._waiting.setdefault(channel, deque())
        if key not in waiting and key not in self._turns.get(channel, ()):
            waiting.append(key)
            self._call(channel)

    def begin(self, resource: Object, order: SendNotice) -> None:
        """Send a message that was just claimed."""
        uid, key, attempt = resource["metadata"]["uid"], _key(resource), order.attempt
        name = attempt.key.channel
        self._turns.get(name, set()).discard(key)
        self._under_way[name] = self._under_way.get(name, 0) + 1
        self._in_flight.setdefault(uid, set()).add(attempt)
        self._quiet.clear()
        self._begun.setdefault(uid, deque(maxlen=REMEMBERED_MESSAGES)).append(attempt.key)
        while len(self._begun) > REMEMBERED_WINDOWS:
            self._begun.popitem(last=False)
        task = asyncio.create_task(self._deliver(uid, key, order), name=f"notice on {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def recorded(self, uid: str, notices: Iterable[Notice]) -> None:
        """Forget what came of attempts that a status just written does not wait for any more."""
        kept = self._deliveries.get(uid)
        if kept is None:
            return
        open_ = {Attempt(NoticeKey.of(each), each.claim or "") for each in notices if each.state is NoticeState.SENDING}
        for attempt in [attempt for attempt in kept if attempt not in open_]:
            del kept[attempt]
        if not kept:
            del self._deliveries[uid]
        if not self._deliveries and not self._in_flight:
            self._quiet.set()

    def settle(self, key: Key) -> None:
        """Take back the turns that a decision knew of and has not used, all of them where there was no decision."""
        shown = self._shown.pop(key, None)
        for channel, keys in self._turns.items():
            if key in keys and (shown is None or channel in shown):
                keys.discard(key)
                self._call(channel)

    def take_leave(self, window: Mapping[str, Any]) -> None:
        """Tell people that a window was deleted of which they know that it is open, or going to be."""
        namespace = window["metadata"]["namespace"]
        for name, message in farewell(window, datetime.now(UTC)):
            channel = self._channels.get(name)
            if channel is not None and channel.serves(namespace):
                task = asyncio.create_task(self._part(channel, message), name=f"farewell on {name}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _part(self, channel: Channel, message: Message) -> None:
        """Send what nobody can record; what is refused is tried again for about a minute."""
        for pause in (*_FAREWELL_PAUSES, None):
            async with self._parting:
                delivery = await self._attempted(channel.name, message)
            if delivery.receipt is not Receipt.REFUSED or pause is None:
                break
            await asyncio.sleep(pause)
        if delivery.receipt is not Receipt.SENT:
            logger.warning("%s: %s", message.subject, delivery.message, extra={"channel": channel.name})

    async def drain(self, within: float) -> None:
        """Begin nothing more, and wait until what was begun is recorded, but no longer than so many seconds."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._quiet.wait()

    async def run(self) -> None:
        """Read the channels anew whenever their file changes, for ever."""
        while True:
            await asyncio.sleep(LOOK_AGAIN)
            if self.load():
                for key in self._cache.keys(WINDOWS):
                    self._queue.add(key)

    def load(self) -> bool:
        """Read the channels; whether others are known than before. A file that is wrong changes nothing."""
        if self._file is None:
            return False
        try:
            channels = read_channels(self._file)
        except (FileNotFoundError, ConfigurationError) as problem:
            if str(problem) != self._complaint:
                logger.warning("The channels stay as they were: %s", problem)
            self._complaint = str(problem)
            return False
        self._complaint = ""
        changed = channels != self._channels
        self._channels = channels
        return changed

    def _call(self, channel: str) -> None:
        """Give turns to those who have waited longest, as many as there is room for."""
        waiting, turns = self._waiting.get(channel, deque()), self._turns.setdefault(channel, set())
        while waiting and not self._closing and len(turns) + self._under_way.get(channel, 0) < AT_ONCE:
            key = waiting.popleft()
            turns.add(key)
            self._queue.add(key)

    async def _deliver(self, uid: str, key: Key, order: SendNotice) -> None:
        attempt = order.attempt
        name = attempt.key.channel
        try:
            delivery = await self._attempted(name, order.message)
        finally:
            self._under_way[name] -= 1
            self._call(name)
        self._in_flight[uid].discard(attempt)
        if not self._in_flight[uid]:
            del self._in_flight[uid]
        self._deliveries.setdefault(uid, {})[attempt] = delivery
        self._queue.add(key)

    async def _attempted(self, name: str, message: Message) -> Delivery:
        try:
            delivery = await self._sent(name, message)
        except TimeoutError:
            delivery = Delivery(Receipt.UNKNOWN, f"it did not answer within {LONGEST_SEND:.0f} s")
        self._metrics.notified(name, delivery.receipt)
        return delivery

    async def _sent(self, name: str, message: Message) -> Delivery:
        channel = self._channels.get(name)
        if channel is None:
            return Delivery(Receipt.REFUSED, "it was removed from the channels")
        if self._send is None:
            from upkeep.notify.sender import send  # noqa: PLC0415 - some 35 MiB that nobody needs without channels

            self._send = send
        async with asyncio.timeout(LONGEST_SEND):
            return await _on_a_thread(self._send, channel, message)


def _key(resource: Object) -> Key:
    return Key(WINDOWS.plural, resource["metadata"]["namespace"], resource["metadata"]["name"])


async def _on_a_thread(send: Send, channel: Channel, message: Message) -> Delivery:
    """Call something that blocks; an operator that ends does not wait for it."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Delivery] = loop.create_future()

    def answered(delivery: Delivery) -> None:
        if not answer.done():
            answer.set_result(delivery)

    def call() -> None:
        try:
            delivery = send(channel, message)
        except Exception as problem:  # noqa: BLE001 - plugins of Apprise may raise anything
            # The text of an error may hold the URL; its type does not.
            logger.warning("Sending failed: %s", type(problem).__name__, extra={"channel": channel.name})
            delivery = Delivery(Receipt.UNKNOWN, f"it failed unexpectedly ({type(problem).__name__})")
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and the process with it
            loop.call_soon_threadsafe(answered, delivery)

    threading.Thread(target=call, name=f"notify-{channel.name}", daemon=True).start()
    return await answer
