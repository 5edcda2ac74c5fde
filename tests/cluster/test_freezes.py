"""Freezes and shared windows across namespaces, as the samples declare them, with the times of a test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object
from cluster.manifests import script, soon
from cluster.server import Server
from cluster.space import PATIENCE, Space, own_space
from cluster.timing import Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import TASKS, WINDOWS, Resource
from upkeep.domain.instants import read_instant

SAMPLES: Final = Path(__file__).parents[2] / "manifests" / "samples"
TOPIC: Final = "Freezes and shared windows"


@pytest.fixture(scope="module")
def platform(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    """The namespace of those who own windows that others obey."""
    with own_space(server) as made:
        yield made


def sample(name: str, kind: Resource, title: str, *, platform: Space, shop: Space) -> Object:
    """An object of a sample, with the namespaces of the test for its own."""
    text = (SAMPLES / f"{name}.yaml").read_text()
    text = text.replace("platform", platform.name).replace("[shop]", f"[{shop.name}]")
    found = [
        item for item in yaml.safe_load_all(text) if (item["kind"], item["metadata"]["name"]) == (kind.kind, title)
    ]
    (only,) = found
    return {**only, "metadata": {"name": title}}


def once(item: Object, *, start: float, duration: str, name: str = "") -> Object:
    """The window as one that opens so many seconds from now."""
    spec = {key: value for key, value in item["spec"].items() if key not in {"schedule", "timeZone"}}
    spec |= {"startAt": soon(start), "duration": duration}
    return {**item, "metadata": {"name": name or item["metadata"]["name"]}, "spec": spec}


def phase(space: Space, name: str, wanted: str, *, seconds: float = PATIENCE) -> Object:
    """The status of a window, once it has this phase."""
    return until(
        lambda: space.status(WINDOWS, name),
        lambda status: status.get("phase") == wanted,
        what=f"{name} is {wanted}",
        seconds=seconds,
    )


def reasons(space: Space, name: str) -> set[str]:
    """The reasons of the Events about a resource."""
    return {event["reason"] for event in space.events_of(name)}


def test_a_freeze_of_another_namespace_keeps_a_window_shut_until_it_is_over(platform: Space, space: Space) -> None:
    freeze = sample("freeze", WINDOWS, "year-end", platform=platform, shop=space)
    storeroom = sample("freeze", WINDOWS, "storeroom", platform=platform, shop=space)
    platform.make(once(freeze, start=-5, duration="30s", name="now"))
    frozen = phase(platform, "now", "Frozen")
    space.make(once(storeroom, start=8, duration="5s"), once(storeroom, start=27, duration="20s", name="after"))

    ahead = until(
        lambda: space.status(WINDOWS, "storeroom"),
        lambda status: "upcoming" in status,
        what="the status shows what lies ahead",
        seconds=PATIENCE,
    )
    skipped = phase(space, "storeroom", "Skipped")
    opened = phase(space, "after", "Active", seconds=40)

    end = frozen["occurrence"]["endTime"]
    told = f"frozen by {platform.name}/now until {end}: end of the year"
    assert [(each["state"], each["reason"]) for each in ahead["upcoming"]] == [("Frozen", told)]
    assert "nextScheduleTime" not in ahead
    assert [(each["ending"], each["reason"], each["message"]) for each in skipped["history"]] == [
        ("Skipped", "Frozen", told)
    ]
    assert "openedAt" not in skipped.get("occurrence", {})
    assert read_instant(opened["occurrence"]["openedAt"]) >= read_instant(end)
    until(lambda: reasons(space, "storeroom"), lambda seen: "SkippedFrozen" in seen, what="an Event", seconds=PATIENCE)
    assert phase(platform, "now", "Completed")["history"][0]["outcome"] == "ok"
    until(
        lambda: reasons(platform, "now"),
        lambda seen: {"FreezeBegan", "FreezeEnded"} <= seen,
        what="Events of its begin and end",
        seconds=PATIENCE,
    )


def test_a_task_runs_only_while_the_window_of_another_namespace_is_open(
    platform: Space, space: Space, access: ClusterAccess, timings: Timings
) -> None:
    night = sample("window-shared", WINDOWS, "night", platform=platform, shop=space)
    look = sample("window-shared", TASKS, "look-at-night", platform=platform, shop=space)
    freeze = sample("freeze", WINDOWS, "year-end", platform=platform, shop=space)
    platform.make(once(freeze, start=86400, duration="1h"))
    window = once(night, start=10, duration="40s")
    platform.make({**window, "spec": {**window["spec"], "sharedWith": ["somebody-else"]}})
    work = {
        "windows": look["spec"]["windows"],
        "runAt": window["spec"]["startAt"],
        "job": script(access.shop_image, "true"),
    }
    space.make({**look, "spec": work})

    refused = space.condition("look-at-night", "Ready", "False")
    platform.change(WINDOWS, "night", {"spec": {"sharedWith": window["spec"]["sharedWith"]}})
    space.condition("look-at-night", "Ready", "True")
    ran = space.ended_run("look-at-night", seconds=40)

    opening = platform.status(WINDOWS, "night")["occurrence"]
    assert refused["reason"] == "WindowNotShared"
    assert f"add {space.name} to its spec.sharedWith" in refused["message"]
    assert ran["lastRun"]["outcome"] == "ok"
    assert read_instant(ran["lastRun"]["startTime"]) >= read_instant(opening["openedAt"])
    assert "closedAt" not in opening
    late = read_instant(ran["lastRun"]["startTime"]) - read_instant(opening["startTime"])
    timings.note(TOPIC, "start of a shared window → Job of a task of another namespace (whole seconds)", late.seconds)


def test_a_task_that_names_a_freeze_is_skipped_while_it_lasts_and_says_why(
    platform: Space, space: Space, access: ClusterAccess
) -> None:
    freeze = sample("freeze", WINDOWS, "year-end", platform=platform, shop=space)
    platform.make(once(freeze, start=-5, duration="10m", name="long"))
    spec = {"windows": [f"{platform.name}/long"], "runAt": soon(3), "job": script(access.shop_image, "true")}
    look = sample("window-shared", TASKS, "look-at-night", platform=platform, shop=space)
    space.make({**look, "metadata": {"name": "rests"}, "spec": spec})

    (record,) = until(
        lambda: space.status(TASKS, "rests").get("history", []), bool, what="it is accounted for", seconds=PATIENCE
    )

    platform.remove(WINDOWS, "long")
    assert (record["ending"], record["reason"]) == ("Skipped", "Frozen")
    assert record["message"].startswith(f"frozen by {platform.name}/long until ")


def test_a_window_cannot_become_a_freeze_nor_a_freeze_a_window(kubectl: Kubectl, platform: Space, space: Space) -> None:
    storeroom = sample("freeze", WINDOWS, "storeroom", platform=platform, shop=space)
    space.make({**storeroom, "metadata": {"name": "settled"}})

    done = kubectl.attempt(
        *("patch", "mw", "settled", f"--namespace={space.name}", "--type=merge"), '--patch={"spec":{"kind":"Freeze"}}'
    )

    assert done.returncode != 0
    assert "kind cannot be changed: delete the window and create another one" in done.stderr


def test_the_command_shows_what_the_status_shows(platform: Space, space: Space, access: ClusterAccess) -> None:
    storeroom = sample("freeze", WINDOWS, "storeroom", platform=platform, shop=space)
    space.make({**storeroom, "metadata": {"name": "shown"}})
    status = until(
        lambda: space.status(WINDOWS, "shown"), lambda seen: "upcoming" in seen, what="a status", seconds=PATIENCE
    )

    asked = ("upcoming", "shown", f"--namespace={space.name}", "--to=10d", "--output=json")
    done = subprocess.run(
        [sys.executable, "-m", "upkeep", *asked],
        env={**os.environ, "KUBECONFIG": str(access.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["startTime"], row["state"]) for row in rows][:5] == [
        (each["startTime"], each["state"]) for each in status["upcoming"]
    ]
