"""How far back the fake's watches look, how they end, and what bookmarks they give."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fakeapi.objects import Json
from fakeapi.server import FakeCluster

CONFIGS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


@pytest.fixture
async def short() -> AsyncIterator[FakeCluster]:
    async with FakeCluster(history=2, bookmark_interval=0.01) as cluster:
        yield cluster


@pytest.fixture
async def client(short: FakeCluster) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(short.url) as session:
        yield session


async def event(response: aiohttp.ClientResponse) -> Json:
    async with asyncio.timeout(10):
        found: Json = json.loads(await response.content.readline())
    return found


async def first_event(client: aiohttp.ClientSession, version: int) -> Json:
    async with client.get(CONFIGS, params={"watch": "true", "resourceVersion": str(version)}) as response:
        return await event(response)


async def test_a_watch_looks_back_as_far_as_the_history(short: FakeCluster, client: aiohttp.ClientSession) -> None:
    start = short.version
    for name in ("one", "two", "three"):
        short.create(config_map(name))

    too_old = await first_event(client, start)
    just_right = await first_event(client, start + 1)

    assert (too_old["type"], too_old["object"]["code"]) == ("ERROR", 410)
    assert (just_right["type"], just_right["object"]["metadata"]["name"]) == ("ADDED", "two")


async def test_compaction_forgets_the_past_but_ends_no_watch(short: FakeCluster, client: aiohttp.ClientSession) -> None:
    start = short.version
    query = {"watch": "true", "resourceVersion": str(start)}
    async with client.get(CONFIGS, params=query) as response:
        short.create(config_map("one"))
        short.compact()
        short.create(config_map("two"))
        live = [(await event(response))["object"]["metadata"]["name"] for _ in range(2)]
    returned = await first_event(client, start)

    assert live == ["one", "two"]
    assert (returned["type"], returned["object"]["reason"]) == ("ERROR", "Expired")


async def test_a_paged_list_expires_with_the_history(short: FakeCluster, client: aiohttp.ClientSession) -> None:
    for name in ("one", "two"):
        short.create(config_map(name))
    async with client.get(CONFIGS, params={"limit": "1"}) as response:
        page = await response.json()
    short.create(config_map("three"))
    short.compact()

    async with client.get(CONFIGS, params={"limit": "1", "continue": page["metadata"]["continue"]}) as response:
        refusal = await response.json()
    async with client.get(CONFIGS, params={"continue": refusal["metadata"]["continue"]}) as response:
        rest = await response.json()

    assert (refusal["code"], refusal["reason"]) == (410, "Expired")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["three", "two"]


async def test_bookmarks_come_in_their_interval_with_the_latest_version(
    short: FakeCluster, client: aiohttp.ClientSession
) -> None:
    query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": str(short.version)}
    async with client.get(CONFIGS, params=query) as response:
        first = await event(response)
        short.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
        later = await event(response)
        while int(later["object"]["metadata"]["resourceVersion"]) < short.version:
            later = await event(response)

    assert first["type"] == later["type"] == "BOOKMARK"
    assert first["object"]["kind"] == "ConfigMap"
    assert later["object"]["metadata"] == {"resourceVersion": str(short.version)}


async def test_without_being_asked_for_there_are_no_bookmarks(
    short: FakeCluster, client: aiohttp.ClientSession
) -> None:
    query = {"watch": "true", "resourceVersion": str(short.version), "timeoutSeconds": "1"}
    async with client.get(CONFIGS, params=query) as response:
        assert await response.content.read() == b""


async def test_a_watch_that_is_ended_can_be_taken_up_again(short: FakeCluster, client: aiohttp.ClientSession) -> None:
    version = short.version
    async with client.get(CONFIGS, params={"watch": "true", "resourceVersion": str(version)}) as response:
        short.end_watches()
        ended = await response.content.read()
    short.create(config_map("meanwhile"))

    resumed = await first_event(client, version)

    assert ended == b""
    assert resumed["object"]["metadata"]["name"] == "meanwhile"


async def test_a_watch_whose_client_is_gone_is_forgotten(short: FakeCluster, client: aiohttp.ClientSession) -> None:
    async with client.get(CONFIGS, params={"watch": "true", "resourceVersion": str(short.version)}):
        assert short.watches == 1

    async with asyncio.timeout(10):
        while short.watches:  # noqa: ASYNC110 -- the end of a connection is no event that a test can wait for
            await asyncio.sleep(0)
