"""What is shown of the time ahead is what then happens."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import Object, at, minutes, resource
from unit.domain.windowworld import WindowWorld
from upkeep.api.window import WindowSpec
from upkeep.domain.decision import Decision
from upkeep.domain.freeze import freezes_of
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.preview import preview, upcoming

NOW: Final = at("00:30")
HOURS: Final = 6
SECOND: Final = timedelta(seconds=1)
EXCLUSION: Final = {"from": "2026-03-02T03:00:00Z", "to": "2026-03-02T04:30:00Z", "reason": "audit"}


def window(**spec: Any) -> WindowSpec:  # noqa: ANN401 - fields as users write them
    return WindowSpec.model_validate({"schedule": "0 * * * *", "duration": "10m", **spec})


def freeze(start: str, duration: str, **spec: Any) -> Object:  # noqa: ANN401 - fields as users write them
    declared = {"kind": "Freeze", "startAt": write_instant(at(start)), "duration": duration, "reason": "sale", **spec}
    return resource("MaintenanceWindow", declared, created=at("00:00"), name="sale")


def states(spec: WindowSpec, *freezes: Object) -> list[tuple[str, str]]:
    """Start and state of what stands in a status."""
    ahead = upcoming(spec, NOW, freezes=freezes_of(freezes))
    return [(f"{each.opening.start:%H:%M}", each.state) for each in ahead]


def test_the_next_five_openings_are_shown() -> None:
    assert states(window()) == [(f"0{hour}:00", "Planned") for hour in range(1, 6)]


def test_what_does_not_open_in_between_is_shown_with_its_reason() -> None:
    ahead = upcoming(window(exclusions=[EXCLUSION]), NOW, freezes=freezes_of([freeze("05:30", "1h")]))

    shown = [(each.opening.start.hour, each.state, each.reason) for each in ahead]
    assert shown == [
        (1, "Planned", ""),
        (2, "Planned", ""),
        (3, "Excluded", "2026-03-02T03:00:00+00:00 to 2026-03-02T04:30:00+00:00 (audit)"),
        (4, "Excluded", "2026-03-02T03:00:00+00:00 to 2026-03-02T04:30:00+00:00 (audit)"),
        (5, "Planned", ""),
        (6, "Frozen", "frozen by shop/sale until 2026-03-02T06:30:00Z: sale"),
        (7, "Planned", ""),
        (8, "Planned", ""),
    ]


def test_a_long_freeze_shows_five_that_it_forbids_and_the_first_after_it() -> None:
    months = freeze("00:45", "1440h")

    shown = upcoming(window(schedule="*/5 * * * *"), NOW, freezes=freezes_of([months]))

    assert [each.state for each in shown] == ["Planned"] * 2 + ["Frozen"] * 5 + ["Planned"] * 3
    assert shown[7].opening.start == at("00:45") + timedelta(hours=1440)


def test_a_suspended_window_has_nothing_ahead() -> None:
    assert states(window(suspend=True)) == []
    assert list(preview(window(suspend=True), NOW, NOW + minutes(600))) == []


def test_a_window_that_opens_once_is_shown_until_it_has_opened() -> None:
    once = {"schedule": None, "startAt": "2026-03-02T01:00:00Z"}
    spec = WindowSpec.model_validate({name: value for name, value in {"duration": "1h", **once}.items() if value})

    assert [len(upcoming(spec, now)) for now in (NOW, at("01:00"))] == [1, 0]


def test_an_opening_at_the_end_of_time_is_shown() -> None:
    spec = WindowSpec.model_validate({"startAt": "9999-12-31T23:59:00Z", "duration": "2h"})

    (only,) = upcoming(spec, NOW)

    assert only.opening.start == datetime(9999, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(("since", "until", "hours"), [("01:00", "03:00", [1, 2]), ("01:01", "03:01", [2, 3])])
def test_a_range_has_its_first_moment_and_not_its_last(since: str, until: str, hours: list[int]) -> None:
    assert [each.opening.start.hour for each in preview(window(), at(since), at(until))] == hours


def test_the_status_changes_only_when_an_occurrence_passes() -> None:
    world = WindowWorld(now=NOW, spec={"schedule": "0 * * * *", "duration": "10m", "exclusions": [EXCLUSION]})
    seen = []
    for _ in range(60 * 4):
        world.wait(minutes(1))
        seen.append((world.now, tuple(each["startTime"] for each in world.status["upcoming"])))

    changes = [now for (now, after), (_, before) in zip(seen[1:], seen, strict=False) if after != before]
    assert [f"{change:%H:%M}" for change in changes] == ["01:00", "02:00", "03:00", "04:00"]


def test_the_next_time_of_a_window_is_the_next_at_which_it_opens() -> None:
    world = WindowWorld(now=NOW, spec={"schedule": "0 * * * *", "duration": "10m"}, freezes=[freeze("00:40", "2h")])

    world.act()

    assert world.status["nextScheduleTime"] == "2026-03-02T03:00:00Z"
    assert [each["state"] for each in world.status["upcoming"]] == ["Frozen"] * 2 + ["Planned"] * 5


@st.composite
def freezes(draw: st.DrawFn) -> list[Object]:
    found = []
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.sampled_from(["00:00", "01:00", "01:30", "02:59", "03:00", "05:01"]))
        duration = draw(st.sampled_from(["1m", "30m", "1h", "2h1s", "5h"]))
        extra = draw(st.sampled_from([{}, {"suspend": True}, {"allowEmergency": True}, {"duration": "never"}]))
        made = freeze(start, duration)
        made["spec"] |= extra
        if draw(st.booleans()):
            made["spec"] |= {"schedule": draw(st.sampled_from(["0 */2 * * *", "30 1-5 * * *"]))}
            del made["spec"]["startAt"]
        found.append(made)
    return found


specs = st.fixed_dictionaries(
    {
        "schedule": st.sampled_from(["0 * * * *", "*/30 * * * *", "15 1-6 * * *"]),
        "duration": st.sampled_from(["5m", "15m"]),
    },
    optional={"exclusions": st.just([EXCLUSION]), "suspend": st.sampled_from([True])},
)


@settings(max_examples=25, deadline=None)
@given(spec=specs, around=freezes())
def test_the_preview_is_what_then_happens(spec: dict[str, Any], around: list[Object]) -> None:
    until = NOW + timedelta(hours=HOURS)
    # What is due at the moment of its creation does not open.
    foreseen = preview(WindowSpec.model_validate(spec), NOW + SECOND, until, freezes=freezes_of(around))
    expected = {(write_instant(each.opening.start), str(each.state)) for each in foreseen}
    happened: set[tuple[str, str]] = set()

    def note(decision: Decision) -> None:
        occurrence = getattr(decision.status, "occurrence", None)
        if occurrence and occurrence.opened_at:
            assert occurrence.opened_at == occurrence.start_time
            happened.add((occurrence.start_time, "Planned"))
        skipped = [each for each in decision.status.history if each.ending == "Skipped"]
        happened.update((each.scheduled_time or "", each.reason) for each in skipped)

    world = WindowWorld(now=NOW, spec=spec, freezes=around, watched=note)
    world.wait(until - SECOND - NOW)

    assert happened == expected
    assert all(read_instant(start) >= NOW for start, _ in happened)
