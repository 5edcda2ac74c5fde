"""The samples that look after servers run as they are in the shop of the demo: real PostgreSQL, Redis, web server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object, moved, parse, read
from cluster.server import Server
from cluster.space import Space, own_space
from lab.access import ClusterAccess

MANIFESTS: Final = Path(__file__).parents[2] / "manifests"
SHOP_IMAGE: Final = "localhost/upkeep-shop:dev"
WORKLOADS: Final = ("statefulset/shop-db", "deployment/shop-redis", "deployment/shop")
PATIENCE: Final = 120.0
ONCE: Final = "once"


@pytest.fixture(scope="module")
def shop(
    server: Server,
    upkeep: Installation,  # noqa: ARG001 - it runs the tasks
    kubectl: Kubectl,
    access: ClusterAccess,
) -> Iterator[Space]:
    """The shop of the demo, seeded and ready, in a namespace of its own."""
    built = kubectl.run("kustomize", str(MANIFESTS / "demo" / "shop")).replace(SHOP_IMAGE, access.shop_image)
    with own_space(server) as made:
        made.make(*(found for found in parse(built) if found["kind"] not in {"Namespace", "Ingress"}))
        for workload in WORKLOADS:
            kubectl.run("rollout", "status", workload, f"--namespace={made.name}", "--timeout=240s")
        yield made


def _tasks(sample: str) -> dict[str, Object]:
    """The tasks of a sample, which run when they are asked to."""
    found = {each["metadata"]["name"]: each for each in read(MANIFESTS / "samples" / f"{sample}.yaml")}
    for each in found.values():
        each["spec"] = {key: value for key, value in each["spec"].items() if key not in {"schedule", "timeZone"}}
    return found


def _ran(shop: Space, sample: str, name: str) -> dict[str, str]:
    """The outcome of each step, by its name, after the task has run once."""
    shop.make(moved(_tasks(sample)[name], shop.name))
    shop.run_now(name, ONCE)
    run = shop.ended_run(name, token=ONCE, seconds=PATIENCE)["lastRun"]
    return {step["name"]: step["outcome"] for step in run["steps"]} | {"": run["message"]}


@pytest.mark.parametrize(
    ("sample", "name", "expected"),
    [
        ("task-postgres-health", "database-health", {}),
        ("task-postgres-long-queries", "long-queries", {}),
        ("task-postgres-purge", "old-orders", {}),
        ("task-postgres-indexes", "database-indexes", {}),
        ("task-redis", "cache-watch", {}),
        ("task-redis", "cache-care", {}),
    ],
)
def test_a_sample_does_its_work(shop: Space, sample: str, name: str, expected: dict[str, str]) -> None:
    outcomes = _ran(shop, sample, name)

    assert outcomes == expected
