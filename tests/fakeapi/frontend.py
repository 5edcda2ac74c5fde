"""The HTTP side: connections, streams and the moments at which faults strike.

It exists to run each request through the same stages: what strikes before, the decision, the audit, what strikes
after. It must never decide what an answer says; handlers do.
"""

import asyncio
import inspect
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from fakeapi.audit import Audit
from fakeapi.calls import Call, read_call
from fakeapi.errors import StatusError
from fakeapi.faults import Answer, Delay, Drop, Effect, Faults, Kill
from fakeapi.handlers import Handlers, Reply, decode, refusal
from fakeapi.objects import encode
from fakeapi.resources import Catalogue
from fakeapi.store import Store
from fakeapi.watch import Watch

_TOO_MANY = 429
_GONE = 410
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class _CutError(Exception):
    """The connection goes without an answer."""


class Frontend:
    """Answers HTTP requests.

    Args:
        catalogue: the kinds that are served.
        store: where the objects are.
        faults: what goes wrong.
        audit: where requests are recorded.
        clock: the server's clock.
        bookmark_interval: seconds between bookmarks on a watch that takes them.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        store: Store,
        faults: Faults,
        audit: Audit,
        clock: Callable[[], datetime],
        bookmark_interval: float,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._handlers = Handlers(catalogue, store)
        self._faults = faults
        self._audit = audit
        self._clock = clock
        self._bookmark_interval = bookmark_interval
        self._watches: set[Watch] = set()

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def end_watches(self) -> None:
        """End all watches as at their timeout; clients come back with the version that they know."""
        for watch in self._watches:
            watch.close()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        arrived = self._clock()
        call = read_call(
            self._catalogue,
            method=request.method,
            path=request.path,
            query=request.query,
            user_agent=request.headers.get("User-Agent", ""),
        )
        body = await request.read() if request.body_exists else b""
        effects: list[Effect] = []
        reply: Reply | None = None
        try:
            # The body is decoded first, so that faults and audit can look at it.
            call.body = decode(call, request.content_type, body)
        except StatusError as error:
            reply = refusal(error)
        effects = self._faults.due(call)
        if effects:
            # A client that gives up must not undo what a server goes on with.
            return await asyncio.shield(self._answer_with(effects, call, request, reply, arrived))
        if reply is None:
            if call.verb == "watch" and call.resource is not None:
                return await self._watch(call, request, arrived)
            reply = self._decide(call, request)
        self._audit.record(call, time=arrived, code=reply.code, answered=True, name=reply.name)
        return _response(reply)

    async def _answer_with(
        self,
        effects: list[Effect],
        call: Call,
        request: web.BaseRequest,
        reply: Reply | None,
        arrived: datetime,
    ) -> web.StreamResponse:
        code, name = 0, ""
        answered = True
        try:
            forced = await self._strike(effects, call, after_commit=False)
            if call.verb == "watch" and call.resource is not None and reply is None:
                return await self._watch(call, request, arrived, refused=forced)
            reply = forced or reply or self._decide(call, request)
            code, name = reply.code, reply.name
            reply = await self._strike(effects, call, after_commit=True) or reply
        except _CutError:
            answered = False
        self._audit.record(call, time=arrived, code=code, answered=answered, name=name)
        if not answered or reply is None:
            return _cut(request)
        return _response(reply)

    async def _strike(self, effects: list[Effect], call: Call, *, after_commit: bool) -> Reply | None:
        forced: Reply | None = None
        for effect in effects:
            if effect.after_commit is not after_commit:
                continue
            match effect:
                case Delay():
                    await asyncio.sleep(effect.seconds)
                case Answer():
                    forced = forced or _forced(effect, call)
                case Kill():
                    result = effect.callback()
                    if inspect.isawaitable(result):
                        await result
                    raise _CutError
                case Drop():
                    raise _CutError
        return forced

    def _decide(self, call: Call, request: web.BaseRequest) -> Reply:
        try:
            return self._handlers.handle(call, request.query, request.content_type)
        except StatusError as error:
            return refusal(error)

    async def _watch(
        self, call: Call, request: web.BaseRequest, arrived: datetime, *, refused: Reply | None = None
    ) -> web.StreamResponse:
        try:
            asked = self._handlers.watch_request(call, request.query)
        except StatusError as error:
            refused = refusal(error)
        if refused is not None and refused.code != _GONE:
            self._audit.record(call, time=arrived, code=refused.code, answered=True)
            return _response(refused)
        self._audit.record(call, time=arrived, code=200, answered=True)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        watch = Watch(asked, store=self._store, faults=self._faults)
        self._watches.add(watch)
        try:
            await response.prepare(request)
            if refused is None:
                watch.start()
            else:
                watch.fail(StatusError(_GONE, "Expired", "too old resource version"))
            await self._stream(watch, response, lifetime=float(request.query.get("timeoutSeconds") or 1800))
            await response.write_eof()
        except ConnectionError:
            pass  # the client is gone; that is how most watches end
        finally:
            self._watches.discard(watch)
            watch.stop()
        return response

    async def _stream(self, watch: Watch, response: web.StreamResponse, *, lifetime: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + lifetime
        bookmark = loop.time() + self._bookmark_interval if watch.request.bookmarks else end + 1
        while True:
            data = watch.take()
            if data:
                await response.write(data)
            elif watch.closed:
                return
            timer = loop.call_at(min(end, bookmark), watch.ready.set)
            await watch.ready.wait()
            timer.cancel()
            if loop.time() >= end:
                watch.close()
            elif loop.time() >= bookmark:
                watch.bookmark()
                bookmark = loop.time() + self._bookmark_interval


def _response(reply: Reply) -> web.Response:
    headers = {"Content-Type": reply.content_type}
    if reply.retry_after is not None:
        headers["Retry-After"] = str(reply.retry_after)
    return web.Response(status=reply.code, body=reply.body, headers=headers)


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _forced(effect: Answer, call: Call) -> Reply:
    if effect.code == _TOO_MANY and not effect.message:
        # Priority and fairness turns requests away in plain text, without a Status object.
        text = b"Too many requests, please try again later.\n"
        retry_after = 1 if effect.retry_after is None else effect.retry_after
        return Reply(effect.code, text, "text/plain", retry_after=retry_after)
    taken = call.verb == "create" and effect.code == 409
    reason = effect.reason or ("AlreadyExists" if taken else _REASONS.get(effect.code, "InternalError"))
    message = effect.message or f"fault: the server answers {effect.code} to {call.verb} {call.path}"
    error = StatusError(effect.code, reason, message)
    return Reply(effect.code, encode(error.status()), retry_after=effect.retry_after)
