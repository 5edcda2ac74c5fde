"""The Kubernetes client: raw dicts in and out, one connection pool, writes in order of urgency.

It builds on the transport, configuration and authentication of `kubernetes.aio` and leaves out its models, which
cost ten times the time and memory. Every write names the field manager `upkeep`. It never retries by itself: what
failed is decided upon again by those who asked for it.
"""

import asyncio
import heapq
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from upkeep import __version__
from upkeep.cluster.errors import ApiError, error_from
from upkeep.cluster.resources import Resource

Object = dict[str, Any]
JsonPatch = Sequence[Mapping[str, Any]]

FIELD_MANAGER: Final = "upkeep"
CONNECTIONS: Final = 40
"""Requests at the same time; the API server's own default for one kind of client is of this order."""
_WATCH_GRACE: Final = 15.0
"""Seconds that the API server may take longer to end a watch."""

_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json-patch+json"
_OK: Final = 300


class Urgency(IntEnum):
    """Who goes first when connections are scarce; the lower the sooner."""

    LEASE = 0
    START = 1
    READ = 2
    NEWS = 3
    STATUS = 4
    EVENT = 5


class Client:
    """Talks to one API server."""

    def __init__(self, configuration: Configuration, *, timeout: float = 10.0, connections: int = CONNECTIONS) -> None:
        # No limit of the pool's own: it would let the Lease wait behind watches, and these for ever.
        configuration.connection_pool_maxsize = 0
        # Else aiohttp looks for a proxy and a ~/.netrc at every request, in a thread, and would use what it finds.
        configuration.client_session_kwargs = {"trust_env": False}
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)
        self._timeout = timeout
        self._turns = _Turns(connections)
        self._may_write: Callable[[], bool] = _always

    @classmethod
    async def connect(cls, *, timeout: float = 10.0) -> Self:
        """A client for the cluster that this process runs in, else for the current context of the kubeconfig."""
        configuration = Configuration()
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except Exception as missing:  # noqa: BLE001 - the library raises its own untyped family here
            _not_in_cluster(missing)
            await load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(configuration, timeout=timeout)

    def fence(self, may_write: Callable[[], bool]) -> None:
        """Let writes pass only while this is true: who has lost the Lease without knowing it must not write any more.

        It does not hold back writes of the Lease itself.
        """
        self._may_write = may_write

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        urgency: Urgency = Urgency.READ,
        timeout: float | None = None,
    ) -> Object:
        """Send one request and read its answer.

        Raises:
            ApiError: or one of its kinds, for every answer but a good one, and where no answer came.
        """
        call = f"{method} {path}"
        async with self._turns.take(urgency):
            if method != "GET" and urgency is not Urgency.LEASE and not self._may_write():
                msg = f"{call}: not sent, because this process does not lead any more"
                raise ApiError(msg, status=0)
            try:
                response = await self._send(
                    method, path, query, body=body, content_type=content_type, timeout=timeout or self._timeout
                )
                data = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as problem:
                raise _no_answer(call, problem) from problem
        answer: Object = _parsed(data)
        if response.status >= _OK:
            raise error_from(call, response.status, answer, _seconds(response.headers.get("Retry-After")))
        return answer

    async def watch(
        self, resource: Resource, namespace: str | None = None, *, since: str, seconds: int
    ) -> AsyncIterator[Object]:
        """What happens to the objects of a kind: events with `type` and `object`.

        It takes no turn, for most of the time it waits. What it shows last tells where the next one goes on.

        Args:
            resource: the kind.
            namespace: only in this one.
            since: the version after which it begins.
            seconds: how long it lasts; one that has silently died hides nothing for longer.

        Raises:
            ApiError: it cannot go on; 410 where it may go on only after a new list.
        """
        path = resource.path(namespace)
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": since}
        query |= {"timeoutSeconds": str(seconds)}
        call = f"GET {path}?watch=true"
        try:
            response = await self._send("GET", path, query, timeout=seconds + _WATCH_GRACE)
            try:
                if response.status >= _OK:
                    retry_after = _seconds(response.headers.get("Retry-After"))
                    raise error_from(call, response.status, _parsed(await response.read()), retry_after)
                async for line in response.content:
                    event = _parsed(line)
                    if not isinstance(event.get("object"), dict):
                        msg = f"{call}: the API server sent an event that cannot be read: {line[:100]!r}"
                        raise ApiError(msg, status=0)
                    if event.get("type") == "ERROR":
                        raise error_from(call, event["object"].get("code", 0), event["object"], None)
                    yield event
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            raise _no_answer(call, problem) from problem

    async def calm(self) -> None:
        """Wait until nothing waits that is more urgent than taking in news: one thread does both."""
        async with self._turns.take(Urgency.NEWS):
            return

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """One object.

        Raises:
            NotFoundError: it is not there.
        """
        return await self.request("GET", resource.path(namespace, name))

    async def list_pages(
        self, resource: Resource, namespace: str | None = None, *, selector: str = "", page_size: int = 500
    ) -> AsyncIterator[Object]:
        """The list of a kind in pages; each page is a List object with `items` and `metadata.resourceVersion`."""
        query = {"limit": str(page_size)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self.request("GET", resource.path(namespace), query=query, timeout=30.0)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query = {**query, "continue": token}

    async def create(self, resource: Resource, body: Object, *, urgency: Urgency = Urgency.START) -> Object:
        """Create an object in the namespace of its metadata.

        Raises:
            AlreadyExistsError: one of that name is there.
        """
        path = resource.path(body["metadata"].get("namespace"))
        return await self.request("POST", path, query={"fieldManager": FIELD_MANAGER}, body=body, urgency=urgency)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: JsonPatch | Mapping[str, Any],
        *,
        subresource: str | None = None,
        urgency: Urgency = Urgency.START,
    ) -> Object:
        """Patch an object: a list of operations is a JSON Patch, a mapping is a merge patch.

        Raises:
            ConflictError: it changed since it was read.
        """
        return await self.request(
            "PATCH",
            resource.path(namespace, name, subresource),
            query={"fieldManager": FIELD_MANAGER},
            body=patch if isinstance(patch, Mapping) else list(patch),
            content_type=_MERGE if isinstance(patch, Mapping) else _JSON,
            urgency=urgency,
        )

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str) -> None:
        """Delete exactly the object with this UID, and in the background what it owns.

        Raises:
            NotFoundError: it is gone already.
            ConflictError: another object has the name now.
        """
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self.request("DELETE", resource.path(namespace, name), body=body)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        body: object = None,
        content_type: str = "application/json",
        timeout: float,
    ) -> aiohttp.ClientResponse:
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": f"upkeep/{__version__}", "Content-Type": content_type}
        headers |= await self._authorization()
        limit = aiohttp.ClientTimeout(total=timeout)
        answer = await self._rest.request(  # type: ignore[no-untyped-call]
            method, url, headers=headers, body=body, _request_timeout=limit
        )
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _authorization(self) -> dict[str, str]:
        settings = await self._configuration.auth_settings()
        found: dict[str, str] = {}
        for auth in settings.values():
            if isinstance(auth, Mapping) and auth.get("value"):
                found[str(auth["key"])] = str(auth["value"])
        return found


class _Turns:
    """Lets at most `slots` callers pass at a time, the most urgent of those who wait first; the Lease at once."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    @asynccontextmanager
    async def take(self, urgency: Urgency) -> AsyncIterator[None]:
        if urgency is Urgency.LEASE:
            yield
            return
        if self._free and not self._waiting:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (urgency, next(self._order), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on()
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _always() -> bool:
    return True


def _not_in_cluster(problem: Exception) -> None:
    if type(problem).__name__ != "ConfigException":
        raise problem


def _no_answer(call: str, problem: Exception) -> ApiError:
    return ApiError(f"{call}: no answer from the API server: {type(problem).__name__} {problem}".rstrip(), status=0)


def _parsed(data: bytes) -> Object:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"message": data[:200].decode(errors="replace")}


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isdigit() else None
