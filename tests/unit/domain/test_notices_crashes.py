"""An operator that dies at any point, channels that come and go, people who edit: no message twice, and none lost."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at, minutes
from unit.domain.noticeworld import REFUSED, NoticeWorld
from upkeep.domain.instants import read_instant
from upkeep.domain.notices import Delivery, NoticeKey, Receipt

START: Final = at("02:00")
SPEC: Final[dict[str, Any]] = {
    "startAt": "2026-03-02T02:00:00Z",
    "duration": "10m",
    "announcements": ["3h", "1h", "10m"],
    "notify": {"channels": ["chat", "mail"]},
}
DEEDS: Final = ("nothing", "nothing", "absence", "suspend", "resume", "move", "move back", "leads", "refuse", "heal")
PAUSES: Final = [minutes(1), minutes(7), minutes(30), minutes(61), timedelta(seconds=1)]
UNSURE: Final = Delivery(Receipt.UNKNOWN, "no answer came in time")


@dataclass
class Fragile(NoticeWorld):
    """A world whose operator dies now and then, and whose channels answer by the dice."""

    dice: Random = field(default_factory=Random)
    risk: float = 0.0
    answered: dict[NoticeKey, list[Receipt]] = field(default_factory=lambda: defaultdict(list))

    def survives(self, where: str) -> bool:
        if self.dice.random() >= self.risk:
            if where == "sent":
                key = self.offered[-1][1]
                self.answered[key].append(self.answers.get(key.channel, Delivery(Receipt.SENT)).receipt)
            return True
        if where == "sent":
            self.answered[self.offered[-1][1]].append(Receipt.UNKNOWN)
        self.sleep(timedelta(seconds=1))
        return False

    def meddle(self, deed: str) -> None:
        match deed:
            case "absence":
                self.sleep(self.dice.choice(PAUSES))
            case "suspend" | "resume":
                self.edit(suspend=deed == "suspend")
            case "move" | "move back":
                self.edit(startAt="2026-03-02T02:20:00Z" if deed == "move" else SPEC["startAt"])
            case "leads":
                self.edit(announcements=self.dice.choice([["2h", "10m"], ["1h"], SPEC["announcements"]]))
            case "refuse":
                self.answers[self.dice.choice(["chat", "mail"])] = self.dice.choice([REFUSED, REFUSED, UNSURE])
            case "heal":
                self.answers.clear()


def lived(seed: int, deeds: list[str], risk: float) -> Fragile:
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    place = Fragile(now=START - timedelta(hours=4), spec=SPEC, dice=dice)
    place.risk = risk
    for deed in deeds:
        place.wait(dice.choice(PAUSES))
        place.meddle(deed)
    place.wait(max(timedelta(0), START + minutes(45) - place.now))
    place.risk = 0.0
    place.answers.clear()
    place.wait(minutes(10))
    return place


def assert_nothing_was_said_twice(place: Fragile) -> None:
    for key, receipts in place.answered.items():
        assert all(receipt is Receipt.REFUSED for receipt in receipts[:-1]), (key, receipts)
    keys = [each.key for each in place.sent]
    assert len(set(keys)) == len(keys)


def assert_nothing_untrue_was_said(place: Fragile) -> None:
    for each in place.sent:
        if each.key.kind == "Announcement":
            assert each.time < read_instant(each.key.occurrence)


def assert_nothing_is_left_open(place: Fragile) -> None:
    assert {each["state"] for each in place.notices} <= {"Sent", "Failed", "Unknown", "Skipped"}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    deeds=st.lists(st.sampled_from(DEEDS), max_size=8),
    risk=st.sampled_from([0.0, 0.1, 0.4]),
)
def test_whatever_happens_no_message_is_sent_twice_and_each_is_accounted_for(
    seed: int, deeds: list[str], risk: float
) -> None:
    place = lived(seed, deeds, risk)

    assert_nothing_was_said_twice(place)
    assert_nothing_untrue_was_said(place)
    assert_nothing_is_left_open(place)
    for each in place.status.get("history", ()):
        said = {notice["kind"] for notice in place.notices if notice["occurrence"] == each["scheduledTime"]}
        assert each["ending"] != "Ran" or said & {"Completed", "Failed"}
        told = any(sent.key.occurrence == each["scheduledTime"] for sent in place.sent if not sent.key.round)
        assert each["ending"] == "Ran" or not told or said & {"NotOpened", "Withdrawn"}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), risk=st.sampled_from([0.1, 0.5]))
def test_however_often_the_operator_dies_every_message_has_an_outcome(seed: int, risk: float) -> None:
    place = lived(seed, [], risk)

    for channel in ("chat", "mail"):
        told = {(each["kind"], each.get("lead")) for each in place.notices if each.get("channel", channel) == channel}
        assert told == {
            ("Announcement", "3h"),
            ("Announcement", "1h"),
            ("Announcement", "10m"),
            ("Opened", None),
            ("Completed", None),
        }
    assert_nothing_was_said_twice(place)
