"""Watches: what one client is told of one kind.

It exists to turn commits into the events that a selector makes of them, and to let faults come between. It must
never block a commit: events wait in a queue until the connection takes them.
"""

import asyncio
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass

from fakeapi.errors import StatusError
from fakeapi.faults import Faults
from fakeapi.objects import Change, EventType, Json, encode
from fakeapi.resources import ResourceType
from fakeapi.selectors import Match
from fakeapi.store import Store

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest:
    """What a client wants to be told.

    Attributes:
        resource: the kind.
        namespace: only of this namespace, empty for all.
        match: only of objects that pass.
        since: resourceVersion to start after; None to start with the current state.
        bookmarks: whether the client takes bookmarks.
        user_agent: who watches, for faults.
    """

    resource: ResourceType
    namespace: str = ""
    match: Match | None = None
    since: int | None = None
    bookmarks: bool = False
    user_agent: str = ""


class Watch:
    """One open watch.

    Args:
        request: what the client wants to be told.
        store: where it happens.
        faults: what goes wrong on the way.

    Attributes:
        ready: set while there is something to send or the watch is over.
        closed: whether the server ends the stream.
        muted: whether the stream stays open without a word.
    """

    def __init__(self, request: WatchRequest, *, store: Store, faults: Faults) -> None:
        self.request = request
        self.ready = asyncio.Event()
        self.closed = False
        self.muted = False
        self._store = store
        self._faults = faults
        self._lines: deque[bytes] = deque()
        self._subscription = ExitStack()

    def start(self) -> None:
        """Queue what the client missed and go on with what happens."""
        request = self.request
        try:
            if request.since is None:
                self._replay()
            else:
                for change in self._store.changes_since(request.resource, request.since):
                    self._observe(request.resource, change)
        except StatusError as error:
            # The real server has sent its headers by now: the refusal is an event.
            self.fail(error)
            return
        self._subscription.callback(self._store.observe(request.resource, self._observe))

    def stop(self) -> None:
        """Take no more events."""
        self._subscription.close()

    def close(self) -> None:
        """End the stream, as the server does at its timeout; what happens from now on is not told any more."""
        self.stop()
        self.closed = True
        self.ready.set()

    def fail(self, error: StatusError) -> None:
        """Send an ERROR event and end the stream."""
        self.deliver(b'{"type":"ERROR","object":%s}\n' % encode(error.status()))
        self.close()

    def deliver(self, line: bytes) -> None:
        """Queue an event for the client."""
        if not self.muted:
            self._lines.append(line)
            self.ready.set()

    def take(self) -> bytes:
        """Return all that waits to be sent."""
        data = b"".join(self._lines)
        self._lines.clear()
        if not self.closed:
            self.ready.clear()
        return data

    def bookmark(self, *, ends_initial_events: bool = False) -> None:
        """Queue the version up to which the client knows everything."""
        request = self.request
        if self._faults.quiet(request.resource, request.user_agent):
            return
        version = max(self._store.version, request.since or 0)
        metadata: Json = {"resourceVersion": str(version)}
        if ends_initial_events:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        resource = request.resource
        shown = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        self.deliver(b'{"type":"BOOKMARK","object":%s}\n' % encode(shown))

    def _replay(self) -> None:
        request = self.request
        for record in self._store.select(request.resource, request.namespace, request.match):
            self._pass_on(b'{"type":"ADDED","object":%s}\n' % record.encoded())
        if request.bookmarks:
            self.bookmark(ends_initial_events=True)

    def _observe(self, _: ResourceType, change: Change) -> None:
        line = self._line(change)
        if line is not None and not self.muted:
            self._pass_on(line)

    def _pass_on(self, line: bytes) -> None:
        request = self.request
        for event in self._faults.pass_on(self, line, resource=request.resource, user_agent=request.user_agent):
            self.deliver(event)

    def _line(self, change: Change) -> bytes | None:
        request = self.request
        if request.namespace and change.record.key[0] != request.namespace:
            return None
        if request.match is None:
            return change.line(change.type)
        was = change.previous is not None and request.match(change.previous.object)
        is_now = change.type != "DELETED" and request.match(change.record.object)
        if not was and not is_now:
            return None
        seen_as: EventType = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
        return change.line(seen_as, show_previous=not is_now)
