"""What tests see of the fake cluster from the inside: the second client, the audit, and the same run every time."""

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from fakeapi.errors import NoSuchKindError, StatusError
from fakeapi.objects import Json
from fakeapi.resources import KUBERNETES, custom
from fakeapi.server import FakeCluster

CONFIGS = "/api/v1/namespaces/default/configmaps"
TASKS = "/apis/upkeep.dev/v1alpha1/namespaces/team/maintenancetasks"
MERGE = {"Content-Type": "application/merge-patch+json"}


def task(name: str) -> Json:
    return {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": "MaintenanceTask",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"schedule": "0 3 * * *"},
        "status": {"consecutiveFailures": 1},
    }


class TestSecondClient:
    async def test_it_creates_with_status_and_makes_the_namespace(self, fake_cluster: FakeCluster) -> None:
        made = fake_cluster.create(task("one"))

        assert made["status"] == {"consecutiveFailures": 1}
        assert fake_cluster.get("Namespace", "", "team")["status"] == {"phase": "Active"}

    async def test_kinds_go_by_kind_or_plural_with_or_without_their_group(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(task("one"))

        found = [
            fake_cluster.get(kind, "team", "one")["metadata"]["uid"]
            for kind in ("MaintenanceTask", "maintenancetasks", "maintenancetasks.upkeep.dev")
        ]

        assert len(set(found)) == 1
        with pytest.raises(NoSuchKindError, match="does not serve 'Unicorn'"):
            fake_cluster.get("Unicorn", "team", "one")

    async def test_it_changes_and_deletes(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(task("one"))
        fake_cluster.create(task("two"))

        merged = fake_cluster.patch("MaintenanceTask", "team", "one", {"spec": {"suspend": True}})
        operation = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
        labelled = fake_cluster.patch("MaintenanceTask", "team", "one", [operation])
        status = fake_cluster.patch("MaintenanceTask", "team", "one", {"status": {"x": 1}}, subresource="status")
        fake_cluster.delete("MaintenanceTask", "team", "two")

        assert merged["metadata"]["generation"] == 2
        assert labelled["metadata"]["labels"] == {"a": "b"}
        assert status["status"] == {"consecutiveFailures": 1, "x": 1}
        assert [item["metadata"]["name"] for item in fake_cluster.list("MaintenanceTask")] == ["one"]
        assert fake_cluster.list("MaintenanceTask", "team", labels="a=c") == []

    async def test_what_it_returns_is_the_callers_own(self, fake_cluster: FakeCluster) -> None:
        body = task("one")

        made = fake_cluster.create(body)
        made["spec"]["schedule"] = body["spec"]["schedule"] = "changed"
        fake_cluster.get("MaintenanceTask", "team", "one")["spec"]["schedule"] = "changed"

        assert fake_cluster.get("MaintenanceTask", "team", "one")["spec"]["schedule"] == "0 3 * * *"

    async def test_it_is_refused_like_any_other(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(task("one"))

        with pytest.raises(StatusError) as refusal:
            fake_cluster.create(task("one"))

        assert (refusal.value.code, refusal.value.reason) == (409, "AlreadyExists")


class TestAudit:
    async def test_every_request_is_recorded_with_who_and_what(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(task("one"))
        change = '{"status":{"x":1}}'
        async with aiohttp.ClientSession(fake_cluster.url, headers={"User-Agent": "tester/1.0"}) as client:
            await client.get("/version")
            await client.get(TASKS, params={"limit": "5"})
            await client.patch(f"{TASKS}/one/status", params={"fieldManager": "upkeep"}, data=change, headers=MERGE)
            await client.post(TASKS, json={**task(""), "metadata": {"generateName": "made-"}})
            await client.delete(f"{TASKS}/none")

        assert [(entry.n, entry.verb, entry.resource, entry.code) for entry in fake_cluster.audit] == [
            (1, "get", "/version", 200),
            (2, "list", "maintenancetasks", 200),
            (3, "patch", "maintenancetasks", 200),
            (4, "create", "maintenancetasks", 201),
            (5, "delete", "maintenancetasks", 404),
        ]
        patch, create, delete = fake_cluster.writes
        assert (patch.namespace, patch.name, patch.subresource) == ("team", "one", "status")
        assert (patch.manager, patch.user_agent, patch.body) == ("upkeep", "tester/1.0", {"status": {"x": 1}})
        assert create.manager == "tester"
        assert create.name.startswith("made-")
        assert (delete.committed, delete.answered) == (False, True)

    async def test_the_second_client_and_the_world_leave_no_entries(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs()
        fake_cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}})

        assert fake_cluster.audit == []

    async def test_times_are_by_the_servers_clock(self) -> None:
        now = datetime(2026, 3, 29, 2, 0, tzinfo=UTC)
        async with FakeCluster(clock=lambda: now) as cluster, aiohttp.ClientSession(cluster.url) as client:
            await client.get(CONFIGS)
            cluster.create(task("one"))
            now += timedelta(hours=1)
            cluster.create(task("two"))

            created = [item["metadata"]["creationTimestamp"] for item in cluster.list("MaintenanceTask")]
            assert created == ["2026-03-29T02:00:00Z", "2026-03-29T03:00:00Z"]
            assert cluster.audit[0].time == datetime(2026, 3, 29, 2, 0, tzinfo=UTC)


class TestConfiguration:
    async def test_names_and_uids_are_the_same_in_every_run(self) -> None:
        def run(seed: int) -> list[Json]:
            cluster = FakeCluster(seed=seed, clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
            made = [cluster.create({**task(""), "metadata": {"generateName": "x-"}}) for _ in range(3)]
            return [*made, cluster.create(task("one"))]

        assert run(1) == run(1)
        assert run(1) != run(2)

    async def test_it_serves_what_it_is_told_to(self) -> None:
        gadgets = custom(group="example.com", version="v1", plural="gadgets", kind="Gadget")
        async with (
            FakeCluster(resources=(*KUBERNETES, gadgets)) as cluster,
            aiohttp.ClientSession(cluster.url) as client,
        ):
            async with client.get("/apis/example.com/v1/gadgets") as served:
                pass
            async with client.get(TASKS) as unserved:
                pass
            async with client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions") as listed:
                definitions = (await listed.json())["items"]

        assert (served.status, unserved.status) == (200, 404)
        assert [item["metadata"]["name"] for item in definitions] == ["gadgets.example.com"]

    async def test_a_dry_run_is_refused_rather_than_done(self, fake_cluster: FakeCluster) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
        async with (
            aiohttp.ClientSession(fake_cluster.url) as client,
            client.post(CONFIGS, json=body, params={"dryRun": "All"}) as response,
        ):
            assert response.status == 400

        assert fake_cluster.list("ConfigMap") == []

    async def test_definitions_can_only_be_read(self, fake_cluster: FakeCluster) -> None:
        async with (
            aiohttp.ClientSession(fake_cluster.url) as client,
            client.delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x") as response,
        ):
            assert response.status == 405
