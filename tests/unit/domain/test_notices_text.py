"""What people read: when, in both clocks, for how long, who is affected and why; never too long for a subject."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from upkeep.api.window import WindowSpec
from upkeep.api.window.notices import Notice, NoticeKind, NoticeState
from upkeep.domain.identity import Identity
from upkeep.domain.notices.text import MAX_SUBJECT, compose, moment, remaining

START = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "startAt": "2026-03-28T23:30:00Z",
    "duration": "2h",
    "timeZone": "Europe/Berlin",
    "maintenanceMode": {"targets": [{"name": "web"}, {"kind": "HTTPRoute", "name": "api"}]},
    "plan": {"tasks": [{"name": "vacuum"}]},
    "change": {"reason": "A new version of the database", "risk": "High", "ticket": "OPS-7"},
}


def notice(kind: NoticeKind = NoticeKind.ANNOUNCEMENT, text: str = "") -> Notice:
    return Notice(
        occurrence="2026-03-28T23:30:00Z",
        kind=kind,
        channel="ops",
        state=NoticeState.PENDING,
        time="2026-03-28T00:00:00Z",
        text=text,
    )


def window(name: str = "sunday", namespace: str = "shop") -> Identity:
    return Identity(kind="MaintenanceWindow", namespace=namespace, name=name, uid="u")


def test_an_announcement_says_all_that_people_need_also_through_a_clock_change() -> None:
    message = compose(notice(), window(), WindowSpec.model_validate(SPEC), START - timedelta(hours=1))

    assert message.subject == "Maintenance shop/sunday opens in 1 hour"
    assert message.body.splitlines() == [
        "Maintenance shop/sunday opens in 1 hour.",
        "",
        "Start:    Sun 2026-03-29 00:30 CET (Sat 2026-03-28 23:30 UTC)",
        "End:      Sun 2026-03-29 03:30 CEST (01:30 UTC) at the latest, 2h after the start",
        "Affected: Ingress web, HTTPRoute api (users see a maintenance page)",
        "Tasks:    vacuum",
        "Reason:   A new version of the database",
        "Risk:     High",
        "Ticket:   OPS-7",
    ]


def test_a_result_is_said_in_its_own_words() -> None:
    failed = notice(NoticeKind.FAILED, "1 of 2 tasks succeeded, verification failed")
    message = compose(failed, window(), WindowSpec.model_validate(SPEC), START)

    assert message.subject == "Maintenance shop/sunday is over: FAILED"
    assert message.body.startswith(
        "Maintenance shop/sunday is over: FAILED: 1 of 2 tasks succeeded, verification failed."
    )


def test_a_spec_that_cannot_be_read_leaves_the_essentials() -> None:
    message = compose(notice(NoticeKind.WITHDRAWN, "the spec was made invalid"), window(), None, START)

    assert message.body.splitlines() == [
        "Maintenance shop/sunday does not take place as announced: the spec was made invalid.",
        "",
        "Start:    Sat 2026-03-28 23:30 UTC",
    ]


@pytest.mark.parametrize("kind", NoticeKind)
def test_no_subject_is_longer_than_a_line(kind: NoticeKind) -> None:
    message = compose(notice(kind), window("n" * 253, "s" * 63), None, START - timedelta(days=14, hours=1))

    assert len(message.subject) <= MAX_SUBJECT
    assert message.subject.startswith("Maintenance sss")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (91, "2 minutes"),
        (3599.9, "1 hour"),
        (3600 * 1.5, "1 hour 30 minutes"),
        (3600 * 24, "24 hours"),
        (3600 * 48, "2 days"),
        (3600 * 24 * 14 - 1, "14 days"),
        (3600 * 73, "3 days 1 hour"),
    ],
)
def test_a_time_that_is_left_is_rounded_as_people_do(seconds: float, words: str) -> None:
    assert remaining(timedelta(seconds=seconds)) == words


def test_a_zone_that_is_utc_says_the_time_once() -> None:
    assert moment(START, "Etc/UTC") == "Sat 2026-03-28 23:30 UTC"
