"""What a page says about the end, in words and in seconds, and that it has something to say whatever it is given."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.api.window import Page
from upkeep.web.notice import DEFAULT_MESSAGE, DEFAULT_TITLE, Notice, read_notice

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)


def ending_in(**duration: float) -> Notice:
    return Notice(until=NOW + timedelta(**duration))


def test_the_content_is_what_the_file_says() -> None:
    text = json.dumps({"title": "Moving", "message": "Soon.", "until": "2026-11-29T05:00:00+01:00", "window": "w"})

    assert read_notice(text) == Notice(title="Moving", message="Soon.", until=datetime(2026, 11, 29, 4, tzinfo=UTC))


def test_the_defaults_are_those_of_the_resource() -> None:
    assert (Page().title, Page().message) == (DEFAULT_TITLE, DEFAULT_MESSAGE)


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[1]", '"text"', "[" * 100_000, '{"title": 1, "message": null, "until": {}}', '{"title": " "}'],
)
def test_content_that_makes_no_sense_is_replaced_by_the_defaults(text: str) -> None:
    assert read_notice(text) == Notice()


@pytest.mark.parametrize("until", ["", "soon", "2026-11-29T04:00:00", "0001-01-01T00:00:00+14:00"])
def test_an_end_that_is_no_instant_is_not_known(until: str) -> None:
    assert read_notice(json.dumps({"title": "Moving", "until": until})) == Notice(title="Moving")


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_content_can_be_encoded(text: str) -> None:
    notice = read_notice(text)

    assert (notice.title + notice.message).encode()


def test_half_a_surrogate_pair_does_not_make_the_page_unsendable() -> None:
    assert read_notice('{"title": "\\ud83d"}').title == "?"


def test_the_message_has_paragraphs() -> None:
    notice = Notice(message="First line\nsecond line.\n\n  \nNext.\n")

    assert notice.edition().paragraphs == ["First line\nsecond line.", "Next."]


@pytest.mark.parametrize(
    ("notice", "seconds"),
    [
        (ending_in(hours=2), 7200),
        (ending_in(seconds=90.2), 91),
        (ending_in(seconds=3), 5),
        (ending_in(seconds=0), 5),
        (ending_in(hours=-5), 5),
        (Notice(), 60),
    ],
)
def test_clients_are_asked_to_wait_until_the_end_and_never_to_hammer(notice: Notice, seconds: int) -> None:
    assert notice.retry_after(NOW) == seconds


@pytest.mark.parametrize(
    ("notice", "words"),
    [
        (ending_in(seconds=1), "Back in about a minute"),
        (ending_in(seconds=61), "Back in about 2 minutes"),
        (ending_in(minutes=25), "Back in about 25 minutes"),
        (ending_in(minutes=90), "Back in about 90 minutes"),
        (ending_in(minutes=91), "Back in about 2 hours"),
        (ending_in(minutes=130), "Back in about 2½ hours"),
        (ending_in(hours=36), "Back in about 36 hours"),
        (ending_in(hours=37), "Back in about 2 days"),
        (ending_in(days=10), "Back in about 10 days"),
        (ending_in(seconds=0), "Back any moment now"),
        (ending_in(minutes=-10), "Back any moment now"),
        (Notice(), "Back soon"),
    ],
)
def test_people_are_told_in_words_and_never_too_little(notice: Notice, words: str) -> None:
    assert notice.edition().prospect(NOW) == words


def test_the_end_is_given_in_utc_for_people_and_machines() -> None:
    notice = Notice(until=datetime(2026, 11, 9, 4, 5, tzinfo=UTC))

    assert notice.edition().end == "Monday, 9 November 2026, 04:05 UTC"
    assert notice.end_instant == "2026-11-09T04:05:00Z"
    assert (Notice().edition().end, Notice().end_instant) == ("", "")
