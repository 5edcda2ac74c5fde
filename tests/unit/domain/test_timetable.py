"""Which occurrence is due: each of them once, never early, nothing of the past after an edit, nothing lost."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at, resource
from upkeep.api.scheduling import ExclusionPeriod
from upkeep.api.status import Ending, ScheduleAnchor
from upkeep.api.task import TaskStatus
from upkeep.domain.account import Reason, missed
from upkeep.domain.instants import write_instant
from upkeep.domain.recollection import recall
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.timetable import Declaration, Mark, Timetable

ZONE: Final = "Etc/UTC"
CRONS: Final = ("*/5 * * * *", "7,8,9 * * * *", "0 * * * *", "30 2 * * *", "*/10 1-3 * * *")
CREATED: Final = at("00:02")
FREEZE: Final = ExclusionPeriod.model_validate({"from": "2026-03-02T02:00:00Z", "to": "2026-03-02T03:00:00Z"})


def declared(
    cron: str | None = None, *, instant: str | None = None, exclusions: Sequence[ExclusionPeriod] = ()
) -> Declaration:
    return Declaration(cron=cron, instant=instant, zone=ZONE, exclusions=exclusions)


def mark(**known: Any) -> Mark:  # noqa: ANN401 - the fields of a mark
    return Mark(**{"anchor": None, "handled": None, "created": None, "horizon": None, **known})


def anchor(declaration: Declaration, since: datetime) -> ScheduleAnchor:
    return ScheduleAnchor(expression=declaration.expression or "", since=write_instant(since))


def timetable(declaration: Declaration, since: datetime, *, jitter: timedelta = timedelta(0)) -> Timetable:
    schedule = declaration.schedule()
    assert schedule
    return Timetable(schedule=schedule, anchor=anchor(declaration, since), since=since, uid="uid", jitter=jitter)


def all_of(declaration: Declaration, since: datetime, until: datetime) -> list[datetime]:
    """Every occurrence in (since, until], one after the other."""
    schedule, found = declaration.schedule(), []
    assert schedule
    time = schedule.next_after(since)
    while time is not None and time <= until:
        found.append(time)
        time = schedule.next_after(time)
    return found


@settings(max_examples=80, deadline=None)
@given(
    cron=st.sampled_from(CRONS),
    looks=st.lists(st.integers(1, 14_000), min_size=1, max_size=12),
    jitter=st.sampled_from([0, 30, 240, 7200]).map(lambda seconds: timedelta(seconds=seconds)),
)
def test_whenever_somebody_looks_each_occurrence_is_due_exactly_once_and_none_before_its_start(
    cron: str, looks: list[int], jitter: timedelta
) -> None:
    """Given looks at whole seconds, of which each accounts for what it sees."""
    declaration, since, now = declared(cron), CREATED, CREATED
    seen: list[datetime] = []
    for pause in looks:
        now += timedelta(seconds=pause)
        table = timetable(declaration, since, jitter=jitter)
        due = table.due(now)
        news = [*due.earlier, *([due.latest] if due.latest else [])]
        assert not due.more
        assert all(time <= table.start_of(time) <= now for time in news)
        assert due.wake_at
        assert due.wake_at > now
        seen += news
        since = due.latest or since

    table = timetable(declaration, CREATED, jitter=jitter)
    assert seen == [time for time in all_of(declaration, CREATED, now) if table.start_of(time) <= now]


@settings(max_examples=60, deadline=None)
@given(cron=st.sampled_from(CRONS), pause=st.integers(0, 100_000), jitter=st.sampled_from([0, 30, 240, 7200]))
def test_whoever_sleeps_until_told_finds_the_next_occurrence(cron: str, pause: int, jitter: int) -> None:
    declaration, now = declared(cron), CREATED + timedelta(seconds=pause)
    table = timetable(declaration, now, jitter=timedelta(seconds=jitter))
    wake_at = table.due(now).wake_at
    assert wake_at

    due = table.due(wake_at)

    assert due.latest == all_of(declaration, now, now + timedelta(days=2))[0]
    assert table.due(wake_at - timedelta(microseconds=1)).latest is None


@pytest.mark.parametrize("jitter", [timedelta(minutes=4), timedelta(hours=2)])
def test_jitter_never_lets_an_occurrence_start_after_the_next_one_is_due(jitter: timedelta) -> None:
    declaration = declared("*/5 * * * *")
    table = timetable(declaration, CREATED, jitter=jitter)
    times = all_of(declaration, CREATED, CREATED + timedelta(hours=8))
    starts = [table.start_of(time) for time in times]

    assert starts == sorted(starts)
    assert all(time <= start < time + timedelta(minutes=5) for time, start in zip(times, starts, strict=True))
    assert len({start - time for time, start in zip(times, starts, strict=True)}) > 80, "they are spread"
    assert starts == [timetable(declaration, CREATED, jitter=jitter).start_of(time) for time in times]


def test_after_a_long_absence_the_newest_hundred_are_listed_and_it_is_said_that_there_were_more() -> None:
    due = timetable(declared("* * * * *"), CREATED).due(CREATED + timedelta(hours=5))

    assert due.latest == CREATED + timedelta(hours=5)
    assert len(due.earlier) == 99
    assert due.more
    assert due.following == due.wake_at == CREATED + timedelta(hours=5, minutes=1)


@settings(max_examples=40, deadline=None)
@given(ran=st.sets(st.integers(0, 20)), frozen=st.booleans(), number=st.integers(0, 20), more=st.booleans())
def test_each_occurrence_that_did_not_run_stands_in_exactly_one_record(
    ran: set[int], number: int, *, frozen: bool, more: bool
) -> None:
    declaration = declared("*/10 * * * *", exclusions=[FREEZE] if frozen else [])
    times = [at("01:10") + timedelta(minutes=10 * step) for step in range(number)]
    absent = [time for step, time in enumerate(times) if step not in ran]

    found = timetable(declaration, CREATED).unrun(
        times, lambda _: missed(Reason.OPERATOR_DOWN, "nobody was there"), ran=set(times) - set(absent), more=more
    )

    assert sum(record.count or 1 for record in found) == len(absent) + (more and bool(absent))
    excluded = [record for record in found if record.reason == Reason.EXCLUDED]
    assert all(record.ending is Ending.SKIPPED for record in excluded)
    inside = [time for time in absent if frozen and at("02:00") <= time < at("03:00")]
    assert bool(excluded) is bool(inside)


def test_a_resource_that_nobody_has_seen_counts_from_its_creation() -> None:
    declaration = declared("*/5 * * * *")

    kept, since = mark(created=CREATED).anchored(declaration, at("04:00"))

    assert (kept, since) == (anchor(declaration, CREATED), CREATED)


@pytest.mark.parametrize("created", [CREATED, None])
def test_an_edit_counts_from_when_it_was_seen_and_fires_nothing_of_the_past(created: datetime | None) -> None:
    old, new = declared("0 * * * *"), declared("*/5 * * * *")
    known = mark(anchor=anchor(old, CREATED), created=created)

    kept, since = known.anchored(new, at("04:00"))

    assert (kept, since) == (anchor(new, at("04:00")), at("04:00"))
    assert timetable(new, since).due(at("04:00")).latest is None


def test_what_was_due_before_an_edit_is_told_as_abandoned() -> None:
    old, new = declared("0 * * * *"), declared("*/5 * * * *")
    known = mark(anchor=anchor(old, CREATED), handled=write_instant(at("02:00")))

    assert known.abandoned(new, at("04:30")).times == (at("03:00"), at("04:00"))
    assert known.abandoned(old, at("04:30")).times == ()
    assert mark().abandoned(new, at("04:30")).times == ()


def test_nothing_is_abandoned_of_what_could_never_be_followed() -> None:
    wrong = ScheduleAnchor(expression=f"0 0 30 2 * {ZONE}", since=write_instant(CREATED))

    assert mark(anchor=wrong).abandoned(declared("0 * * * *"), at("04:30")).times == ()


def test_what_was_handled_is_not_due_again_whenever_the_schedule_was_first_seen() -> None:
    declaration = declared("0 * * * *")
    known = mark(anchor=anchor(declaration, CREATED), handled=write_instant(at("03:00")))

    _, since = known.anchored(declaration, at("05:30"))

    assert since == at("03:00")


def test_where_the_status_could_not_be_read_everything_up_to_now_counts_as_accounted_for() -> None:
    """Given a status whose last occurrence somebody has overwritten: nothing may run a second time."""
    declaration, now = declared("0 * * * *"), at("05:30")
    task = resource("MaintenanceTask", {}, created=CREATED)
    known = recall(TaskStatus, {"observedGeneration": 1, "lastScheduleTime": "soon"})

    _, since = Mark.of(known, task, anchor=anchor(declaration, CREATED), now=now).anchored(declaration, now)

    assert since == now


@pytest.mark.parametrize(("generation", "observed", "counts"), [(1, None, True), (2, None, False), (1, 1, False)])
def test_only_what_is_new_and_was_never_edited_counts_from_its_creation(
    generation: int,
    observed: int | None,
    counts: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    task = resource("MaintenanceTask", {}, created=CREATED)
    task["metadata"]["generation"] = generation
    known = recall(TaskStatus, {"observedGeneration": observed} if observed else None)

    found = Mark.of(known, task, anchor=None, now=at("05:00"))

    assert found.created == (CREATED if counts else None)


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "2026-03-02T03:00:00Z"])
def test_a_single_instant_in_the_past_means_at_once_and_only_once(when: str) -> None:
    declaration, now = declared(instant=when), at("04:00")
    kept, since = mark(anchor=anchor(declared("0 * * * *"), CREATED)).anchored(declaration, now)

    due = timetable(declaration, since).due(now)

    assert write_instant(due.latest or now) == when
    assert (due.earlier, due.following, due.wake_at) == ((), None, None)
    _, then = mark(anchor=kept, handled=when).anchored(declaration, now)
    assert timetable(declaration, then).due(now).latest is None


def test_of_an_occurrence_that_is_excluded_the_next_one_that_is_not_is_told() -> None:
    table = timetable(declared("*/30 * * * *", exclusions=[FREEZE]), CREATED)

    assert table.next_after(at("01:30")) == at("03:00")
    assert table.next_after(at("01:00")) == at("01:30")
    assert table.exclusion(at("02:30")) is not None
    assert table.exclusion(at("03:00")) is None


def test_where_everything_is_excluded_the_search_for_the_next_one_ends() -> None:
    always = ExclusionPeriod.model_validate({"from": "2026-01-01", "to": "2999-12-31"})

    assert timetable(declared("* * * * *", exclusions=[always]), CREATED).next_after(CREATED) is None


@given(
    when=st.sampled_from([*CRONS, "2026-12-01T02:00:00Z", "2026-12-01T02:00:00+01:00"]),
    zone=st.sampled_from(["Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
)
def test_what_was_declared_can_be_told_from_what_was_noted(when: str, zone: str) -> None:
    single = "T" in when
    declaration = Declaration(cron=None if single else when, instant=when if single else None, zone=zone)

    assert declared("* * * * *").formerly(declaration.expression or "") == declaration


def test_a_declaration_without_a_time_has_no_schedule_and_a_wrong_one_says_so() -> None:
    assert declared().schedule() is None
    assert declared().expression is None
    for wrong in (declared("61 * * * *"), declared(instant="soon"), Declaration(cron="* * * * *", zone="Nowhere")):
        with pytest.raises(ScheduleError):
            wrong.schedule()
