"""What users may know of windows: what was written for them, when, and how it ended; nothing else gets out."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.domain.bulletin import MOST_AHEAD, MOST_OVER, Bulletin, State, bulletin, published
from upkeep.domain.instants import write_instant

Object = dict[str, Any]

NOW: Final = datetime(2026, 11, 29, 2, 30, tzinfo=UTC)
WORDS: Final = {"title": "The shop moves", "message": "Your basket is safe.", "language": "en"}
INTERNAL: Final = "10.2.3.4 orders_db alice"


def at(**later: float) -> str:
    return write_instant(NOW + timedelta(**later))


def window(status: object = None, *, uid: str = "one", **spec: object) -> Object:
    return {
        "metadata": {"name": "sunday", "namespace": "shop-internal", "uid": uid},
        "spec": {"statusPage": WORDS, "timeZone": "Europe/Berlin", "duration": "2h", **spec},
        "status": status,
    }


def told(*windows: Object, now: datetime = NOW) -> Bulletin:
    return bulletin(published(windows), now)


def states(found: Bulletin) -> list[list[State]]:
    return [[entry.state for entry in part] for part in (found.active, found.ahead, found.over)]


def occurrence(**fields: object) -> Object:
    return {"startTime": at(hours=-1), "endTime": at(hours=1), **fields}


def ran(outcome: str, **fields: object) -> Object:
    run = {"ending": "Ran", "scheduledTime": at(days=-1), "startTime": at(days=-1), "completionTime": at(hours=-23)}
    return run | {"outcome": outcome, "message": INTERNAL, **fields}


def test_nothing_is_told_of_a_window_that_nobody_wants_to_be_seen() -> None:
    open_now = {"occurrence": occurrence(openedAt=at(hours=-1))}

    assert told(window(open_now, statusPage=None)) == Bulletin()
    assert told(window(open_now, kind="Freeze")) == Bulletin()


def test_an_open_window_is_under_maintenance_since_it_really_opened_until_its_end() -> None:
    (entry,) = told(window({"occurrence": occurrence(openedAt=at(minutes=-50), extendedBy="1h")})).active

    assert (entry.state, entry.start, entry.end) == (
        State.ACTIVE,
        NOW - timedelta(minutes=50),
        NOW + timedelta(hours=1),
    )
    assert entry.zone == "Europe/Berlin"
    assert entry.wording is not None
    assert entry.wording.title == "The shop moves"


def test_what_is_held_back_is_about_to_begin_and_what_has_closed_is_not_open() -> None:
    assert states(told(window({"occurrence": occurrence()}))) == [[], [State.PLANNED], []]
    assert states(told(window({"occurrence": occurrence(openedAt=at(hours=-1), closedAt=at())}))) == [[], [], []]


def test_a_window_that_is_overdue_is_still_under_maintenance() -> None:
    late = occurrence(openedAt=at(hours=-3), endTime=at(minutes=-5))

    assert states(told(window({"occurrence": late}))) == [[State.ACTIVE], [], []]


def test_what_lies_ahead_is_told_with_what_was_called_off_but_not_what_never_was_to_be() -> None:
    ahead = [
        {"startTime": at(days=day), "endTime": at(days=day, hours=2), "state": state, "reason": INTERNAL}
        for day, state in enumerate(("Planned", "Cancelled", "Frozen", "Excluded"), 1)
    ]

    assert states(told(window({"upcoming": ahead}))) == [[], [State.PLANNED, State.CANCELLED], []]


def test_nothing_is_told_a_year_ahead() -> None:
    far = {"startTime": at(days=300), "endTime": at(days=300, hours=2), "state": "Planned"}

    assert told(window({"upcoming": [far]})) == Bulletin()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (ran("ok"), [State.COMPLETED]),
        (ran("changed"), [State.COMPLETED]),
        (ran("failed"), [State.FAILED]),
        (ran("unknown"), [State.FAILED]),
        (ran("ok", scheduledTime=at(days=-9), completionTime=at(days=-8)), []),
        ({"ending": "Skipped", "reason": "NotApproved", "scheduledTime": at(hours=-2)}, [State.NOT_HELD]),
        ({"ending": "Missed", "reason": "OperatorDown", "scheduledTime": at(hours=-2)}, [State.NOT_HELD]),
        ({"ending": "Skipped", "reason": "Cancelled", "scheduledTime": at(hours=-2)}, [State.CANCELLED]),
        ({"ending": "Skipped", "reason": "Frozen", "scheduledTime": at(hours=-2)}, []),
        ({"ending": "Skipped", "reason": "Excluded", "scheduledTime": at(hours=-2)}, []),
        ({"ending": "Missed", "reason": "OperatorDown", "scheduledTime": at(hours=-2), "count": 7}, []),
    ],
)
def test_what_is_over_is_told_in_one_word_for_a_week(record: Object, expected: list[State]) -> None:
    assert states(told(window({"history": [record]}))) == [[], [], expected]


def test_nothing_internal_is_in_it() -> None:
    status = {
        "occurrence": occurrence(
            openedAt=at(hours=-1),
            approvedBy=INTERNAL,
            tasks=[{"name": INTERNAL, "state": "Failed", "message": INTERNAL}],
            targets=[{"kind": "Ingress", "name": INTERNAL, "state": "Maintenance", "message": INTERNAL}],
        ),
        "history": [ran("failed", reason=INTERNAL, job=INTERNAL)],
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "X", "message": INTERNAL, "lastTransitionTime": at()}
        ],
    }
    change = {"reason": INTERNAL, "ticket": INTERNAL}

    found = repr(told(window(status, uid=INTERNAL, change=change, plan={"tasks": [{"name": INTERNAL}]})))

    assert "The shop moves" in found
    for word in (*INTERNAL.split(), "sunday", "shop-internal"):
        assert word not in found


def test_without_words_of_its_own_the_words_of_the_page_are_taken() -> None:
    german = {"language": "de", "title": "Umzug", "message": "Bald."}
    page = {"title": "Moving", "message": "Soon.", "language": "fr", "translations": [german]}

    (entry,) = told(
        window({"occurrence": occurrence(openedAt=at())}, statusPage={}, maintenanceMode={"page": page})
    ).active

    assert entry.wording is not None
    assert (entry.wording.title, entry.wording.message, entry.wording.language) == ("Moving", "Soon.", "fr")
    assert entry.wording.translations == {"de": ("Umzug", "Bald.")}


def test_words_that_nobody_wrote_are_not_taken() -> None:
    usual = {"title": "Down for maintenance", "message": "We are working on it and will be back soon."}

    (entry,) = told(
        window({"occurrence": occurrence(openedAt=at())}, statusPage={}, maintenanceMode={"page": usual})
    ).active

    assert entry.wording is None


def test_each_opening_has_a_name_that_stays() -> None:
    planned = {"startTime": at(hours=-1), "endTime": at(hours=1), "state": "Planned"}
    (before,) = told(window({"upcoming": [planned]}), now=NOW - timedelta(hours=2)).ahead
    (during,) = told(window({"occurrence": occurrence(openedAt=at()), "upcoming": [planned]})).active
    (other,) = told(window({"upcoming": [planned]}, uid="two"), now=NOW - timedelta(hours=2)).ahead

    assert before.id == during.id != other.id


def test_there_is_no_end_of_windows_but_of_what_is_shown() -> None:
    many = [
        window({"upcoming": [{"startTime": at(hours=n), "endTime": at(hours=n + 1), "state": "Planned"}]}, uid=f"{n}")
        for n in range(1, 50)
    ]
    past = [window({"history": [ran("ok")]}, uid=f"past-{n}") for n in range(50)]

    found = told(*many, *past)

    assert [entry.start for entry in found.ahead] == [NOW + timedelta(hours=n) for n in range(1, MOST_AHEAD + 1)]
    assert len(found.over) == MOST_OVER


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    status=st.fixed_dictionaries({}, optional={"occurrence": JSON, "upcoming": JSON, "history": JSON}) | JSON,
    words=JSON,
    zone=JSON,
)
def test_whatever_stands_in_a_window_the_others_are_told_of(status: object, words: object, zone: object) -> None:
    good = window({"occurrence": occurrence(openedAt=at())}, uid="good")

    found = told(window(status, uid="bad", statusPage=words, timeZone=zone, maintenanceMode=words), good)

    assert [entry.wording.title for entry in found.active if entry.wording] == ["The shop moves"]
