"""The fake API server keeps the contract that a real one keeps (see tests/cluster/test_api_contract.py)."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from fakeapi.contract.api import WIDGETS, Api
from fakeapi.contract.defaulting import DefaultContract
from fakeapi.contract.deletion import DeletionContract
from fakeapi.contract.discovery import DiscoveryContract
from fakeapi.contract.lists import ListContract
from fakeapi.contract.managers import ManagerContract
from fakeapi.contract.objects import ObjectContract
from fakeapi.contract.patches import PatchContract
from fakeapi.contract.watches import WatchContract
from fakeapi.contract.work import SIMULATED, WorkContract
from fakeapi.resources import KUBERNETES
from fakeapi.server import FakeCluster


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with (
        FakeCluster(resources=(*KUBERNETES, WIDGETS)) as cluster,
        aiohttp.ClientSession(cluster.url, headers={"User-Agent": "contract-check/1"}) as session,
    ):
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ours"}})
        cluster.world.jobs(lambda job: SIMULATED[job["metadata"]["name"]])
        cluster.world.deployments()
        yield Api(session, namespace="ours", suffix="x")


@pytest.fixture
def image() -> str:
    return "localhost/simulated:dev"


class TestObjects(ObjectContract):
    pass


class TestPatches(PatchContract):
    pass


class TestDeletion(DeletionContract):
    pass


class TestLists(ListContract):
    pass


class TestWatches(WatchContract):
    pass


class TestManagers(ManagerContract):
    pass


class TestDefaults(DefaultContract):
    pass


class TestDiscovery(DiscoveryContract):
    pass


class TestWork(WorkContract):
    pass
