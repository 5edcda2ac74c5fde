"""The ledger: every run is recorded once, what is recorded stays so, and ten records are kept."""

from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from unit.domain.cluster import at
from upkeep.actions.contract import Outcome
from upkeep.api.status import Ending, OccurrenceRecord, RunSummary, Trigger
from upkeep.api.task import TaskStatus
from upkeep.controller.apply import dump
from upkeep.domain.account import Reason, missed, record, skipped
from upkeep.domain.decision import EventType, Occasion
from upkeep.domain.history import HISTORY, SETTLING, Ledger, expired_jobs, last_run_fact, settled
from upkeep.domain.instants import write_instant
from upkeep.domain.recollection import recall
from upkeep.domain.report import RunReport
from upkeep.domain.run import Run, RunState

EMPTY: Final = Ledger.of(recall(TaskStatus, None))
MINUTE: Final = timedelta(minutes=1)


def run(name: str = "a", began: datetime = at("02:00"), *, took: timedelta | None = MINUTE, **more: Any) -> Run:  # noqa: ANN401, B008
    """A run that has ended well; `took` is None while it is under way."""
    known: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "owner_uid": "uid",
        "occasion": Occasion(trigger=Trigger.SCHEDULE, scheduled=began),
        "state": RunState.SUCCEEDED if took is not None else RunState.RUNNING,
        "created": began,
        "started": began,
        "finished": began + took if took is not None else None,
        "report": RunReport(outcome=Outcome.OK) if took is not None else None,
        "words": "",
        "trouble": None,
        "settled": took is not None,
    }
    return Run(**known | more)


def failed(name: str = "a", began: datetime = at("02:00")) -> Run:  # noqa: B008
    return run(name, began, state=RunState.FAILED, report=RunReport(outcome=Outcome.FAILED))


def written(ledger: Ledger) -> Ledger:
    """What is left of it after it went through a status."""
    return Ledger.of(recall(TaskStatus, dump(TaskStatus(**ledger.remembered()))))


def test_a_run_shows_from_its_start_and_is_recorded_at_its_end() -> None:
    begun = EMPTY.with_start(run(took=None))
    ended = begun.with_end(run())

    assert begun.last_run
    assert begun.last_run.completion_time is None
    assert begun.history == ()
    assert begun.mentions("a")
    assert not begun.recorded("a")
    assert ended.recorded("a")
    assert [(each.job, each.outcome) for each in ended.history] == [("a", Outcome.OK)]
    assert ended.last_successful_time == "2026-03-02T02:01:00Z"
    assert [event.reason for event in ended.announcements] == ["RunSucceeded"]


def test_failures_in_a_row_are_counted_until_a_good_run() -> None:
    ledger, counts = EMPTY, []
    for number, ended in enumerate([failed("a"), failed("b"), run("c"), failed("d")]):
        ledger = ledger.with_end(ended)
        counts.append((number, ledger.consecutive_failures))

    assert counts == [(0, 1), (1, 2), (2, 0), (3, 1)]
    assert ledger.last_successful_time == "2026-03-02T02:01:00Z"


def test_a_run_that_ends_after_a_younger_one_is_recorded_but_is_not_the_last() -> None:
    ledger = EMPTY.with_end(run("young", at("03:00"))).with_end(run("old", at("02:00"), took=timedelta(hours=2)))

    assert ledger.last_run
    assert ledger.last_run.job == "young"
    assert [each.job for each in ledger.history] == ["young", "old"]
    assert ledger.last_successful_time == "2026-03-02T04:00:00Z"


def test_a_run_whose_job_somebody_deleted_is_recorded_as_unknown_once() -> None:
    ledger = written(EMPTY.with_start(run(took=None)))

    lost = ledger.with_vanished([], at("02:30"))
    again = written(lost).with_vanished([], at("02:31"))

    assert [(each.job, each.outcome, each.reason) for each in lost.history] == [("a", Outcome.UNKNOWN, "JobDeleted")]
    assert lost.history[0].start_time == "2026-03-02T02:00:00Z"
    assert [event.reason for event in lost.announcements] == ["RunUnknown"]
    assert lost.consecutive_failures == again.consecutive_failures == 1
    assert again.history == lost.history
    assert again.announcements == ()


def test_a_run_whose_job_is_there_has_not_vanished() -> None:
    ledger = EMPTY.with_start(run(took=None))

    assert written(ledger).with_vanished([run(took=None)], at("02:30")) == written(ledger)


def test_the_job_of_a_run_whose_end_is_recorded_may_vanish() -> None:
    ledger = Ledger.of(recall(TaskStatus, dump(TaskStatus(**EMPTY.with_end(run()).remembered()))), pending=["a"])

    gone = ledger.with_vanished([], at("02:30"))

    assert gone.history == ledger.history
    assert gone.announcements == ()
    assert gone.pending == frozenset()


def test_what_did_not_run_is_recorded_newest_first_and_said_by_how_it_ended() -> None:
    down, frozen = missed(Reason.OPERATOR_DOWN, "nobody was there"), skipped(Reason.EXCLUDED, "freeze")

    ledger = EMPTY.with_records(record(at("01:00"), down), record(at("02:00"), frozen, schedule="daily"))

    assert [(each.ending, each.scheduled_time) for each in ledger.history] == [
        (Ending.SKIPPED, "2026-03-02T02:00:00Z"),
        (Ending.MISSED, "2026-03-02T01:00:00Z"),
    ]
    assert [(event.type, event.reason, event.message) for event in ledger.announcements] == [
        (EventType.WARNING, "MissedOperatorDown", "Missed(OperatorDown) 2026-03-02T01:00:00Z: nobody was there"),
        (EventType.NORMAL, "SkippedExcluded", "Skipped(Excluded) schedule 'daily', 2026-03-02T02:00:00Z: freeze"),
    ]
    assert ledger.consecutive_failures == 0


def test_the_result_of_a_window_counts_like_a_run() -> None:
    summary = RunSummary(
        ending=Ending.RAN, start_time=write_instant(at("02:00")), completion_time=write_instant(at("03:00"))
    )
    (event,) = EMPTY.with_end(run()).announcements

    good = EMPTY.with_result(summary.model_copy(update={"outcome": Outcome.CHANGED}), event)
    bad = good.with_result(summary.model_copy(update={"outcome": Outcome.FAILED}), event)

    assert (good.consecutive_failures, good.last_successful_time) == (0, "2026-03-02T03:00:00Z")
    assert (bad.consecutive_failures, bad.last_successful_time) == (1, "2026-03-02T03:00:00Z")
    assert len(bad.history) == 2


@pytest.mark.parametrize(
    ("changes", "seconds", "is_settled"),
    [
        ({"took": None}, 3600, False),
        ({}, 0, True),
        ({"settled": False}, 0, False),
        ({"settled": False}, SETTLING.total_seconds() - 1, False),
        ({"settled": False}, SETTLING.total_seconds(), True),
        ({"settled": False, "finished": None}, SETTLING.total_seconds() - 60, True),
    ],
)
def test_an_end_waits_for_the_last_words_of_its_pod_but_not_for_ever(
    changes: dict[str, Any],
    seconds: float,
    is_settled: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert settled(run(**changes), at("02:01") + timedelta(seconds=seconds)) is is_settled


@settings(max_examples=80, deadline=None)
@given(
    runs=st.lists(st.sampled_from("gbr"), max_size=12),
    good=st.integers(0, 4),
    bad=st.integers(0, 4),
    unrecorded=st.sets(st.integers(0, 12)),
)
def test_of_the_recorded_runs_the_newest_of_each_kind_keep_their_jobs(
    runs: list[str], good: int, bad: int, unrecorded: set[int]
) -> None:
    made = []
    for number, kind in enumerate(runs):
        began = at("02:00") + number * MINUTE
        made.append(
            {"g": run, "b": failed}[kind](f"{number:02}", began)
            if kind != "r"
            else run(f"{number:02}", began, took=None)
        )

    deleted = {
        each.name
        for each in expired_jobs(made, recorded=lambda each: int(each.name) not in unrecorded, good=good, bad=bad)
    }

    for state, limit in ((RunState.SUCCEEDED, good), (RunState.FAILED, bad)):
        ended = [each.name for each in made if each.state is state and int(each.name) not in unrecorded]
        assert deleted & {each.name for each in made if each.state is state} == set(ended[: max(0, len(ended) - limit)])
    assert not deleted & {each.name for each in made if each.active or int(each.name) in unrecorded}


CHANGES: Final = ("begin", "begin", "begin", "end", "end", "end badly", "delete", "miss", "wait")


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_whatever_happens_each_run_is_told_of_once_and_stays_covered(seed: int) -> None:
    """Given runs side by side, of which some outlive the whole history, and Jobs that somebody deletes."""
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    steps = [(dice.choice(CHANGES), dice.randrange(30), dice.randint(1, 300)) for _ in range(60)]
    now, ledger = at("00:00"), EMPTY
    jobs: dict[str, Run] = {}
    told: list[str] = []
    for number, (what, which, pause) in enumerate(steps):
        now += timedelta(seconds=pause)
        names = sorted(jobs)
        chosen = names[which % len(names)] if names else None
        pending = [name for name, each in jobs.items() if not ledger.covers(each)]
        if what == "begin":
            name = f"run-{number:02}"
            jobs[name] = run(name, now, took=None)
            ledger = ledger.with_start(jobs[name])
        elif what == "miss":
            ledger = ledger.with_records(record(now, missed(Reason.OPERATOR_DOWN, "nobody was there")))
        elif what == "delete" and chosen:
            del jobs[chosen]
        elif what.startswith("end") and chosen and jobs[chosen].active:
            took = now - jobs[chosen].created
            state = RunState.FAILED if what == "end badly" else RunState.SUCCEEDED
            jobs[chosen] = run(chosen, jobs[chosen].created, took=took, state=state, report=None)
        ledger = Ledger.of(recall(TaskStatus, dump(TaskStatus(**ledger.remembered()))), pending=pending)
        for each in sorted(jobs.values(), key=lambda each: each.name):
            if not each.active and not ledger.covers(each):
                ledger = ledger.with_end(each)
        ledger = ledger.with_vanished(jobs.values(), now)
        told += [event.message.partition(":")[0] for event in ledger.announcements if event.reason.startswith("Run")]

        assert len(ledger.history) <= HISTORY
        recorded = [each.job for each in ledger.history if each.job]
        assert len(recorded) == len(set(recorded))
        assert len(told) == len(set(told)), "nothing is told twice"
        assert all(ledger.covers(each) for each in jobs.values() if not each.active)
        moments = [each.start_time or each.scheduled_time or each.completion_time or "" for each in ledger.history]
        assert moments == sorted(moments, reverse=True)

    begun = {f"run-{number:02}" for number, (what, *_) in enumerate(steps) if what == "begin"}
    under_way = {name for name, each in jobs.items() if each.active}
    assert set(told) == begun - under_way


def test_the_condition_speaks_of_the_last_run_that_has_ended() -> None:
    (fact,) = last_run_fact(EMPTY.with_end(failed("a")), [])

    assert (fact.type, fact.status, fact.reason) == ("LastRunSucceeded", False, "Failed")
    assert fact.message.startswith("a")
    assert last_run_fact(EMPTY, []) == []


def test_a_record_of_the_history_is_what_the_api_keeps_of_a_run() -> None:
    (kept,) = EMPTY.with_end(run()).history

    assert type(kept) is OccurrenceRecord
    assert kept == run().record()
