"""The sample with announcements, as people in the cluster get to hear of it by mail and by a web hook."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cluster.installation import CHANNELS, NAMESPACE, Installation
from cluster.kubectl import Kubectl, Object, read
from cluster.manifests import soon, window
from cluster.people import TOKEN, People
from cluster.server import SECRETS, Server
from cluster.space import Space
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import WINDOWS
from upkeep.domain.instants import read_instant

SAMPLE: Final = Path(__file__).parents[2] / "manifests" / "samples" / "window-announcements.yaml"
BOTH: Final = ("ops-slack", "team-mail")
MOUNTED: Final = 150.0
"""Seconds after which the kubelet has surely shown a new Secret to a Pod that runs."""


@pytest.fixture(scope="module")
def people(space: Space, server: Server, access: ClusterAccess) -> Iterator[People]:
    """Given people whose channels are added while Upkeep runs."""
    made = People(space)
    made.come(access.shop_image)
    server.delete(SECRETS, NAMESPACE, CHANNELS)
    server.create(made.channels())
    yield made
    server.delete(SECRETS, NAMESPACE, CHANNELS)


@pytest.fixture(scope="module")
def announced(people: People) -> Object:
    """A window far ahead, announced as soon as the channels are known."""
    spec = _sample() | {"startAt": soon(86_400), "announcements": ["336h", "1h"]}
    people.space.make(window("far-ahead", **spec))
    until(
        lambda: [people.subjects(channel, "far-ahead") for channel in BOTH],
        all,
        what="a window is announced on channels that were added meanwhile",
        seconds=MOUNTED,
        every=0.5,
    )
    return people.space.get(WINDOWS, "far-ahead")


def _sample() -> Object:
    """The spec of the sample without what it would need a shop for; it opens once instead of each quarter."""
    (sample,) = read(SAMPLE)
    left_out = ("schedule", "maintenanceMode", "plan")
    return {key: value for key, value in sample["spec"].items() if key not in left_out}


def test_a_window_that_is_created_after_its_first_announcement_says_at_once_how_long_it_is(
    people: People, announced: Object
) -> None:
    assert announced["spec"]["announcements"] == ["336h", "1h"]

    for channel in BOTH:
        subject = people.subjects(channel, "far-ahead")[0]
        assert subject in {"opens in 24 hours", "opens in 23 hours 59 minutes", "opens in 23 hours 58 minutes"}
        message = people.heard(channel, "far-ahead")[0]
        assert "Quarterly care of the database" in message["body"]
        assert "OPS-1742" in message["body"]
        assert " CET (" in message["body"] or " CEST (" in message["body"]


def test_people_hear_of_a_window_before_it_opens_when_it_opens_and_how_it_ended_once_each(
    people: People,
    announced: Object,  # noqa: ARG001 - the channels are known now
) -> None:
    spec = _sample() | {"startAt": soon(8), "duration": "4s", "announcements": ["5s"]}
    people.space.make(window("tonight", **spec))

    expected = ["opens in 5 seconds", "is open", "is over: completed"]
    until(
        lambda: [people.subjects(channel, "tonight") for channel in BOTH],
        lambda heard: heard == [expected, expected],
        what="people have heard it all",
        seconds=60,
    )
    until(
        lambda: [each["state"] for each in people.space.status(WINDOWS, "tonight")["notices"]],
        lambda states: states == ["Sent"] * 6,
        what="the status says so",
        seconds=10,
    )
    people.space.condition("tonight", "Notified", "True", kind=WINDOWS)


def test_people_who_were_told_hear_that_it_does_not_take_place(people: People, announced: Object) -> None:
    people.space.change(WINDOWS, announced["metadata"]["name"], {"spec": {"suspend": True}})

    heard = until(
        lambda: [message for channel in BOTH for message in people.heard(channel, "far-ahead")[1:]],
        lambda heard: len(heard) == len(BOTH),
        what="people hear of it",
        seconds=30,
    )

    assert {message["channel"] for message in heard} == set(BOTH)
    for message in heard:
        assert "does not take place as announced" in message["subject"]
        assert "the window was suspended" in message["body"]


def test_people_who_were_told_hear_once_that_it_ends_at_another_time(people: People, announced: Object) -> None:  # noqa: ARG001
    spec = _sample() | {"startAt": soon(7200), "announcements": ["3h"], "duration": "1h"}
    people.space.make(window("longer", **spec))
    until(lambda: [people.subjects(channel, "longer") for channel in BOTH], all, what="it is announced", seconds=30)

    people.space.change(WINDOWS, "longer", {"spec": {"duration": "90m"}})

    until(
        lambda: [people.subjects(channel, "longer")[1:] for channel in BOTH],
        lambda heard: heard == [["ends later than announced"]] * 2,
        what="people hear of it",
        seconds=30,
    )
    assert "1h30m after the start" in people.heard(BOTH[0], "longer")[1]["body"]
    ends = {each["kind"]: each["end"] for each in people.space.status(WINDOWS, "longer")["notices"]}
    assert (read_instant(ends["Changed"]) - read_instant(ends["Announcement"])).total_seconds() == 1800


def test_people_who_were_told_hear_that_a_window_is_deleted(people: People, announced: Object) -> None:  # noqa: ARG001
    spec = _sample() | {"startAt": soon(7200), "announcements": ["3h"]}
    people.space.make(window("short-lived", **spec))
    people.space.condition("short-lived", "Notified", "True", kind=WINDOWS)
    until(
        lambda: [people.subjects(channel, "short-lived") for channel in BOTH],
        all,
        what="it is announced",
        seconds=30,
    )

    people.space.remove(WINDOWS, "short-lived")

    until(
        lambda: [people.subjects(channel, "short-lived")[1:] for channel in BOTH],
        lambda heard: heard == [["does not take place as announced"]] * 2,
        what="people hear of it",
        seconds=30,
    )


def test_a_channel_of_others_is_a_condition_and_nothing_else(people: People, announced: Object) -> None:  # noqa: ARG001
    spec = _sample() | {"startAt": soon(3), "duration": "2s", "notify": {"channels": ["somebody-elses"]}}
    people.space.make(window("lonely", **spec))

    found = people.space.condition("lonely", "Notified", "False", kind=WINDOWS)

    assert found["reason"] == "ChannelNotConfigured"
    assert f"not configured for namespace {people.space.name}: somebody-elses" in found["message"]
    until(
        lambda: people.space.status(WINDOWS, "lonely").get("phase"),
        lambda phase: phase == "Completed",
        what="it opens and completes all the same",
        seconds=30,
    )


def test_kubectl_describes_what_became_of_each_message_and_shows_no_address(
    people: People, announced: Object, upkeep: Installation, kubectl: Kubectl
) -> None:
    name = announced["metadata"]["name"]
    described = kubectl.run("describe", "mw", name, f"--namespace={people.space.name}")

    assert "ops-slack" in described
    assert "Sent" in described
    for text in (described, str(people.space.events_of(name)), upkeep.logs()):
        assert TOKEN not in text
        assert "json://" not in text
