"""The clients that Upkeep uses work against the fake as they are: Kopf, kubernetes.aio, and other processes."""

import asyncio
import sys
from pathlib import Path

import kopf
import pytest
from kubernetes import aio

from fakeapi.objects import Json
from fakeapi.server import FakeCluster

TASK: Json = {
    "apiVersion": "upkeep.dev/v1alpha1",
    "kind": "MaintenanceTask",
    "metadata": {"name": "one", "namespace": "team"},
    "spec": {"schedule": "0 3 * * *"},
}
CREATES_A_CONFIG_MAP = """
import json, os, urllib.request, yaml
config = yaml.safe_load(open(os.environ["KUBECONFIG"]))
body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
request = urllib.request.Request(
    config["clusters"][0]["cluster"]["server"] + "/api/v1/namespaces/default/configmaps",
    data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
urllib.request.urlopen(request)
"""


class _Operator:
    """A Kopf operator that only listens, in the test's own event loop."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str | None, str]] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self._registry)(self._login)
        kopf.on.startup(registry=self._registry)(self._configure)
        kopf.on.event("upkeep.dev", "v1alpha1", "maintenancetasks", registry=self._registry)(self._hear)
        self._running = asyncio.create_task(
            kopf.operator(registry=self._registry, clusterwide=True, standalone=True, stop_flag=self._stop)
        )

    async def next(self) -> tuple[str | None, str]:
        async with asyncio.timeout(20):
            return await self.heard.get()

    async def stop(self) -> None:
        self._stop.set()
        await self._running

    def _login(self, settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(settings=settings)

    def _configure(self, settings: kopf.OperatorSettings, **_: object) -> None:
        settings.posting.enabled = False
        settings.watching.reconnect_backoff = 0.01

    async def _hear(self, event: kopf.RawEvent, name: str, **_: object) -> None:
        await self.heard.put((event["type"], name))


@pytest.fixture
def kubeconfig(fake_cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = fake_cluster.kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.usefixtures("kubeconfig")
class TestKopf:
    async def test_an_event_only_operator_hears_everything_and_writes_nothing(self, fake_cluster: FakeCluster) -> None:
        fake_cluster.create(TASK)
        operator = _Operator()
        heard = [await operator.next()]

        fake_cluster.patch("MaintenanceTask", "team", "one", {"spec": {"suspend": True}})
        heard.append(await operator.next())
        fake_cluster.delete("MaintenanceTask", "team", "one")
        heard.append(await operator.next())
        await operator.stop()

        assert heard == [(None, "one"), ("MODIFIED", "one"), ("DELETED", "one")]
        assert fake_cluster.writes == []

    async def test_it_comes_back_after_the_end_of_a_watch_and_lists_again_when_too_late(
        self, fake_cluster: FakeCluster
    ) -> None:
        operator = _Operator()
        fake_cluster.create(TASK)
        await operator.next()

        fake_cluster.end_watches()
        fake_cluster.patch("MaintenanceTask", "team", "one", {"spec": {"suspend": True}})
        resumed = await operator.next()
        fake_cluster.end_watches()
        fake_cluster.patch("MaintenanceTask", "team", "one", {"spec": {"suspend": False}})
        fake_cluster.compact()
        listed = await operator.next()
        await operator.stop()

        assert resumed == ("MODIFIED", "one")
        assert listed == (None, "one")


class TestOfficialClient:
    async def test_it_lists_creates_and_watches(self, fake_cluster: FakeCluster, kubeconfig: Path) -> None:
        configuration = aio.client.Configuration()
        await aio.config.load_kube_config(  # type: ignore[no-untyped-call]  # the client's authors give it no types
            config_file=str(kubeconfig), client_configuration=configuration
        )
        job = aio.client.V1Job.model_validate(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "one"},
                "spec": {
                    "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x:1"}]}}
                },
            }
        )
        async with aio.client.ApiClient(configuration) as client:
            jobs = aio.client.BatchV1Api(client)
            await jobs.create_namespaced_job("default", job, field_manager="upkeep")
            found = await jobs.list_job_for_all_namespaces()
            with pytest.raises(aio.client.ApiException) as refusal:
                await jobs.create_namespaced_job("default", job)

        assert [item.metadata.name for item in found.items if item.metadata] == ["one"]
        assert refusal.value.status == 409
        assert fake_cluster.writes[0].manager == "upkeep"


class TestProcess:
    async def test_a_process_dies_between_the_commit_and_the_answer(
        self, fake_cluster: FakeCluster, kubeconfig: Path
    ) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CREATES_A_CONFIG_MAP, env={"KUBECONFIG": str(kubeconfig)}
        )
        fake_cluster.faults.on("create", "configmaps").kill_after(process.kill)

        code = await process.wait()

        assert code == -9
        assert fake_cluster.get("ConfigMap", "default", "one")["metadata"]["uid"]
        assert [(entry.committed, entry.answered) for entry in fake_cluster.writes] == [(True, False)]
