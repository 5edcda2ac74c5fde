"""When the end of maintenance moves, who knows another one hears of it: of each change once, of none that is undone."""

from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at, minutes
from unit.domain.noticeworld import REFUSED, NoticeWorld
from unit.domain.test_notices_crashes import Fragile, assert_nothing_is_left_open, assert_nothing_was_said_twice

START: Final = at("02:00")
SPEC: Final[dict[str, Any]] = {
    "startAt": "2026-03-02T02:00:00Z",
    "duration": "30m",
    "announcements": ["3h", "1h"],
    "notify": {"channels": ["chat"]},
}


def world(**spec: object) -> NoticeWorld:
    """Given a window that was announced three hours ahead, and it is two hours before its start."""
    place = NoticeWorld(now=START - timedelta(hours=4), spec={**SPEC, **spec})
    place.wait(timedelta(hours=2))
    return place


def changes(place: NoticeWorld, channel: str = "chat") -> list[str]:
    return [subject for kind, subject in place.arrived(channel) if kind == "Changed"]


def told_ends(place: NoticeWorld, channel: str = "chat") -> list[str]:
    """The ends that people read, in their order."""
    bodies = [each.message.body for each in place.sent if each.key.channel == channel]
    lines = [line for body in bodies for line in body.splitlines() if line.startswith("End:")]
    return [line.split()[3] for line in lines]


def test_an_announced_opening_that_lasts_longer_is_corrected_once_and_announced_as_it_is_then() -> None:
    place = world()
    place.edit(duration="45m")

    place.wait(timedelta(hours=3))

    assert [kind for kind, _ in place.arrived()] == ["Announcement", "Changed", "Announcement", "Opened", "Completed"]
    assert changes(place) == ["ends later than announced"]
    assert told_ends(place) == ["02:30", "02:45", "02:45", "02:45"]
    body = next(each.message.body for each in place.sent if each.key.kind == "Changed")
    assert "ends later than announced: it was to end Mon 2026-03-02 02:30 UTC." in body


def test_one_that_lasts_shorter_is_said_to_end_earlier() -> None:
    place = world()
    place.edit(duration="20m")

    place.wait(minutes(1))

    assert changes(place) == ["ends earlier than announced"]


@pytest.mark.parametrize("how", ["edit", "extend"])
def test_the_end_of_an_open_window_is_corrected_too(how: str) -> None:
    place = world()
    place.wait(timedelta(hours=2) + minutes(10))
    if how == "edit":
        place.edit(duration="1h")
    else:
        place.window["metadata"]["annotations"] = {"upkeep.dev/extend": "30m"}

    place.wait(minutes(15))

    assert changes(place) == ["ends later than announced"]
    assert told_ends(place)[-1] == "03:00"


def test_each_of_several_changes_is_told() -> None:
    place = world()
    for duration in ("45m", "30m", "45m"):
        place.edit(duration=duration)
        place.wait(minutes(1))

    assert changes(place) == ["ends later than announced", "ends earlier than announced", "ends later than announced"]


def test_a_change_that_is_undone_before_anybody_heard_of_it_is_not_told() -> None:
    place = world()
    place.answers["chat"] = REFUSED
    place.edit(duration="45m")
    place.wait(minutes(2))
    place.edit(duration="30m")
    place.wait(minutes(2))
    place.answers.clear()

    place.wait(minutes(10))

    assert changes(place) == []
    assert ("Changed", "", "Skipped") in place.states()


def test_what_was_changed_again_before_anybody_heard_of_it_is_told_as_it_is_now() -> None:
    place = world()
    place.answers["chat"] = REFUSED
    for duration in ("45m", "20m"):
        place.edit(duration=duration)
        place.wait(minutes(2))
    place.answers.clear()

    place.wait(minutes(10))

    assert changes(place) == ["ends earlier than announced"]


def test_who_was_told_nothing_yet_hears_of_no_change() -> None:
    place = NoticeWorld(now=START - timedelta(hours=4), spec=SPEC)
    place.wait(minutes(10))
    place.edit(duration="45m")

    place.wait(timedelta(hours=2))

    assert [kind for kind, _ in place.arrived()] == ["Announcement"]
    assert told_ends(place) == ["02:45"]


def test_every_channel_hears_of_it_also_one_that_is_no_longer_named() -> None:
    place = world(notify={"channels": ["chat", "mail"]})
    place.edit(duration="45m", notify={"channels": ["chat"]})

    place.wait(minutes(10))

    assert changes(place, "chat") == changes(place, "mail") == ["ends later than announced"]


def test_what_is_withdrawn_and_shortened_at_once_is_only_withdrawn() -> None:
    place = world()
    place.edit(duration="20m", suspend=True)

    place.wait(minutes(10))

    assert [kind for kind, _ in place.arrived()] == ["Announcement", "Withdrawn"]


def test_a_channel_that_nobody_can_reach_is_given_up_once() -> None:
    place = world()
    place.answers["chat"] = REFUSED
    place.edit(duration="45m")

    place.wait(timedelta(hours=4))

    assert [state for kind, _, state in place.states() if kind == "Changed"] in (["Failed"], ["Failed", "Failed"])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lengths=st.lists(st.sampled_from(["30m", "40m", "50m"]), max_size=6),
    risk=st.sampled_from([0.0, 0.2, 0.4]),
)
def test_however_often_the_operator_dies_each_change_is_told_once_and_the_last_end_is_known(
    seed: int, lengths: list[str], risk: float
) -> None:
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    place = Fragile(now=START - timedelta(hours=4), spec=SPEC, dice=dice)
    place.wait(timedelta(hours=2))
    place.risk = risk
    for length in lengths:
        place.edit(duration=length)
        place.wait(minutes(dice.choice([1, 7])))
    place.risk = 0.0
    place.wait(minutes(5))

    assert_nothing_was_said_twice(place)
    assert_nothing_is_left_open(place)
    different = sum(one != other for one, other in zip(["30m", *lengths], lengths, strict=False))
    assert len(changes(place)) <= different
    true = f"2026-03-02T02:{(lengths or ['30m'])[-1][:2]}:00Z"
    known = [each["end"] for each in place.notices if "end" in each and each["state"] in {"Sent", "Unknown"}]
    assert not known or known[-1] == true
    if not risk:
        assert len(changes(place)) == different
        assert told_ends(place)[-1] in true
