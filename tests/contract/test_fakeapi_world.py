"""The simulated world: what the checks against a real cluster cannot steer."""

import asyncio

import pytest

from fakeapi.behaviours import Finish, NeverFinish
from fakeapi.objects import Json
from fakeapi.server import FakeCluster

POD_SPEC = {
    "restartPolicy": "Never",
    "containers": [{"name": "main", "image": "x:1"}, {"name": "side", "image": "y:1"}],
}


def job(name: str, **spec: object) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": POD_SPEC}, **spec},
    }


def deployment(**spec: object) -> Json:
    labels = {"app": "page"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "page"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}},
            **spec,
        },
    }


SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "page"},
    "spec": {"selector": {"app": "page"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


def conditions(cluster: FakeCluster, name: str) -> dict[str, str]:
    status = cluster.get("Job", "default", name).get("status", {})
    return {entry["type"]: entry["reason"] for entry in status.get("conditions", []) if entry["status"] == "True"}


def addresses(cluster: FakeCluster) -> list[str]:
    (found,) = cluster.list("EndpointSlice", "default")
    return [address for endpoint in found["endpoints"] or [] for address in endpoint["addresses"]]


class TestJobs:
    async def test_without_the_world_nothing_runs(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(job("one"))

        for _ in range(10):
            await asyncio.sleep(0)

        assert fake_cluster.list("Pod") == []

    async def test_jobs_that_exist_already_run_too(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(job("one"))

        fake_cluster.world.jobs()

        await fake_cluster.until(lambda: "Complete" in conditions(fake_cluster, "one"))

    async def test_the_outcome_may_depend_on_the_job(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(Finish(outcome=lambda found: (0, f"I am {found['metadata']['name']}")))

        fake_cluster.create(job("one"))
        await fake_cluster.until(lambda: "Complete" in conditions(fake_cluster, "one"))

        (pod,) = fake_cluster.list("Pod", labels="job-name=one")
        main, side = (status["state"]["terminated"] for status in pod["status"]["containerStatuses"])
        assert main["message"] == "I am one"
        assert "message" not in side

    async def test_the_behaviour_may_depend_on_the_job_and_change(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(NeverFinish())
        fake_cluster.create(job("one"))
        await fake_cluster.until(lambda: fake_cluster.get("Job", "default", "one").get("status", {}).get("ready") == 1)

        fake_cluster.world.jobs(lambda found: Finish(outcome=lambda _: (int(found["metadata"]["name"] == "bad"), "")))
        fake_cluster.create(job("bad", backoffLimit=0))
        fake_cluster.create(job("good"))
        await fake_cluster.until(lambda: bool(conditions(fake_cluster, "bad").keys() & {"Failed"}))
        await fake_cluster.until(lambda: "Complete" in conditions(fake_cluster, "good"))

        assert conditions(fake_cluster, "one") == {}

    async def test_a_failed_pod_is_followed_by_another_up_to_the_limit(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(Finish(outcome=lambda _: (1, "no")), backoff=0.001)

        fake_cluster.create(job("one", backoffLimit=2))
        await fake_cluster.until(lambda: "Failed" in conditions(fake_cluster, "one"))

        status = fake_cluster.get("Job", "default", "one")["status"]
        assert (status["failed"], len(fake_cluster.list("Pod"))) == (3, 3)
        assert conditions(fake_cluster, "one")["Failed"] == "BackoffLimitExceeded"

    async def test_a_pod_that_vanishes_counts_as_failed_and_is_replaced(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(NeverFinish())
        fake_cluster.create(job("one"))
        await fake_cluster.until(lambda: bool(fake_cluster.list("Pod")))
        (first,) = fake_cluster.list("Pod")

        fake_cluster.delete("Pod", "default", first["metadata"]["name"])
        await fake_cluster.until(lambda: bool(fake_cluster.list("Pod")))

        (second,) = fake_cluster.list("Pod")
        assert second["metadata"]["uid"] != first["metadata"]["uid"]
        await fake_cluster.until(lambda: fake_cluster.get("Job", "default", "one")["status"].get("failed") == 1)

    async def test_a_pod_takes_the_time_that_it_is_given(self, fake_cluster: FakeCluster) -> None:
        phases: list[str] = []
        fake_cluster.world.jobs(Finish(pending=0.02, running=0.02))
        loop = asyncio.get_running_loop()
        start = loop.time()

        fake_cluster.create(job("one"))
        while "Complete" not in conditions(fake_cluster, "one"):
            phases += [pod["status"]["phase"] for pod in fake_cluster.list("Pod")]
            await asyncio.sleep(0)

        assert list(dict.fromkeys(phases)) == ["Pending", "Running", "Succeeded"]
        assert loop.time() - start >= 0.04

    async def test_a_job_that_is_deleted_takes_its_running_pod_along(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(NeverFinish())
        fake_cluster.create(job("one"))
        await fake_cluster.until(lambda: bool(fake_cluster.list("Pod")))

        fake_cluster.delete("Job", "default", "one", policy="Foreground")

        assert fake_cluster.list("Pod") == []
        assert fake_cluster.list("Job") == []

    async def test_suspending_a_job_takes_its_pod_away(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.jobs(NeverFinish())
        fake_cluster.create(job("one"))
        await fake_cluster.until(lambda: bool(fake_cluster.list("Pod")))

        fake_cluster.patch("Job", "default", "one", {"spec": {"suspend": True}})
        await fake_cluster.until(lambda: "Suspended" in conditions(fake_cluster, "one"))

        assert fake_cluster.list("Pod") == []
        assert "failed" not in fake_cluster.get("Job", "default", "one")["status"]

    async def test_an_error_in_a_tests_own_outcome_is_raised_at_the_end(self) -> None:
        asked = asyncio.Event()

        def outcome(_: Json) -> tuple[int, str]:
            asked.set()
            message = "the test is wrong"
            raise ValueError(message)

        async def run() -> None:
            async with FakeCluster() as cluster:
                cluster.world.jobs(Finish(outcome=outcome))
                cluster.create(job("one"))
                await asked.wait()

        with pytest.raises(ValueError, match="the test is wrong"):
            await run()


class TestDeployments:
    async def test_what_never_gets_ready_has_no_endpoints(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.deployments(ready_after=None)
        fake_cluster.create(SERVICE)
        fake_cluster.create(deployment())

        await fake_cluster.until(lambda: "status" in fake_cluster.get("Deployment", "default", "page"))
        await fake_cluster.until(lambda: bool(fake_cluster.list("EndpointSlice")))

        status = fake_cluster.get("Deployment", "default", "page")["status"]
        assert status["conditions"][0] | {"type": "Available", "status": "False"} == status["conditions"][0]
        assert status["unavailableReplicas"] == 1
        assert addresses(fake_cluster) == []

    async def test_endpoints_follow_replicas_and_go_with_the_deployment(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.deployments()
        fake_cluster.create(deployment(replicas=2))
        fake_cluster.create(SERVICE)
        await fake_cluster.until(lambda: bool(fake_cluster.list("EndpointSlice")) and len(addresses(fake_cluster)) == 2)

        fake_cluster.patch("Deployment", "default", "page", {"spec": {"replicas": 3}})
        await fake_cluster.until(lambda: len(addresses(fake_cluster)) == 3)
        fake_cluster.delete("Deployment", "default", "page")
        await fake_cluster.until(lambda: not addresses(fake_cluster))

    async def test_a_rollout_keeps_what_was_available(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.deployments()
        fake_cluster.create(deployment())
        await fake_cluster.until(lambda: _observed(fake_cluster) == (1, "True"))

        seen: list[tuple[int, str]] = []
        fake_cluster.patch(
            "Deployment", "default", "page", {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}
        )
        while _observed(fake_cluster)[0] < 2:
            seen.append(_observed(fake_cluster))
            await asyncio.sleep(0)

        assert {available for _, available in [*seen, _observed(fake_cluster)]} == {"True"}

    async def test_a_slice_goes_with_its_service(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.world.deployments()
        fake_cluster.create(SERVICE)
        await fake_cluster.until(lambda: bool(fake_cluster.list("EndpointSlice")))

        fake_cluster.delete("Service", "default", "page")

        assert fake_cluster.list("EndpointSlice") == []


def _observed(cluster: FakeCluster) -> tuple[int, str]:
    status = cluster.get("Deployment", "default", "page").get("status", {})
    available = [entry["status"] for entry in status.get("conditions", []) if entry["type"] == "Available"]
    return status.get("observedGeneration", 0), "".join(available)
