"""Findings as a few bytes each."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.domain.findings import finding
from upkeep.actions.contract import Grade
from upkeep.domain.sighting import MOST, Sighting, decode, encode

PUBLISHED = datetime(2026, 2, 27, 14, 30, tzinfo=UTC)


@given(grade=st.sampled_from([None, *Grade]), since=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2399, 1, 1), timezones=st.just(UTC)) | st.none())  # fmt: skip # noqa: DTZ001, E501
def test_what_is_written_is_what_is_read_to_the_minute(grade: Grade | None, since: datetime | None) -> None:
    seen = finding("CVE-1", grade=grade, since=since)

    (read,) = decode(encode([seen]))

    minute = since.replace(second=0, microsecond=0) if since and grade else None
    assert read == Sighting(fingerprint=seen.fingerprint, grade=grade, since=minute)
    assert len(encode([seen])) <= 16


def test_a_finding_counts_once_and_only_the_first_are_kept() -> None:
    found = [finding(f"orders_{number}") for number in range(MOST + 10)]

    read = decode(encode([*found[:3], *found]))

    assert [each.fingerprint for each in read] == [each.fingerprint for each in found[:MOST]]


def test_the_time_zone_of_a_publication_makes_no_difference() -> None:
    elsewhere = PUBLISHED.astimezone(timezone(timedelta(hours=-8)))

    assert encode([finding("a", grade=Grade.HIGH, since=elsewhere)]) == encode(
        [finding("a", grade=Grade.HIGH, since=PUBLISHED)]
    )


@pytest.mark.parametrize(
    "since",
    [datetime(2026, 1, 1), datetime(1969, 12, 31, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],  # noqa: DTZ001
)
def test_a_time_that_makes_no_sense_counts_as_unknown(since: datetime) -> None:
    (read,) = decode(encode([finding("a", grade=Grade.HIGH, since=since)]))

    assert (read.grade, read.since) == (Grade.HIGH, None)


@given(text=st.text())
def test_whatever_stands_there_is_read_without_harm(text: str) -> None:
    for seen in decode(text):
        assert len(seen.fingerprint) == 8
        assert seen.since is None or seen.since.year < 2490


@pytest.mark.parametrize("word", ["a1b2c3d", "a1b2c3dz", "a1b2c3d4x", "a1b2c3d41b", "a1b2c3d4cffffffff", "a1b2c3d4c-1"])
def test_a_word_that_is_none_of_ours_is_left_out(word: str) -> None:
    assert [seen.fingerprint for seen in decode(f"{word} 00000000")] == ["00000000"]
