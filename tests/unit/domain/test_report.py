"""What a report gives up so that it fits into a termination message, and in which order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.findings import finding, step_report
from upkeep.actions.contract import MEMORY_BYTES, Grade, Outcome
from upkeep.domain.report import MAX_BYTES, RunReport, memory_size
from upkeep.domain.sighting import MOST, decode

FULL_MEMORY = {"counters": "9" * (MEMORY_BYTES - 20)}


def test_a_short_report_tells_all() -> None:
    seen = [finding("orders"), finding("users")]
    report = RunReport.summarise([step_report(*seen, memory={"a": "1"})], seen)

    assert RunReport.decode(report.encode()) == report


def test_with_hundreds_of_findings_the_worst_are_told_and_many_more_are_known() -> None:
    seen = [finding(f"CVE-2026-{number} in a package of some length", grade=Grade.HIGH) for number in range(300)]
    text = RunReport.summarise([step_report(*seen)], seen).encode()

    report = RunReport.decode(text)

    assert report is not None
    assert len(text.encode()) <= MAX_BYTES
    assert len(report.findings) >= 5
    assert len(decode(report.steps[0].seen)) == MOST
    assert report.steps[0].findings == report.counts.warning == 300


def test_what_is_for_the_next_run_outlives_findings_and_messages() -> None:
    seen = [finding("x" * 200, observed=number) for number in range(40)]
    long = step_report(*seen, memory=FULL_MEMORY).model_copy(update={"message": "m" * 3000})

    report = RunReport.decode(RunReport.summarise([long], seen).encode())

    assert report is not None
    assert report.steps[0].memory == FULL_MEMORY
    assert report.findings


@pytest.mark.parametrize("steps", [1, 32])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_it_has_to_say_it_fits_and_can_be_read(steps: int, data: st.DataObject) -> None:
    names = st.text(max_size=200)
    seen = [finding(name) for name in data.draw(st.lists(names, max_size=80))]
    memory = data.draw(st.dictionaries(names, names, max_size=9))
    said = [
        step_report(*seen, step=f"step-{number}", outcome=Outcome.UNKNOWN, memory=memory).model_copy(
            update={"message": data.draw(names) * 9, "metrics": {"a": 1.5, "b": float("inf")}}
        )
        for number in range(steps)
    ]

    text = RunReport.summarise(said, seen).encode()

    assert len(text.encode()) <= MAX_BYTES
    report = RunReport.decode(text)
    assert report is not None
    assert report.outcome is Outcome.UNKNOWN
    assert report.counts.warning == len(seen)


def test_nothing_to_remember_takes_no_room() -> None:
    assert memory_size({}) == 0
    assert memory_size({"ä": '"'}) == len('{"ä":"\\""}'.encode())
