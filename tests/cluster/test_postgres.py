"""The samples of a database's care run in a cluster as they are, but for the server that they are pointed at."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cluster.kubectl import Object
from cluster.manifests import connection, postgres_server, secret, task
from cluster.space import Space
from lab.access import ClusterAccess

SAMPLES: Final = Path(__file__).parents[2] / "manifests" / "samples"
PASSWORD: Final = "of-the-tests-only"  # noqa: S105 - of a server that lives as long as the tests
PATIENCE: Final = 60.0


@pytest.fixture(scope="module")
def database(space: Space, access: ClusterAccess) -> None:
    """A PostgreSQL `db` with a table `orders` of one column, and its Secret `db`."""
    space.make(secret("db", username="postgres", password=PASSWORD), *postgres_server(access.shop_image, login="db"))
    space.ready("db")


def _ran(space: Space, sample: str, **columns: str) -> Object:
    """The last run of a sample that was pointed at the server of the tests."""
    text = (SAMPLES / f"task-postgres-{sample}.yaml").read_text()
    for theirs, ours in columns.items():
        text = text.replace(theirs, ours)
    spec: dict[str, Any] = yaml.safe_load(text)["spec"]
    space.make(task(sample, *spec["steps"], timeout=spec["timeout"], connections=[connection("db", login="db")]))
    run: Object = space.ended_run(sample, seconds=PATIENCE)["lastRun"]
    return run


@pytest.mark.usefixtures("database")
def test_the_health_of_a_server_is_checked_and_what_cannot_be_is_unknown(space: Space) -> None:
    run = _ran(space, "health")

    # the server of the tests has no pg_stat_statements, and archives nothing
    assert (run["outcome"], run["message"].partition(" ")[0]) == ("unknown", "slow-queries:")
    assert "CREATE EXTENSION pg_stat_statements" in run["message"]


@pytest.mark.usefixtures("database")
def test_indexes_are_made_and_rebuilt(space: Space) -> None:
    first = _ran(space, "indexes", customer_id="number", minDays="minDays: 0 #")

    assert first["outcome"] == "changed", first["message"]


@pytest.mark.usefixtures("database")
def test_long_queries_are_only_told_at_first(space: Space) -> None:
    run = _ran(space, "long-queries")

    assert run["outcome"] == "ok", run["message"]
