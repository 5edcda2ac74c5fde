"""A bare client for the checks: it shows what comes over the wire and hides nothing.

It exists because a client library would smooth over what the checks are about. It must never retry.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from fakeapi.objects import Json
from fakeapi.patch import JSON_PATCH, MERGE_PATCH
from fakeapi.resources import ResourceType, custom

WIDGETS = custom(group="contract.upkeep.dev", version="v1", plural="widgets", kind="Widget", short_names=("wd",))
"""A custom resource without a schema, for checks only."""

_PATIENCE = 40
"""Seconds after which a check gives up on an event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        code: HTTP status.
        body: decoded JSON, or text where it was none.
    """

    code: int
    body: Any

    @property
    def version(self) -> int:
        """The resourceVersion of the object or list."""
        return int(self.body["metadata"]["resourceVersion"])

    @property
    def names(self) -> list[str]:
        """The names in a list."""
        return [item["metadata"]["name"] for item in self.body["items"]]


class Events:
    """An open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> Json:
        """Return the next event."""
        async with asyncio.timeout(_PATIENCE):
            event: Json = json.loads(await self._response.content.readline())
        return event

    async def take(self, count: int) -> list[Json]:
        """Return the next events."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Json]:
        """Return all events until the server ends the stream."""
        async with asyncio.timeout(_PATIENCE):
            text = await self._response.content.read()
        return [json.loads(line) for line in text.splitlines()]


class Api:
    """A client of one server.

    Args:
        session: with the server as its base URL.
        namespace: a namespace of our own, empty when a test starts.
        suffix: makes names outside the namespace our own.
    """

    def __init__(self, session: aiohttp.ClientSession, *, namespace: str, suffix: str) -> None:
        self._session = session
        self.namespace = namespace
        self.suffix = suffix

    def path(self, kind: str, name: str = "", subresource: str = "", *, namespace: str | None = None) -> str:
        """Return the path of a collection or an object.

        Args:
            kind: group, version and plural: `batch/v1/jobs`, or `v1/pods` for the core group.
            name: empty for the collection.
            subresource: empty for the object itself.
            namespace: ours where it is None, all where it is empty.
        """
        group, _, plural = kind.rpartition("/")
        home = self.namespace if namespace is None else namespace
        parts = ["apis" if "/" in group else "api", group, *(["namespaces", home] if home else []), plural]
        return "/" + "/".join([*parts, *filter(None, (name, subresource))])

    @property
    def widgets(self) -> str:
        """The collection of custom resources in our namespace."""
        return self.path(_kind(WIDGETS))

    def widget(self, name: str, subresource: str = "") -> str:
        """Return the path of a custom resource."""
        return self.path(_kind(WIDGETS), name, subresource)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> Answer:
        """Send a request and return what came back.

        Args:
            method: HTTP method.
            path: path of the URL.
            body: sent as JSON; bytes are sent as they are.
            content_type: of the body.
            query: query parameters; `continue_` stands for `continue`.
        """
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        parameters = {name.rstrip("_"): value for name, value in query.items()}
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self._session.request(method, path, data=data, headers=headers, params=parameters) as response:
            text = await response.text()
        is_json = response.content_type == "application/json"
        return Answer(response.status, json.loads(text) if is_json else text)

    async def get(self, path: str, **query: str) -> Answer:
        """Get an object or a list."""
        return await self.request("GET", path, **query)

    async def post(self, path: str, body: object, **query: str) -> Answer:
        """Create an object."""
        return await self.request("POST", path, body, **query)

    async def put(self, path: str, body: object, **query: str) -> Answer:
        """Replace an object."""
        return await self.request("PUT", path, body, **query)

    async def merge(self, path: str, body: object, **query: str) -> Answer:
        """Send a merge patch."""
        return await self.request("PATCH", path, body, content_type=MERGE_PATCH, **query)

    async def json_patch(self, path: str, *operations: Json, **query: str) -> Answer:
        """Send a JSON patch."""
        return await self.request("PATCH", path, list(operations), content_type=JSON_PATCH, **query)

    async def delete(self, path: str, body: object = None, **query: str) -> Answer:
        """Delete an object or a collection."""
        return await self.request("DELETE", path, body, **query)

    async def made(self, path: str, body: Json) -> Answer:
        """Create what a check needs and make sure of it."""
        answer = await self.post(path, body)
        assert answer.code == 201, answer
        return answer

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[Events]:
        """Watch a collection."""
        parameters = {"watch": "true", **query}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE)
        async with self._session.get(path, params=parameters, timeout=timeout) as response:
            assert response.status == 200, await response.text()
            yield Events(response)

    async def gone(self, collection: str, name: str) -> None:
        """Wait until an object is gone."""
        answer = await self.get(f"{collection}/{name}")
        if answer.code == 404:
            return
        since = answer.body["metadata"]["resourceVersion"]
        async with self.watch(collection, resourceVersion=since, fieldSelector=f"metadata.name={name}") as events:
            while (await events.next())["type"] != "DELETED":
                pass

    async def changed(self, collection: str, name: str, *, since: int) -> Json:
        """Wait for the next change of an object and return it."""
        selector = f"metadata.name={name}"
        async with self.watch(collection, resourceVersion=str(since), fieldSelector=selector) as events:
            found: Json = (await events.next())["object"]
        return found


def widget(name: str, **metadata: object) -> Json:
    """Return a custom resource that has everything a check needs."""
    return {
        "apiVersion": "contract.upkeep.dev/v1",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": {"size": 1, "parts": ["a", "b"], "colours": {"front": "red"}},
        "status": {"phase": "Dreamt"},
    }


def config_map(name: str, **metadata: object) -> Json:
    """Return the plainest built-in object."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"key": "value"},
    }


def owner(answer: Answer, *, blocks: bool = False) -> Json:
    """Return an ownerReference to an object."""
    body = answer.body
    reference = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": body["metadata"]["name"],
        "uid": body["metadata"]["uid"],
    }
    return {**reference, "blockOwnerDeletion": True} if blocks else reference


def _kind(resource: ResourceType) -> str:
    return f"{resource.group}/{resource.version}/{resource.plural}"
