"""Who is told what about a window, and when: each message once, and none that is not true any more."""

from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import pytest

from unit.domain.cluster import at, minutes
from unit.domain.noticeworld import REFUSED, NoticeWorld
from upkeep.api.window import Request, WatchedAlert, WatchStatus, WindowOccurrence, WindowStatus
from upkeep.domain.notices import Delivery, Receipt
from upkeep.domain.notices.farewell import farewell
from upkeep.domain.notices.news import news

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
START: Final = at("02:00")
"""A Monday: every window here opens at that time, most of them daily."""
SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "10m",
    "announcements": ["1d", "1h"],
    "notify": {"channels": ["chat"]},
}


def world(ahead: timedelta = 30 * HOUR, /, **spec: object) -> NoticeWorld:
    """Given a window that is created so long before its opening."""
    given = {key: value for key, value in {**SPEC, **spec}.items() if value is not None}
    return NoticeWorld(now=START - ahead, spec=given)


def once(**spec: object) -> NoticeWorld:
    return world(30 * HOUR, schedule=None, startAt="2026-03-02T02:00:00Z", **spec)


def test_a_window_is_announced_at_each_lead_then_opens_and_ends_and_each_is_said_once() -> None:
    place = once()

    place.wait(31 * HOUR)

    assert place.arrived() == [
        ("Announcement", "opens in 24 hours"),
        ("Announcement", "opens in 1 hour"),
        ("Opened", "is open"),
        ("Completed", "is over: completed"),
    ]
    assert [each.time for each in place.sent[:3]] == [START - DAY, START - HOUR, START]
    assert place.condition() == ("True", "Delivered")


def test_every_channel_gets_each_message() -> None:
    place = once(notify={"channels": ["chat", "mail"]})

    place.wait(31 * HOUR)

    assert place.arrived("chat") == place.arrived("mail")
    assert len(place.sent) == 8


def test_several_openings_of_a_recurring_window_are_announced_side_by_side() -> None:
    place = world(timedelta(days=6), schedule="0 2 * * MON", announcements=["8d", "1d"])

    place.wait(timedelta(days=5.5))

    announced = [(each.time, each.key.occurrence) for each in place.sent]
    assert announced == [
        (START - timedelta(days=6), "2026-03-02T02:00:00Z"),
        (START - timedelta(days=1), "2026-03-02T02:00:00Z"),
        (START - timedelta(days=1), "2026-03-09T02:00:00Z"),
    ]


def test_nothing_is_written_while_nothing_is_due() -> None:
    place = world(25 * HOUR)
    place.wait(minutes(1))
    before = dict(place.status)

    place.wait(minutes(40))

    assert place.status == before


def test_a_window_that_is_created_late_is_announced_at_once_by_one_message() -> None:
    place = once()
    place.now = START - minutes(40)
    place.window["metadata"]["creationTimestamp"] = "2026-03-02T01:20:00Z"

    place.wait(minutes(1))

    assert place.arrived() == [("Announcement", "opens in 40 minutes")]
    assert place.states("") == [("Announcement", "1d", "Skipped")]


@pytest.mark.parametrize("away", [minutes(90), 24 * HOUR])
def test_after_an_absence_only_the_nearest_announcement_is_made(away: timedelta) -> None:
    place = once()
    place.wait(5 * HOUR)
    place.sleep(away)

    place.wait(minutes(1))

    assert [kind for kind, _ in place.arrived()] == ["Announcement"]


def test_an_opening_that_nobody_was_there_to_announce_or_open_is_told_of_once_it_is_known() -> None:
    place = once()
    place.wait(HOUR)
    place.sleep(40 * HOUR)

    place.wait(HOUR)

    assert place.arrived() == [("NotOpened", "was not opened")]
    assert "nobody was there to open it in its time" in place.sent[0].message.body
    assert place.states("") == [("Announcement", "1d", "Skipped"), ("Announcement", "1h", "Skipped")]


def test_an_announced_opening_that_moves_is_corrected_and_the_new_one_announced() -> None:
    place = world(30 * HOUR, schedule="0 2 * * MON")
    place.wait(7 * HOUR)

    place.edit(schedule="30 0 * * MON")
    place.wait(minutes(1))

    assert place.arrived()[1:] == [
        ("Withdrawn", "does not take place as announced"),
        ("Announcement", "opens in 21 hours 30 minutes"),
    ]
    assert "the next opening is at 2026-03-02T00:30:00Z" in place.sent[1].message.body


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"suspend": True}, "the window was suspended"),
        ({"exclusions": [{"from": "2026-03-02", "reason": "quarter end"}]}, "quarter end"),
    ],
)
def test_an_announced_opening_that_will_not_take_place_is_withdrawn(change: dict[str, Any], why: str) -> None:
    place = once()
    place.wait(7 * HOUR)

    place.edit(**change)
    place.wait(40 * HOUR)

    assert [kind for kind, _ in place.arrived()] == ["Announcement", "Withdrawn"]
    assert why in place.sent[1].message.body


def test_an_announced_opening_that_somebody_cancels_is_withdrawn_and_not_mentioned_again() -> None:
    place = once()
    place.wait(7 * HOUR)

    place.window["metadata"]["annotations"] = {Request.CANCEL.annotation: "not-today"}
    place.wait(40 * HOUR)

    assert [kind for kind, _ in place.arrived()] == ["Announcement", "Withdrawn"]
    assert "as announced: cancelled." in place.sent[1].message.body


def test_the_phase_says_that_people_know_of_the_next_opening() -> None:
    place = once()
    place.wait(5 * HOUR)
    assert place.status["phase"] == "Scheduled"

    place.wait(2 * HOUR)

    assert place.status["phase"] == "Announced"


@pytest.mark.parametrize(
    ("healthy", "expected"),
    [
        ([True, True], []),
        ([True, False, False], ["Unhealthy"]),
        ([False, True, False], ["Unhealthy", "Recovered", "Unhealthy"]),
    ],
)
def test_trouble_after_a_window_is_told_when_it_begins_and_when_it_ends(
    healthy: list[bool], expected: list[str]
) -> None:
    over = WindowOccurrence(start_time="2026-03-02T02:00:00Z", end_time="2026-03-02T02:10:00Z")
    seen = [None, *(
        WatchStatus(until="2026-03-02T03:10:00Z", checks=number, healthy=each, message="5 of 5 requests failed")
        for number, each in enumerate(healthy, 1)
    )]  # fmt: skip
    statuses = [WindowStatus(occurrence=over.model_copy(update={"watch": watch})) for watch in seen]

    told = [item for before, after in pairwise(statuses) for item in news(before, after)]

    assert [item.kind for item in told] == expected
    assert len({(item.kind, item.number) for item in told}) == len(told)


def test_alerts_after_a_window_are_told_once_each_and_that_all_of_them_are_resolved() -> None:
    over = WindowOccurrence(start_time="2026-03-02T02:00:00Z", end_time="2026-03-02T02:10:00Z")
    down, slow = (WatchedAlert(name=name, fingerprint=name, since="2026-03-02T02:20:00Z") for name in ("Down", "Slow"))
    gone = down.model_copy(update={"firing": False})
    seen: list[dict[str, Any]] = [
        {},
        {"quiet": False, "alerts": (down,)},
        {"quiet": None, "alerts": (down,), "alerts_problem": "no answer"},
        {"quiet": False, "alerts": (gone, slow)},
        {"quiet": True, "alerts": (gone, slow.model_copy(update={"firing": False}))},
        {"quiet": False, "alerts": (down, slow.model_copy(update={"firing": False}))},
    ]
    watches = [WatchStatus.model_validate({"until": "2026-03-02T03:10:00Z"}).model_copy(update=each) for each in seen]
    statuses = [WindowStatus(occurrence=over.model_copy(update={"watch": watch})) for watch in watches]

    told = [item for before, after in pairwise(statuses) for item in news(before, after)]

    assert [(item.kind, item.text, item.number) for item in told] == [
        ("Alerts", "an alert fires: Down", 1),
        ("Alerts", "an alert fires: Slow", 2),
        ("Resolved", "", 2),
    ]


def test_who_waits_for_a_window_that_is_deleted_hears_of_it() -> None:
    place = once(notify={"channels": ["chat", "mail"]})
    place.answers["mail"] = REFUSED
    place.wait(7 * HOUR)

    ((channel, message),) = farewell(place.window, place.now)

    assert channel == "chat", "by mail nobody was told of it"
    assert message.body.startswith("Maintenance shop/sunday does not take place as announced: the window was deleted.")


def test_who_knows_of_a_window_that_is_deleted_while_it_is_open_hears_that_it_is_over() -> None:
    place = once()
    place.wait(30 * HOUR + minutes(5))

    ((_, message),) = farewell(place.window, place.now)

    assert message.subject == "Maintenance shop/sunday is over: FAILED"
    assert "the window was deleted while it was open" in message.body


@pytest.mark.parametrize("after", [HOUR, 31 * HOUR])
def test_a_window_that_nobody_waits_for_is_deleted_in_silence(after: timedelta) -> None:
    place = once()
    place.wait(after)

    assert farewell(place.window, place.now) == []


def test_what_takes_place_after_all_is_announced_anew() -> None:
    place = once()
    place.wait(7 * HOUR)
    place.edit(suspend=True)
    place.wait(HOUR)

    place.edit(suspend=False)
    place.wait(HOUR)

    assert place.arrived()[1:] == [
        ("Withdrawn", "does not take place as announced"),
        ("Announcement", "opens after all in 22 hours"),
    ]


def test_what_nobody_was_told_of_is_not_withdrawn() -> None:
    place = once()
    place.wait(HOUR)

    place.edit(suspend=True)
    place.wait(40 * HOUR)

    assert place.sent == []


def test_changing_nothing_that_matters_announces_nothing_anew() -> None:
    place = once()
    place.wait(7 * HOUR)

    place.edit(overrun="Stop")
    place.edit(announcements=["24h", "60m"])
    place.wait(HOUR)

    assert len(place.sent) == 1


def test_a_channel_that_is_added_hears_of_the_next_opening_at_once_and_the_others_not_again() -> None:
    place = once()
    place.wait(7 * HOUR)

    place.edit(notify={"channels": ["chat", "mail"]})
    place.wait(HOUR)

    assert place.arrived("chat") == [("Announcement", "opens in 24 hours")]
    assert place.arrived("mail") == [("Announcement", "opens in 23 hours")]


def test_what_a_channel_refuses_is_tried_again_later_and_later() -> None:
    place = once(announcements=["1d"])
    place.answers["chat"] = REFUSED

    place.wait(6 * HOUR + minutes(10))

    times = [time for time, _ in place.offered]
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    assert pauses == [2, 3, 5, 9, 17, 33, 65, 129, 257]
    assert place.condition() == ("False", "Retrying")
    place.answers.clear()
    place.wait(minutes(10))
    assert place.arrived() == [("Announcement", "opens in 23 hours 46 minutes")]
    assert place.condition() == ("True", "Delivered")


def test_an_announcement_that_nobody_takes_is_given_up_when_the_window_opens() -> None:
    place = once(announcements=["1h"])
    place.answers["chat"] = REFUSED

    place.wait(30 * HOUR)

    assert place.states()[0] == ("Announcement", "1h", "Failed")
    assert place.condition() == ("False", "Retrying"), "the next message is refused as well"
    (said,) = [event.message for event in place.events if event.reason == "NotificationFailed"]
    assert said == "Announcement of 2026-03-02T02:00:00Z on chat was not delivered: its server answered 503"


def test_one_channel_that_refuses_does_not_hold_up_another() -> None:
    place = once(notify={"channels": ["chat", "mail"]}, announcements=["1h"])
    place.answers["chat"] = REFUSED

    place.wait(30 * HOUR + minutes(11))

    assert len(place.arrived("mail")) == 3


def test_a_channel_that_is_not_configured_is_a_condition_and_stops_nothing() -> None:
    place = once(notify={"channels": ["chat", "pager"]})

    place.wait(31 * HOUR)

    assert place.status["phase"] == "Completed"
    assert place.condition() == ("False", "ChannelNotConfigured")
    assert len(place.arrived("chat")) == 4
    assert {state for _, _, state in place.states("pager")} == {"Failed", "Pending"}


def test_a_channel_that_is_configured_later_gets_what_is_still_true() -> None:
    place = once(notify={"channels": ["pager"]})
    place.wait(10 * HOUR)

    place.channels.add("pager")
    place.wait(minutes(1))

    assert place.arrived("pager") == [("Announcement", "opens in 20 hours")]


def test_what_was_being_sent_when_the_operator_ended_is_not_sent_again_and_said_to_be_unknown() -> None:
    place = once(announcements=["1d"])
    place.wait(6 * HOUR - minutes(1))
    place.now = START - DAY
    while not any(each["state"] == "Sending" for each in place.notices):
        place.act()
    place.sleep(minutes(1))

    place.wait(minutes(5))

    assert len(place.offered) == 1
    assert place.states() == [("Announcement", "1d", "Unknown")]
    assert place.condition() == ("False", "DeliveryUnknown")
    assert [event.reason for event in place.events] == ["NotificationUnknown"]


def test_a_claim_whose_answer_was_lost_is_made_again_by_the_process_that_made_it() -> None:
    place = once(announcements=["1d"])
    place.wait(6 * HOUR - minutes(1))
    place.now = START - DAY
    while not any(each["state"] == "Sending" for each in place.notices):
        place.act()
    place.deliveries, place.sent = {}, []

    place.wait(minutes(5))

    assert place.states() == [("Announcement", "1d", "Sent")]
    assert len(place.sent) == 1


def test_where_no_answer_came_in_time_it_is_not_sent_again() -> None:
    place = once(announcements=["1d"])
    place.answers["chat"] = Delivery(Receipt.UNKNOWN, "no answer came in time")

    place.wait(7 * HOUR)

    assert len(place.offered) == 1
    assert place.states() == [("Announcement", "1d", "Unknown")]


def test_when_the_status_is_lost_the_process_that_sent_it_does_not_send_it_again() -> None:
    place = once()
    place.wait(7 * HOUR)
    del place.window["status"]

    place.wait(HOUR)

    assert len(place.sent) == 1


def test_when_the_status_is_lost_with_the_process_nothing_of_the_past_is_sent_again() -> None:
    place = once()
    place.wait(7 * HOUR)
    del place.window["status"]
    place.sleep(HOUR)

    place.wait(minutes(10))
    assert len(place.sent) == 1
    place.wait(21 * HOUR)

    assert place.arrived()[1] == ("Announcement", "opens in 1 hour")


def test_a_window_without_channels_has_no_notices() -> None:
    place = once(announcements=None, notify=None)

    place.wait(31 * HOUR)

    assert place.notices == []
    assert place.condition() == ("", "")


def test_however_often_it_opens_the_status_stays_small() -> None:
    place = world(minutes(1), schedule="* * * * *", duration="10s", announcements=["5m", "20s"])

    place.wait(minutes(14))

    assert len(place.notices) == 40
    assert len({each.key for each in place.sent}) == len(place.sent)
