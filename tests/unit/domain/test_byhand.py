"""Maintenance by hand: one request opens one window, whoever forgets what in between."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.actions.fields import format_duration
from upkeep.api.window import WindowSpec
from upkeep.domain.byhand import (
    KEPT,
    REQUEST_ANNOTATION,
    SERVED_ANNOTATION,
    ByHandDecision,
    ByHandSnapshot,
    ChangeWindow,
    DeleteWindow,
    NoteServed,
    OpenWindow,
    concerns,
    decide,
    read_request,
    target_of,
)
from upkeep.domain.decision import EventType
from upkeep.domain.identity import Identity
from upkeep.domain.window import TargetRef
from upkeep.resources.window import by_hand_name, by_hand_window

Object = dict[str, Any]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTES = timedelta(minutes=1)
OWNER = Identity(kind="Ingress", namespace="shop", name="web", uid="uid-web")
API_VERSION = "networking.k8s.io/v1"


def ingress(request: str | None = None, served: str | None = None) -> Object:
    annotations = {REQUEST_ANNOTATION: request, SERVED_ANNOTATION: served, "theirs": "1"}
    present = {name: value for name, value in annotations.items() if value is not None}
    return {
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "shop", "uid": "uid-web", "annotations": present},
    }


def window(
    serves: str | None = "30m", *, phase: str = "Active", duration: str = "30m", ago: timedelta = MINUTES
) -> Object:
    made = by_hand_window(OWNER, api_version=API_VERSION, request=serves or "", duration=timedelta(minutes=30))
    made["metadata"] |= {
        "uid": "uid-window",
        "resourceVersion": "7",
        "creationTimestamp": f"{NOW - ago:%Y-%m-%dT%H:%M:%SZ}",
        "annotations": {REQUEST_ANNOTATION: serves} if serves else {},
    }
    made["spec"]["duration"] = duration
    return made | {"status": {"phase": phase}}


def decided(on: Object | None, by: Object | None = None, *, now: datetime = NOW) -> ByHandDecision:
    return decide(ByHandSnapshot(target=on, window=by, now=now))


class TestRequests:
    def test_a_request_opens_a_window_and_only_then_is_noted(self) -> None:
        decision = decided(ingress("30m"))

        assert decision.steps == (OpenWindow(request="30m", duration=30 * MINUTES), NoteServed(request="30m"))

    def test_what_was_served_is_not_served_again_also_when_its_window_is_gone(self) -> None:
        assert decided(ingress("30m", served="30m")) == ByHandDecision()

    def test_what_a_window_serves_is_not_served_again_also_when_the_note_is_gone(self) -> None:
        for phase in ("", "Active", "Completed"):
            assert decided(ingress("30m"), window("30m", phase=phase)).steps == (NoteServed(request="30m"),)

    def test_another_value_moves_the_end_of_the_window_that_is_open(self) -> None:
        decision = decided(ingress("1h", served="30m"), window("30m"))

        change = ChangeWindow(version="7", request="1h", duration=60 * MINUTES)
        assert decision.steps == (change, NoteServed(request="1h"))

    def test_another_value_after_the_end_is_a_new_request_and_the_old_window_makes_room(self) -> None:
        decision = decided(ingress("1h", served="30m"), window("30m", phase="Completed"))

        assert decision.steps == (DeleteWindow(uid="uid-window"),)
        assert decision.wake_at == NOW

    def test_another_value_in_the_moment_of_the_end_waits_for_the_end(self) -> None:
        decision = decided(ingress("1h", served="30m"), window("30m", ago=30 * MINUTES))

        assert decision.steps == ()
        assert decision.wake_at is not None

    def test_a_request_that_was_taken_back_and_made_again_waits_until_the_first_is_over(self) -> None:
        decision = decided(ingress("30m"), window(None))

        assert decision.steps == ()
        assert decision.wake_at is not None

    def test_what_cannot_be_understood_changes_nothing_and_is_said(self) -> None:
        for open_window in (None, window("30m")):
            decision = decided(ingress("soon", served="30m"), open_window)

            assert decision.steps == ()
            (event,) = decision.events
            assert event.type is EventType.WARNING
            assert "upkeep.dev/maintenance=30m" in event.message

    def test_a_window_of_somebody_else_is_left_alone(self) -> None:
        foreign = window("30m")
        foreign["metadata"]["labels"] = {}

        decision = decided(ingress("30m"), foreign)

        assert decision.steps == ()
        assert "delete or rename it" in decision.events[0].message

    def test_an_ingress_that_goes_asks_for_nothing(self) -> None:
        going = ingress("30m")
        going["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"

        assert decided(going) == decided(None) == ByHandDecision()

    @pytest.mark.parametrize("phase", ["Failed", "Skipped"])
    def test_a_request_that_came_to_nothing_says_why_on_the_ingress(self, phase: str) -> None:
        lost = window("30m", phase=phase)
        record = {
            "ending": "Skipped",
            "reason": "TargetRefused",
            "message": "it passes TLS through",
            "trigger": "Schedule",
        }
        lost["status"]["history"] = [record]

        (event,) = decided(ingress("30m", served="30m"), lost).events

        assert "TargetRefused: it passes TLS through" in event.message


class TestRemovals:
    def test_without_its_annotation_a_window_is_over_now(self) -> None:
        decision = decided(ingress(served="30m"), window("30m", ago=7 * MINUTES))

        change = ChangeWindow(version="7", request=None, duration=7 * MINUTES)
        assert decision.steps == (change, NoteServed(request=None))

    def test_in_its_first_second_too_it_has_a_length(self) -> None:
        (change, _) = decided(ingress(served="30m"), window("30m", ago=timedelta(0))).steps

        assert isinstance(change, ChangeWindow)
        assert change.duration == timedelta(seconds=1)

    def test_a_window_that_is_over_is_read_for_a_day_and_then_deleted(self) -> None:
        over = window(None, phase="Completed", ago=60 * MINUTES)
        gone = NOW - 30 * MINUTES + KEPT

        assert decided(ingress(), over) == ByHandDecision(wake_at=gone)
        assert decided(ingress(), over, now=gone).steps == (DeleteWindow(uid="uid-window"),)

    def test_while_the_request_stands_the_window_that_served_it_stays(self) -> None:
        over = window("30m", phase="Completed", ago=10 * KEPT)

        assert decided(ingress("30m", served="30m"), over) == ByHandDecision()

    def test_a_window_that_was_over_before_keeps_its_length(self) -> None:
        (change, _) = decided(ingress(served="30m"), window("30m", phase="Completed", ago=60 * MINUTES)).steps

        assert change == ChangeWindow(version="7", request=None, duration=None)


class TestNames:
    @given(
        name=st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True),
        uid=st.uuids().map(str),
    )
    def test_every_target_has_one_name_for_its_window(self, name: str, uid: str) -> None:
        made = by_hand_name(name, uid)

        assert made == by_hand_name(name, uid)
        assert len(made) <= 63
        assert made[0].isalnum()
        assert ".-" not in made
        assert made != by_hand_name(name, f"{uid}0")

    def test_an_ingress_and_routes_of_one_name_have_windows_of_their_own(self) -> None:
        # As the API server does it: no two objects have the same UID.
        assert len({by_hand_name("shop", uid) for uid in ("of-ingress", "of-route", "of-ingress-route")}) == 3

    def test_the_window_is_one_that_a_person_could_write_and_leads_back_to_its_target(self) -> None:
        made = by_hand_window(OWNER, api_version=API_VERSION, request="1h30m", duration=timedelta(minutes=90))

        spec = WindowSpec.model_validate(made["spec"])
        assert spec.duration == timedelta(minutes=90)
        assert target_of(made) == TargetRef("Ingress", "web")
        assert (
            target_of({"metadata": {"name": "planned", "ownerReferences": [{"kind": "Ingress", "name": "web"}]}})
            is None
        )


@given(duration=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=1)))
def test_every_duration_of_up_to_a_day_is_a_request(duration: timedelta) -> None:
    whole = timedelta(seconds=int(duration.total_seconds()))

    assert read_request(format_duration(whole)) == whole


@pytest.mark.parametrize("text", ["", " ", "abc", "0s", "25h", "1d1s", "-5m", "30", "1,5h", "30m!", "9" * 400])
def test_what_is_no_request_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="changes nothing: write for how long"):
        read_request(text)


def test_of_all_ingresses_only_those_concern_us_that_are_marked() -> None:
    assert concerns(ingress("30m"))
    assert concerns(ingress(served="30m"))
    assert not concerns(ingress())
