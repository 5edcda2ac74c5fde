"""The client says in its own words what the API server answers, and lets the urgent go first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from kubernetes.aio.client.configuration import Configuration

from fakeapi.server import FakeCluster
from upkeep.cluster.client import Client, Urgency
from upkeep.cluster.errors import AlreadyExistsError, ApiError, ConflictError, ForbiddenError, NotFoundError
from upkeep.cluster.resources import CONFIG_MAPS, INGRESSES, JOBS, LEASES, TASKS

TEAM: Final = "team"
PATIENCE: Final = 20.0
"""Seconds; only a test that fails waits so long."""


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster() as cluster:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
        yield cluster


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with Client(Configuration(host=cluster.url)) as client:
        yield client


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": TEAM}, "data": data}


async def test_every_write_names_its_field_manager(cluster: FakeCluster, client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map(a="1"))
    await client.patch(CONFIG_MAPS, TEAM, "a", {"data": {"a": "2"}})
    await client.delete(CONFIG_MAPS, TEAM, "a", uid=made["metadata"]["uid"])

    assert [(entry.verb, entry.manager) for entry in cluster.writes] == [
        ("create", "upkeep"),
        ("patch", "upkeep"),
        ("delete", "upkeep"),
    ]


async def test_what_is_not_there(client: Client) -> None:
    with pytest.raises(NotFoundError, match=r"GET /api/v1/namespaces/team/configmaps/a: 404 NotFound: .*not found"):
        await client.get(CONFIG_MAPS, TEAM, "a")


async def test_what_is_there_already(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map())

    with pytest.raises(AlreadyExistsError):
        await client.create(CONFIG_MAPS, config_map())


async def test_a_merge_patch_of_an_old_version_is_a_conflict(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, config_map(a="1"))
    await client.patch(CONFIG_MAPS, TEAM, "a", {"data": {"a": "2"}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}}

    with pytest.raises(ConflictError):
        await client.patch(CONFIG_MAPS, TEAM, "a", stale)


async def test_a_json_patch_whose_test_fails_is_a_conflict(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map(a="1"))
    patch = [{"op": "test", "path": "/data/a", "value": "2"}, {"op": "replace", "path": "/data/a", "value": "3"}]

    with pytest.raises(ConflictError):
        await client.patch(CONFIG_MAPS, TEAM, "a", patch)


async def test_an_object_that_is_invalid_is_no_conflict(client: Client) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": TEAM}}
    await client.create(LEASES, lease)

    with pytest.raises(ApiError, match="must be specified for an update") as refused:
        await client.request("PUT", LEASES.path(TEAM, "a"), body=lease)

    assert refused.value.status == 422
    assert not isinstance(refused.value, ConflictError)


async def test_a_delete_is_for_one_object_not_for_a_name(client: Client) -> None:
    await client.create(CONFIG_MAPS, config_map())

    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAPS, TEAM, "a", uid="of-the-one-before")

    await client.get(CONFIG_MAPS, TEAM, "a")


@pytest.mark.parametrize("code", [401, 403])
async def test_what_it_may_not_do(cluster: FakeCluster, client: Client, code: int) -> None:
    cluster.faults.on("get").answer(code, reason="Forbidden", message='configmaps "a" is forbidden')

    with pytest.raises(ForbiddenError, match="is forbidden") as refused:
        await client.get(CONFIG_MAPS, TEAM, "a")

    assert not refused.value.transient


async def test_too_many_requests_say_how_long_to_wait(cluster: FakeCluster, client: Client) -> None:
    cluster.faults.on("get").answer(429, retry_after=7)

    with pytest.raises(ApiError, match="Too many requests") as refused:
        await client.get(CONFIG_MAPS, TEAM, "a")

    assert refused.value.retry_after == 7
    assert refused.value.transient


@pytest.mark.parametrize("code", [500, 503, 504])
async def test_failures_of_the_server_are_transient(cluster: FakeCluster, client: Client, code: int) -> None:
    cluster.faults.on("get").answer(code)

    with pytest.raises(ApiError) as failed:
        await client.get(CONFIG_MAPS, TEAM, "a")

    assert failed.value.transient
    assert failed.value.status == code
    assert failed.value.retry_after is None


async def test_a_connection_that_is_cut_is_an_error_like_others(cluster: FakeCluster, client: Client) -> None:
    cluster.faults.on("create").drop_after()

    with pytest.raises(ApiError, match="no answer from the API server") as failed:
        await client.create(CONFIG_MAPS, config_map())

    assert failed.value.transient
    assert cluster.get("ConfigMap", TEAM, "a"), "it was committed all the same"


async def test_it_does_not_repeat_a_write_by_itself(cluster: FakeCluster, client: Client) -> None:
    cluster.faults.on("create").drop_before()

    with pytest.raises(ApiError):
        await client.create(CONFIG_MAPS, config_map())

    assert len(cluster.writes) == 1


async def test_who_does_not_lead_may_read_but_writes_nothing_except_the_lease(
    cluster: FakeCluster, client: Client
) -> None:
    leading = [True]
    client.fence(lambda: leading[0])
    await client.create(CONFIG_MAPS, config_map())

    leading[0] = False
    with pytest.raises(ApiError, match="not sent, because this process does not lead any more") as refused:
        await client.patch(CONFIG_MAPS, TEAM, "a", {"data": {"a": "2"}})

    assert refused.value.transient
    await client.get(CONFIG_MAPS, TEAM, "a")
    lease = {"metadata": {"name": "a", "namespace": TEAM}}
    await client.request("POST", LEASES.path(TEAM), body=lease, urgency=Urgency.LEASE)
    assert [(entry.verb, entry.resource) for entry in cluster.writes] == [
        ("create", "configmaps"),
        ("create", "leases"),
    ]


async def test_an_answer_that_takes_too_long_is_an_error_like_others(cluster: FakeCluster) -> None:
    cluster.faults.on("get").delay(PATIENCE)
    async with Client(Configuration(host=cluster.url), timeout=0.2) as client:
        with pytest.raises(ApiError, match="no answer from the API server: TimeoutError") as failed:
            await client.get(CONFIG_MAPS, TEAM, "a")

    assert failed.value.transient


async def test_a_server_that_is_not_there_is_an_error_like_others() -> None:
    async with FakeCluster() as gone:
        url = gone.url
    async with Client(Configuration(host=url)) as client:
        with pytest.raises(ApiError, match="no answer from the API server") as failed:
            await client.get(CONFIG_MAPS, TEAM, "a")

    assert failed.value.transient


async def test_a_list_comes_in_pages(cluster: FakeCluster, client: Client) -> None:
    for number in range(5):
        cluster.create(config_map(f"map-{number}"))

    pages = [page async for page in client.list_pages(CONFIG_MAPS, TEAM, page_size=2)]

    assert [[item["metadata"]["name"] for item in page["items"]] for page in pages] == [
        ["map-0", "map-1"],
        ["map-2", "map-3"],
        ["map-4"],
    ]


async def test_a_list_takes_only_what_is_selected(cluster: FakeCluster, client: Client) -> None:
    for name, labels in {"ours": {"team": "a"}, "theirs": {"team": "b"}}.items():
        cluster.create({**config_map(name), "metadata": {"name": name, "namespace": TEAM, "labels": labels}})

    pages = [page async for page in client.list_pages(CONFIG_MAPS, selector="team=a")]

    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == ["ours"]


async def test_a_page_that_the_server_has_forgotten_says_so(cluster: FakeCluster, client: Client) -> None:
    for number in range(3):
        cluster.create(config_map(f"map-{number}"))
    pages = client.list_pages(CONFIG_MAPS, TEAM, page_size=2)
    await anext(pages)
    cluster.patch("ConfigMap", TEAM, "map-0", {"data": {"a": "1"}})
    cluster.compact()

    with pytest.raises(ApiError) as gone:
        await anext(pages)

    assert gone.value.status == 410


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (TASKS.path("team", "a", "status"), "/apis/upkeep.dev/v1alpha1/namespaces/team/maintenancetasks/a/status"),
        (JOBS.path(), "/apis/batch/v1/jobs"),
        (CONFIG_MAPS.path("team"), "/api/v1/namespaces/team/configmaps"),
        (INGRESSES.path("team", "../../x"), "/apis/networking.k8s.io/v1/namespaces/team/ingresses/..%2F..%2Fx"),
    ],
)
def test_paths(place: str, expected: str) -> None:
    assert place == expected


async def test_when_connections_are_scarce_the_urgent_go_first(cluster: FakeCluster) -> None:
    cluster.faults.on("get", name="hanging").delay(0.3)
    async with Client(Configuration(host=cluster.url), connections=1) as client:
        hanging = asyncio.create_task(_look(client, "hanging", Urgency.EVENT))
        await asyncio.sleep(0)  # it has taken the only connection before the others come

        order = [Urgency.EVENT, Urgency.STATUS, Urgency.READ, Urgency.START, Urgency.START, Urgency.EVENT]
        await asyncio.gather(hanging, *(_look(client, f"{n}-{each.name}", each) for n, each in enumerate(order)))

    seen = [entry.name for entry in cluster.audit]
    assert seen == ["hanging", "3-START", "4-START", "2-READ", "1-STATUS", "0-EVENT", "5-EVENT"]


async def test_the_lease_does_not_wait_for_requests_that_hang(cluster: FakeCluster) -> None:
    cluster.faults.on("get", "configmaps").delay(PATIENCE)
    async with Client(Configuration(host=cluster.url), connections=1) as client:
        hanging = asyncio.create_task(_look(client, "hanging", Urgency.START))
        await asyncio.sleep(0)  # it has taken the only connection before the Lease is asked for

        with pytest.raises(NotFoundError):
            await client.request("GET", LEASES.path(TEAM, "a"), urgency=Urgency.LEASE, timeout=PATIENCE / 4)

        assert not hanging.done()
        hanging.cancel()
        await asyncio.wait([hanging])


async def test_who_stops_waiting_takes_no_connection_away(cluster: FakeCluster) -> None:
    cluster.faults.on("get", name="hanging").delay(0.2)
    async with Client(Configuration(host=cluster.url), connections=1) as client:
        hanging = asyncio.create_task(_look(client, "hanging", Urgency.READ))
        await asyncio.sleep(0)  # it has taken the only connection before the others come
        impatient = [asyncio.create_task(_look(client, "impatient", Urgency.START)) for _ in range(3)]
        patient = asyncio.create_task(_look(client, "patient", Urgency.EVENT))
        await asyncio.sleep(0)  # they wait

        for each in impatient:
            each.cancel()

        await asyncio.wait_for(asyncio.gather(hanging, patient), PATIENCE)
    assert [entry.name for entry in cluster.audit] == ["hanging", "patient"]


async def _look(client: Client, name: str, urgency: Urgency) -> None:
    with contextlib.suppress(NotFoundError):
        await client.request("GET", CONFIG_MAPS.path(TEAM, name), urgency=urgency)
