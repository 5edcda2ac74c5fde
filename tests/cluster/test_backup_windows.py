"""Backups that name a window, on a real cluster: they are made while it is open, and at no other time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import yaml

from cluster.installation import Installation
from cluster.kubectl import Object
from cluster.manifests import postgres_server, resource, secret, window
from cluster.space import Space
from cluster.volume import claimed
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, WINDOWS
from upkeep.domain.instants import read_instant, write_instant

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-shared.yaml"
MINUTE: Final = timedelta(minutes=1)
NAME: Final = "shop-db-at-night"


@pytest.fixture(scope="module")
def database(space: Space, access: ClusterAccess, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - it serves
    """A namespace with a database, and a volume for its backups."""
    with claimed(space, access, "backups"):
        space.make(
            secret("db", username="postgres", password="correct-horse"),  # noqa: S106 - of a database of one test
            secret("repository", password="battery-staple"),  # noqa: S106 - of its backups
            *postgres_server(access.shop_image, login="db"),
        )
        space.ready("db")
        yield space


def every_minute(*windows: str) -> Object:
    """The policy of the sample for the database of the test, each minute, bound to these windows."""
    (sample,) = (item for item in yaml.safe_load_all(SAMPLE.read_text()) if item["kind"] == BACKUPS.kind)
    spec = {
        **sample["spec"],
        "windows": list(windows),
        "source": {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}},
        "repository": {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}},
        "schedules": [{"name": "nightly", "schedule": "* * * * *"}],
    }
    assert [name.rpartition("/")[0] for name in sample["spec"]["windows"]] == ["platform", "platform"]
    return resource(BACKUPS.kind, NAME, spec)


def records(space: Space) -> dict[datetime, Object]:
    """What became of each minute."""
    found = space.status(BACKUPS, NAME).get("history", [])
    return {read_instant(each["scheduledTime"]): each for each in found if "scheduledTime" in each}


def test_backups_are_made_only_while_their_window_is_open(database: Space) -> None:
    # The next minute but one where the next is near: everything must be there before it comes.
    first = (datetime.now(UTC) + timedelta(seconds=10)).replace(second=0, microsecond=0) + MINUTE
    begin, end = first + timedelta(seconds=20), first + timedelta(seconds=100)
    length = f"{int((end - begin).total_seconds())}s"
    database.make(window("night", startAt=write_instant(begin), duration=length), every_minute("night"))

    known = until(
        lambda: records(database),
        lambda known: {first, first + MINUTE, first + 2 * MINUTE} <= known.keys(),
        what="three minutes are accounted for",
        seconds=240,
    )

    minutes = [known[first + number * MINUTE] for number in range(3)]
    assert [(each["ending"], each.get("reason", "")) for each in minutes] == [
        ("Missed", "WindowClosed"),
        ("Ran", ""),
        ("Missed", "WindowClosed"),
    ]
    backup, opening = known[first + MINUTE], database.status(WINDOWS, "night")["occurrence"]
    assert backup["outcome"] == "changed"
    assert read_instant(opening["openedAt"]) <= read_instant(backup["startTime"]) < read_instant(opening["closedAt"])
    assert known[first]["message"] == "none of its windows was open: night"
    assert "lastBackupTime" in database.status(BACKUPS, NAME)


def test_a_window_that_is_not_there_is_named(database: Space) -> None:
    policy = every_minute("nowhere")
    database.make({**policy, "metadata": {"name": "lost"}})

    ready = database.condition("lost", "Ready", "False", kind=BACKUPS)

    assert ready["reason"] == "WindowNotFound"
    assert "'nowhere' does not exist in this namespace: create it or remove it from windows" in ready["message"]
