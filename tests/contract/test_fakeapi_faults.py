"""Faults strike exactly the requests and events that they name, exactly before or after the commit."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fakeapi.calls import WRITES
from fakeapi.errors import StatusError
from fakeapi.objects import Json
from fakeapi.server import FakeCluster

CONFIGS = "/api/v1/namespaces/default/configmaps"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


def config_map(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}}


@pytest.fixture
async def client(fake_cluster: FakeCluster) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(fake_cluster.url, headers={"User-Agent": "tester/1.0"}) as session:
        yield session


async def create(client: aiohttp.ClientSession, name: str, **query: str) -> int:
    async with client.post(CONFIGS, json=config_map(name), params=query) as response:
        return response.status


async def change(client: aiohttp.ClientSession, name: str, **query: str) -> int:
    headers = {"Content-Type": "application/merge-patch+json"}
    body = json.dumps({"data": {"changed": "yes"}})
    async with client.patch(f"{CONFIGS}/{name}", data=body, headers=headers, params=query) as response:
        return response.status


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, str]:
    async with asyncio.timeout(10):
        event = json.loads(await response.content.readline())
    return event["type"], event["object"]["metadata"].get("name", "")


def exists(cluster: FakeCluster, name: str) -> bool:
    return name in {item["metadata"]["name"] for item in cluster.list("ConfigMap", "default")}


class TestKill:
    async def test_before_the_commit_nothing_was_written(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        killed: list[bool] = []
        fake_cluster.faults.on("create", "configmaps").kill_before(lambda: killed.append(exists(fake_cluster, "one")))

        with pytest.raises(aiohttp.ClientConnectionError):
            await create(client, "one")

        assert killed == [False]
        assert not exists(fake_cluster, "one")
        (entry,) = fake_cluster.writes
        assert (entry.code, entry.answered, entry.committed) == (0, False, False)

    async def test_after_the_commit_it_was_written_and_nobody_knows(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        killed: list[bool] = []
        fake_cluster.faults.on("create", "configmaps").kill_after(lambda: killed.append(exists(fake_cluster, "one")))

        with pytest.raises(aiohttp.ClientConnectionError):
            await create(client, "one")

        assert killed == [True]
        (entry,) = fake_cluster.writes
        assert (entry.code, entry.answered, entry.committed) == (201, False, True)

    async def test_the_callback_may_be_asynchronous(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        killed = asyncio.Event()

        async def kill() -> None:
            await asyncio.sleep(0)
            killed.set()

        fake_cluster.faults.on("create").kill_before(kill)

        with pytest.raises(aiohttp.ClientConnectionError):
            await create(client, "one")

        assert killed.is_set()

    @pytest.mark.parametrize("nth", [1, 2, 3])
    async def test_every_write_can_be_struck_in_turn(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession, nth: int
    ) -> None:
        fake_cluster.faults.on(WRITES, nth=nth).kill_before(lambda: None)
        outcomes: list[int] = []

        for write in (create(client, "one"), create(client, "two"), create(client, "three")):
            try:
                outcomes.append(await write)
            except aiohttp.ClientConnectionError:
                outcomes.append(0)

        assert outcomes == [0 if number == nth else 201 for number in (1, 2, 3)]


class TestDrop:
    async def test_the_connection_is_cut_on_either_side_of_the_commit(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        before = fake_cluster.faults.on("create", nth=1).drop_before()
        after = fake_cluster.faults.on("create", nth=2).drop_after()

        with pytest.raises(aiohttp.ClientConnectionError):
            await create(client, "one")
        with pytest.raises(aiohttp.ClientConnectionError):
            await create(client, "two")
        third = await create(client, "three")

        assert (exists(fake_cluster, "one"), exists(fake_cluster, "two"), third) == (False, True, 201)
        assert (before.fired, after.fired) == (1, 1)


class TestDelay:
    async def test_a_delayed_request_lets_others_pass(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        delayed = fake_cluster.faults.on("create", nth=1).delay(0.2)

        slow = asyncio.create_task(create(client, "slow"))
        await delayed.struck.wait()
        fast = await create(client, "fast")

        assert (fast, slow.done()) == (201, False)
        assert await slow == 201

    async def test_a_delay_after_the_commit_shows_the_object_before_the_answer(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        fake_cluster.faults.on("create").delay(0.2, after_commit=True)

        async with client.get(CONFIGS, params={"watch": "true"}) as events:
            answer = asyncio.create_task(create(client, "one"))
            seen = await next_event(events)

            assert seen == ("ADDED", "one")
            assert not answer.done()
            assert await answer == 201

    async def test_a_client_that_gives_up_does_not_stop_the_server(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        fake_cluster.faults.on("create").delay(0.1)

        async with client.get(CONFIGS, params={"watch": "true"}) as events:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await create(client, "one")

            assert await next_event(events) == ("ADDED", "one")


class TestAnswer:
    @pytest.mark.parametrize(
        ("code", "reason"), [(409, "AlreadyExists"), (403, "Forbidden"), (410, "Expired"), (500, "InternalError")]
    )
    async def test_an_error_is_answered_in_place_of_the_write(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession, code: int, reason: str
    ) -> None:
        fake_cluster.faults.on("create", "configmaps").answer(code)

        async with client.post(CONFIGS, json=config_map("one")) as response:
            body = await response.json()

        assert response.status == code
        assert (body["kind"], body["code"], body["reason"]) == ("Status", code, reason)
        assert not exists(fake_cluster, "one")

    async def test_a_conflict_of_an_update_is_a_conflict(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        await create(client, "one")
        fake_cluster.faults.on("patch").answer(409)

        async with client.patch(
            f"{CONFIGS}/one", data="{}", headers={"Content-Type": "application/merge-patch+json"}
        ) as response:
            body = await response.json()

        assert (body["code"], body["reason"]) == (409, "Conflict")

    async def test_too_many_requests_are_turned_away_in_plain_text(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        fake_cluster.faults.on(times=2).answer(429, retry_after=7)

        async with client.get(CONFIGS) as first:
            text = await first.text()
        second = await create(client, "one")
        third = await create(client, "one")

        assert (first.status, first.headers["Retry-After"]) == (429, "7")
        assert (first.content_type, text.strip()) == ("text/plain", "Too many requests, please try again later.")
        assert (second, third) == (429, 201)

    async def test_an_error_can_be_answered_although_the_write_was_done(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        fake_cluster.faults.on("create").answer(500, message="etcdserver: request timed out", after_commit=True)

        assert await create(client, "one") == 500
        assert exists(fake_cluster, "one")

    async def test_gone_is_an_event_on_a_watch(self, fake_cluster: FakeCluster, client: aiohttp.ClientSession) -> None:
        fake_cluster.faults.on("watch", "configmaps").answer(410)

        async with client.get(CONFIGS, params={"watch": "true"}) as response:
            event = json.loads(await response.content.read())

        assert response.status == 200
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    async def test_other_errors_refuse_a_watch(self, fake_cluster: FakeCluster, client: aiohttp.ClientSession) -> None:
        fake_cluster.faults.on("watch").answer(500)

        async with client.get(CONFIGS, params={"watch": "true"}) as response:
            assert response.status == 500


class TestTarget:
    async def test_only_what_is_named_is_struck(self, fake_cluster: FakeCluster, client: aiohttp.ClientSession) -> None:
        faults = fake_cluster.faults
        faults.on("create", "jobs").answer(500)
        faults.on("create", manager="someone").answer(501)
        faults.on("patch", name="two").answer(502)
        faults.on("patch", subresource="status").answer(503)
        faults.on("create", namespace="kube-system").answer(504)
        faults.on("get", user_agent="another").answer(505)

        assert await create(client, "one") == 201
        assert await create(client, "two", fieldManager="someone") == 501
        assert await create(client, "two") == 201
        assert await change(client, "one") == 200
        assert await change(client, "two") == 502
        async with client.get(f"{CONFIGS}/one") as response:
            assert response.status == 200

    async def test_kinds_can_be_left_alone_and_are_not_counted(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        rule = fake_cluster.faults.on("create", without=("leases", "configmaps"), nth=1).answer(500)

        assert await create(client, "one") == 201
        assert rule.seen == 0
        async with client.post(JOBS, json={"metadata": {"name": "one"}}) as response:
            assert response.status == 500

    async def test_a_rule_counts_only_what_it_names(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        rule = fake_cluster.faults.on("patch", nth=2, times=2).answer(500)
        await create(client, "one")

        codes = [await change(client, "one") for _ in range(4)]

        assert codes == [200, 500, 500, 200]
        assert (rule.seen, rule.fired) == (4, 2)

    async def test_a_fault_ends_when_it_is_removed(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        one = fake_cluster.faults.on("create").answer(500)
        fake_cluster.faults.on("patch").answer(500)

        one.remove()
        created = await create(client, "one")
        refused = await change(client, "one")
        fake_cluster.faults.clear()

        assert (created, refused, await change(client, "one")) == (201, 500, 200)

    async def test_the_second_client_is_never_struck(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.faults.on().answer(500)

        fake_cluster.create(config_map("one"))

        with pytest.raises(StatusError, match='configmaps "two" not found'):
            fake_cluster.get("ConfigMap", "default", "two")


class TestWatchEvents:
    async def test_a_silent_watch_stays_open_and_says_nothing_any_more(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": str(fake_cluster.version)}
        async with client.get(CONFIGS, params=query) as silent, client.get(JOBS, params=query) as lively:
            fake_cluster.create(config_map("before"))
            first = await next_event(silent)
            rule = fake_cluster.faults.on_watch("configmaps").silence()
            fake_cluster.create(config_map("during"))
            rule.remove()
            fake_cluster.create(config_map("after"))
            fake_cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}})

            assert first == ("ADDED", "before")
            assert await next_event(lively) == ("ADDED", "job")
            assert fake_cluster.watches == 2
            fake_cluster.end_watches()
            assert await silent.content.read() == b""

    async def test_a_silent_watch_gives_no_bookmarks_either(self) -> None:
        async with FakeCluster(bookmark_interval=0.01) as cluster, aiohttp.ClientSession(cluster.url) as session:
            cluster.faults.on_watch("configmaps").silence()
            query = {
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": str(cluster.version),
                "timeoutSeconds": "1",
            }
            async with session.get(CONFIGS, params=query) as response:
                assert await response.content.read() == b""

    async def test_a_lost_event_is_never_told(self, fake_cluster: FakeCluster, client: aiohttp.ClientSession) -> None:
        fake_cluster.faults.on_watch("configmaps", nth=2).lose()

        async with client.get(CONFIGS, params={"watch": "true"}) as events:
            for name in ("one", "two", "three"):
                fake_cluster.create(config_map(name))

            assert [await next_event(events) for _ in range(2)] == [("ADDED", "one"), ("ADDED", "three")]

    async def test_a_duplicated_event_is_told_twice(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        fake_cluster.faults.on_watch("configmaps", times=1).duplicate()

        async with client.get(CONFIGS, params={"watch": "true"}) as events:
            fake_cluster.create(config_map("one"))
            fake_cluster.delete("ConfigMap", "default", "one")

            assert [await next_event(events) for _ in range(3)] == [
                ("ADDED", "one"),
                ("ADDED", "one"),
                ("DELETED", "one"),
            ]

    async def test_held_events_come_in_order_when_they_are_released(
        self, fake_cluster: FakeCluster, client: aiohttp.ClientSession
    ) -> None:
        stale = fake_cluster.faults.on_watch("configmaps", user_agent="tester").hold()
        async with client.get(CONFIGS, params={"watch": "true"}) as events:
            fake_cluster.create(config_map("one"))
            fake_cluster.create(config_map("two"))
            read = asyncio.create_task(next_event(events))
            await create(client, "three")

            assert not read.done()
            stale.release()
            fake_cluster.create(config_map("four"))
            told = [await read, *[await next_event(events) for _ in range(3)]]

        assert told == [("ADDED", name) for name in ("one", "two", "three", "four")]
