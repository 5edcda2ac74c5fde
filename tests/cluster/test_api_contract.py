"""A real API server keeps the contract that the fake one keeps: what passes there and fails here, the fake got wrong.

Every test has a namespace of its own; it and the one CustomResourceDefinition are gone afterwards.
"""

import secrets
import ssl
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import yaml

from cluster.kubectl import Kubectl
from cluster.waiting import until
from fakeapi.contract.api import WIDGETS, Api
from fakeapi.contract.defaulting import DefaultContract
from fakeapi.contract.deletion import DeletionContract
from fakeapi.contract.discovery import DiscoveryContract
from fakeapi.contract.lists import ListContract
from fakeapi.contract.managers import ManagerContract
from fakeapi.contract.objects import ObjectContract
from fakeapi.contract.patches import PatchContract
from fakeapi.contract.watches import WatchContract
from fakeapi.contract.work import WorkContract
from lab.access import ClusterAccess


@pytest.fixture(scope="session")
def widgets(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A custom resource that takes anything."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": WIDGETS.qualified},
        "spec": {
            "group": WIDGETS.group,
            "scope": "Namespaced",
            "names": {
                "plural": WIDGETS.plural,
                "singular": WIDGETS.kind.lower(),
                "kind": WIDGETS.kind,
                "shortNames": list(WIDGETS.short_names),
            },
            "versions": [
                {
                    "name": WIDGETS.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": anything, "status": anything},
                        }
                    },
                }
            ],
        },
    }
    manifest = tmp_path_factory.mktemp("widgets") / "definition.yaml"
    manifest.write_text(yaml.safe_dump(definition), encoding="utf-8")
    kubectl.run("apply", f"--filename={manifest}")
    kubectl.run("wait", "--for=condition=Established", f"--filename={manifest}", "--timeout=30s")
    # Even then the server may still answer 429 for a moment: "storage is (re)initializing".
    listing = ("get", WIDGETS.qualified, "--all-namespaces")
    until(lambda: kubectl.attempt(*listing).returncode, lambda code: code == 0, what="widgets are served", seconds=30)
    yield
    kubectl.run("delete", f"--filename={manifest}")


@pytest.fixture
async def api(credentials: tuple[str, ssl.SSLContext], widgets: None) -> AsyncIterator[Api]:  # noqa: ARG001 -- has to exist
    url, context = credentials
    suffix = secrets.token_hex(4)
    name = f"contract-{suffix}"
    async with aiohttp.ClientSession(
        url,
        headers={"User-Agent": "contract-check/1"},
        connector=aiohttp.TCPConnector(ssl=context),
    ) as session:
        api = Api(session, namespace=name, suffix=suffix)
        namespaces = api.path("v1/namespaces", namespace="")
        await api.made(namespaces, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield api
        await api.delete(f"{namespaces}/{name}")


@pytest.fixture(scope="session")
def image(access: ClusterAccess) -> str:
    return access.image


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
