"""A real cluster for the tests in this folder: the one that the lab runs, or that the caller named."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from cluster.kubectl import Kubectl, read
from lab import access, tools

ROOT: Final = Path(__file__).parents[2]
DEFINITIONS: Final = ROOT / "crds"
OWNED_BY_THE_RELEASE: Final = {
    "helm.sh/resource-policy": "keep",
    "meta.helm.sh/release-name": "upkeep",
    "meta.helm.sh/release-namespace": "upkeep-system",
}


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """kubectl for the test cluster; refuses every cluster that was not meant for tests."""
    cluster = access.connect()
    return Kubectl(program=tools.kubectl(), kubeconfig=cluster.kubeconfig, context=cluster.context)


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl) -> Iterator[None]:
    """Our custom resource definitions as they are in this tree; removed again where the tests brought them.

    They are applied as Helm applies them for the release `upkeep`, so that it finds its own when it comes or goes on.
    """
    present = "upkeep.dev" in kubectl.run("get", "customresourcedefinitions", "--output=name")
    if kubectl.attempt("diff", "--server-side", "--force-conflicts", f"--filename={DEFINITIONS}").returncode != 0:
        found = read(*DEFINITIONS.glob("*.yaml"))
        for definition in found:
            definition["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
            definition["metadata"]["annotations"] = OWNED_BY_THE_RELEASE
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename=-")
        kubectl.run(*apply, stdin=yaml.safe_dump_all(found))
    kubectl.run("wait", "--for=condition=Established", f"--filename={DEFINITIONS}", "--timeout=30s")
    yield
    if not present:
        kubectl.run("delete", f"--filename={DEFINITIONS}")


@pytest.fixture(scope="session")
def empty_namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace with the Pod Security level `restricted`, for dry runs: nothing is ever kept in it."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl.run("create", "namespace", name)
    kubectl.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl.run("delete", "namespace", name, "--wait=false")
