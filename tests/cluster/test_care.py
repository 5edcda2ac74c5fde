"""The samples that look after servers run as they are in the shop of the demo: real PostgreSQL, Redis, web server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

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
        parts = [moved(found, made.name) for found in parse(built) if found["kind"] not in {"Namespace", "Ingress"}]
        kubectl.run("apply", "--filename=-", stdin=yaml.safe_dump_all(parts))
        for workload in WORKLOADS:
            kubectl.run("rollout", "status", workload, f"--namespace={made.name}", "--timeout=240s")
        yield made


def _tasks(sample: str) -> dict[str, Object]:
    """The tasks of a sample, which run when they are asked to."""
    found = {each["metadata"]["name"]: each for each in read(MANIFESTS / "samples" / f"{sample}.yaml")}
    for each in found.values():
        each["spec"] = {key: value for key, value in each["spec"].items() if key not in {"schedule", "timeZone"}}
    return found


@pytest.mark.parametrize(
    ("sample", "name", "told"),
    [
        ("task-postgres-health", "database-health", {"ready": "ok", "slow-queries": "ok", "closed-databases": "ok"}),
        ("task-postgres-report", "database-monthly", {"report": "ok"}),
        ("task-postgres-long-queries", "long-queries", {"cancel": "ok"}),
        ("task-postgres-purge", "old-orders", {"purge": "ok", "vacuum": "changed"}),
        ("task-postgres-full", "shrink-orders", {"shrink": "changed"}),
        # Statistics of a server that was just made do not show yet which indexes nobody uses.
        ("task-postgres-indexes", "database-indexes", {"apply-indexes": "changed", "unused-indexes": "unknown"}),
        ("task-redis", "cache-watch", {"answers": "ok", "figures": "ok", "memory": "ok", "slow-commands": "ok"}),
        ("task-redis", "cache-care", {"stale-sessions": "ok", "configuration": "ok", "warm": "ok"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sample_does_its_work(shop: Space, sample: str, name: str, told: dict[str, str]) -> None:
    shop.make(moved(_tasks(sample)[name], shop.name))
    shop.run_now(name, ONCE)

    run = shop.ended_run(name, token=ONCE, seconds=PATIENCE)["lastRun"]

    outcomes = {step["name"]: step["outcome"] for step in run["steps"]}
    assert told.items() <= outcomes.items(), run["message"]
    assert "failed" not in outcomes.values()


def test_a_report_tells_what_has_changed_since_the_last_one(shop: Space) -> None:
    shop.make(moved(_tasks("task-postgres-report")["database-weekly"], shop.name))
    messages = []
    for token in ("first", "second"):
        shop.run_now("database-weekly", token)
        ended = shop.ended_run("database-weekly", token=token, seconds=PATIENCE)
        messages.append(ended["lastRun"]["message"])

    assert "changes are told from the next one on" in messages[0]
    assert "statements took " in messages[1]
    (memory,) = ended["memory"]
    assert (memory["step"], memory["action"]) == ("report", "postgresReport")


def test_a_finding_keeps_its_age_as_long_as_it_is_seen(shop: Space) -> None:
    task = moved(_tasks("task-postgres-health")["database-health"], shop.name)
    task["metadata"]["name"] = "ages"
    busy = {"name": "connections", "postgresConnections": {"connection": "db", "warningPercent": 0.1}}
    task["spec"]["steps"] = [busy]
    shop.make(task)
    seen = []
    for token in ("first", "second"):
        shop.run_now("ages", token)
        status = shop.ended_run("ages", token=token, seconds=PATIENCE)
        seen.append((status["lastRun"]["findings"][0]["firstSeen"], status["lastRun"]["completionTime"]))

    assert seen[0][0] == seen[1][0] == seen[0][1] <= seen[1][1]
    assert [age["firstSeen"] for age in status["memory"][0]["findings"]] == [seen[0][0]]
