"""The silence of a window: as long as it is open, never longer, and never in its way."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unit.domain.alertworld import AlertWorld
from unit.domain.cluster import GOOD, at, minutes, said
from upkeep.api.window.gating import AlertMatcher, Silence
from upkeep.domain.instants import read_instant

SILENCE: Final[dict[str, Any]] = {"alertmanager": "main", "matchers": [{"name": "alertname", "value": "ShopDown"}]}
SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "1h",
    "silence": SILENCE,
    "plan": {"tasks": [{"name": "clean"}]},
}


def world_at(moment: timedelta, *, spec: dict[str, Any] | None = None, **attributes: Any) -> AlertWorld:  # noqa: ANN401
    """A window whose task takes twenty minutes, so long after 01:30."""
    world = AlertWorld(now=at("01:30"), spec=spec or SPEC, outcomes={"clean": (minutes(20), GOOD)}, **attributes)
    world.wait(moment)
    return world


def test_alerts_are_silent_from_the_opening_to_the_close_of_the_window() -> None:
    world = world_at(minutes(29.9))
    assert (world.silences, world.condition("Silenced")) == ({}, ("False", "Off"))

    world.wait(minutes(10))
    (held,) = world.standing()
    assert (held.start, held.end) == (at("02:00"), at("03:00"))
    assert [str(matcher.value) for matcher in held.matchers] == ["ShopDown"]
    assert "MaintenanceWindow shop/sunday, opening of 2026-03-02T02:00:00Z" in held.comment
    assert world.condition("Silenced") == ("True", "Active")
    assert world.occurrence["silence"] == {
        "alertmanager": "main",
        "id": "silence-0",
        "state": "Active",
        "until": "2026-03-02T03:00:00Z",
    }

    world.wait(minutes(11))
    assert (world.standing(), held.end) == ([], at("02:20"))
    assert world.occurrence["silence"]["state"] == "Ended"
    assert world.condition("Silenced") == ("False", "Off")
    assert len(said(world.events, "AlertsSilenced")) == 1


def test_the_silence_tells_the_ticket() -> None:
    world = world_at(minutes(35), spec={**SPEC, "change": {"reason": "full tables", "ticket": "CHG-4711"}})

    (held,) = world.standing()
    assert held.comment.startswith("MaintenanceWindow shop/sunday, opening of 2026-03-02T02:00:00Z CHG-4711 [upkeep:")


def test_each_opening_has_a_silence_of_its_own() -> None:
    world = world_at(timedelta(days=2))

    assert len({held.marker for held in world.silences.values()}) == len(world.silences) == 2
    assert world.standing() == []


def test_a_window_that_silences_nothing_says_nothing_of_it() -> None:
    world = world_at(minutes(35), spec={key: value for key, value in SPEC.items() if key != "silence"})

    assert (world.condition("Silenced"), world.silences) == (("", ""), {})


def test_an_alertmanager_that_does_not_answer_keeps_no_window_shut() -> None:
    world = world_at(minutes(35), answers=False)

    assert (world.status["phase"], world.condition("Silenced")) == ("Active", ("False", "AlertmanagerFailed"))
    assert said(world.events, "AlertmanagerFailed") == ["main does not answer"]

    world.answers = True
    world.wait(minutes(1))
    assert len(world.standing()) == 1
    assert world.condition("Silenced") == ("True", "Active")


def test_what_cannot_be_ended_runs_out_with_the_window() -> None:
    world = world_at(minutes(40))
    world.answers = False
    world.wait(minutes(15))
    assert (world.status["phase"], len(world.standing())) == ("Scheduled", 1)
    assert world.condition("Silenced") == ("True", "Ending")

    world.wait(minutes(36))

    assert world.standing() == []
    assert world.occurrence["silence"]["state"] == "Ended"
    assert world.condition("Silenced") == ("False", "Off")


def test_what_somebody_has_expired_is_not_made_again() -> None:
    world = world_at(minutes(35))
    world.expire_by_hand()
    world.act()

    world.wait(minutes(5))
    world.edit(silence={**SILENCE, "matchers": [{"name": "alertname", "value": "BatchLate"}]})
    world.wait(minutes(5))

    assert world.standing() == []
    assert world.condition("Silenced") == ("False", "ExpiredByHand")
    assert len(said(world.events, "SilenceExpired")) == 1


def test_an_alertmanager_that_nobody_has_configured_is_named_with_those_that_are() -> None:
    world = world_at(minutes(35), configured=("primary", "secondary"))

    assert (world.status["phase"], world.condition("Silenced")) == ("Active", ("False", "AlertmanagerNotConfigured"))
    assert (
        "'main' is not configured (configured: primary, secondary)"
        in said(world.events, "AlertmanagerNotConfigured")[0]
    )
    world.wait(minutes(60))
    assert world.status["lastRun"]["outcome"] == "ok"


@pytest.mark.parametrize("change", [{"silence": None}, {"duration": "long"}])
def test_without_a_silence_in_its_spec_nothing_stays_silent(change: dict[str, object]) -> None:
    world = world_at(minutes(35))
    world.edit(**change)

    world.wait(minutes(1))

    assert world.standing() == []


def test_edited_matchers_count_at_once() -> None:
    world = world_at(minutes(35))
    world.edit(silence={**SILENCE, "matchers": [{"name": "alertname", "value": "BatchLate"}]})

    world.wait(minutes(1))

    (held,) = world.standing()
    assert held.matchers == (AlertMatcher(name="alertname", value="BatchLate"),)


def test_a_window_that_is_extended_stays_silent_as_much_longer() -> None:
    world = world_at(minutes(1))
    world.outcomes["clean"] = (minutes(85), GOOD)
    world.wait(minutes(34))
    world.live["metadata"]["annotations"] = {"upkeep.dev/extend": "30m"}

    world.wait(minutes(40))

    (held,) = world.standing()
    assert (held.end, len(world.silences)) == (at("03:30"), 1)
    assert world.occurrence["silence"]["until"] == "2026-03-02T03:30:00Z"
    world.wait(minutes(41))
    assert world.standing() == []


def test_a_window_that_is_ended_by_hand_is_silent_no_longer() -> None:
    world = world_at(minutes(35))
    world.live["metadata"]["annotations"] = {"upkeep.dev/end-now": "1"}

    world.wait(minutes(1))

    assert (world.standing(), world.occurrence["silence"]["state"]) == ([], "Ended")


def test_a_deleted_window_leaves_nothing_silent_where_it_had_to_be_taken_apart() -> None:
    world = world_at(minutes(35))
    world.live["metadata"]["finalizers"] = ["upkeep.dev/maintenance-mode"]
    world.delete()

    world.wait(minutes(1))

    assert (world.window, world.standing()) == (None, [])


STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 1800)),
        st.tuples(st.just("sleep"), st.integers(1, 1800)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("answers"), st.booleans()),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("silence"), st.sampled_from([None, "ShopDown", "BatchLate"])),
        st.tuples(st.just("extend"), st.sampled_from(["10m", "30m"])),
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_there_is_one_silence_an_opening_and_none_outlives_it(steps: list[tuple[str, Any]]) -> None:
    world = AlertWorld(now=at("01:50"), spec=SPEC, outcomes={"clean": (minutes(20), GOOD)})
    expired: set[str] = set()
    for step, value in steps:
        match step:
            case "wait":
                world.wait(timedelta(seconds=value))
            case "sleep":
                world.sleep(timedelta(seconds=value))
            case "crash":
                world.act(crash_after=value)
            case "answers":
                world.answers = value
            case "expire":
                expired |= {held.marker for held in world.standing()}
                world.expire_by_hand()
            case "extend":
                world.live["metadata"]["annotations"] = {"upkeep.dev/extend": value}
            case "silence" if value is None:
                world.edit(silence=None)
            case "silence":
                world.edit(silence={**SILENCE, "matchers": [{"name": "alertname", "value": value}]})
        standing = [held.marker for held in world.standing()]
        assert len(standing) == len(set(standing)), "two silences for one opening"
        assert not expired.intersection(standing), "made again what somebody had expired"
        for held in world.silences.values():
            opening = read_instant(held.marker.rpartition("/")[2])
            assert opening <= held.start <= held.end <= opening + minutes(90)
    world.answers = True
    world.wait(minutes(125))
    assert all(held.start > world.now - minutes(90) for held in world.standing())
    closed = world.occurrence.get("closedAt")
    assert not (closed and world.standing()), "closed, and still silent"


class TestMatchers:
    @pytest.mark.parametrize(
        "matcher",
        [
            {"name": "alertname", "value": "ShopDown"},
            {"name": "alertname", "value": "Shop.*", "isRegex": True},
            {"name": "alertname", "value": "ShopDown|ShopSlow", "isRegex": True},
        ],
    )
    def test_one_that_picks_out_alerts_is_enough(self, matcher: dict[str, Any]) -> None:
        others = [{"name": "severity", "value": "page", "isEqual": False}]

        assert Silence.model_validate({"alertmanager": "main", "matchers": [matcher, *others]})

    @pytest.mark.parametrize(
        "matchers",
        [
            [],
            [{"name": "alertname", "value": ""}],
            [{"name": "alertname", "value": ".*", "isRegex": True}],
            [{"name": "alertname", "value": ".+", "isRegex": True}],
            [{"name": "alertname", "value": "(.|x)*", "isRegex": True}],
            [{"name": "alertname", "value": "[a-zA-Z0-9]+", "isRegex": True}],
            [{"name": "team", "value": "|shop", "isRegex": True}],
            [{"name": "severity", "value": "page", "isEqual": False}],
            [{"name": "severity", "value": "page|info", "isEqual": False, "isRegex": True}],
            [
                {"name": "alertname", "value": ".*", "isRegex": True},
                {"name": "severity", "value": "", "isEqual": False},
            ],
        ],
    )
    def test_what_would_silence_just_anything_is_refused(self, matchers: list[dict[str, Any]]) -> None:
        with pytest.raises(ValidationError, match=r"silence just any alert|at least 1 item"):
            Silence.model_validate({"alertmanager": "main", "matchers": matchers})
