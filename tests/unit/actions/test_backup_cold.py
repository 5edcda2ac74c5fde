"""What stands beside a copy is read again as it was written, and whatever else stands there harms nobody."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.backup.cold import ColdClass, Marker

instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see beside


@given(
    begun=st.none() | instants,
    time=st.none() | instants,
    snapshots=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=5),
    gone=st.dictionaries(st.text(min_size=1, max_size=80), instants, max_size=9),
)
def test_a_marker_is_read_as_it_was_written(
    begun: datetime | None, time: datetime | None, snapshots: list[str], gone: dict[str, datetime]
) -> None:
    marker = Marker(begun=begun, time=time, snapshots=snapshots, gone=gone)
    assert Marker.decode(marker.encode()) == marker


@given(left=st.binary(max_size=200))
def test_what_is_no_marker_is_as_if_there_were_none(left: bytes) -> None:
    assert Marker.decode(left).gone == {}


def test_how_long_it_takes_until_data_can_be_read() -> None:
    assert {each: each.thaw_time for each in ColdClass} == {"GLACIER": "3h to 12h", "DEEP_ARCHIVE": "12h to 48h"}
