"""Alerts that come to fire after a window: each is said once, and who does not answer is not taken to be quiet."""

from datetime import timedelta
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.alertworld import AlertWorld
from unit.domain.cluster import BAD, GOOD, at, minutes, said
from upkeep.api.window import WindowSpec
from upkeep.api.window.status import MAX_ALERTS

ALERTS: Final = {"alertmanager": "main", "matchers": [{"name": "severity", "value": "critical"}]}
CHECK: Final = [{"name": "up", "httpCheck": {"url": "http://web/healthz"}}]
SECONDS: Final = timedelta(seconds=1)
UNHEALTHY: Final = "UnhealthyAfterMaintenance"
CAUSE: Final = "; the probable cause is the maintenance of 2026-03-02T02:00:00Z, which closed at 2026-03-02T02:00:20Z"


def watched(*, steps: bool = False, **attributes: Any) -> AlertWorld:  # noqa: ANN401
    """A window from two o'clock that is over after twenty seconds, and watched for half an hour."""
    checks = {"steps": CHECK, "interval": "5m"} if steps else {}
    watch = {"duration": "30m", "noFiringAlerts": ALERTS, **checks}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "plan": {"tasks": [{"name": "a"}]}, "watch": watch}
    return AlertWorld(now=at("01:55"), spec=spec, **attributes)


def healthy(world: AlertWorld) -> tuple[str, str, str]:
    found = next(each for each in world.status["conditions"] if each["type"] == "Healthy")
    return found["status"], found["reason"], found.get("message", "")


def test_where_none_comes_to_fire_all_is_well_and_nothing_is_said() -> None:
    world = watched()

    world.wait(minutes(20))
    assert world.status["phase"] == "Watching"
    world.wait(minutes(40))

    assert healthy(world)[:2] == ("True", "NoAlertsFiring")
    assert said(world.events, UNHEALTHY) == []
    assert world.status["phase"] == "Scheduled"


def test_an_alert_that_comes_to_fire_is_said_once_with_the_window_as_the_probable_cause() -> None:
    world = watched()
    world.wait(minutes(10))
    world.firing = ["ShopDown", "ShopSlow"]
    world.wait(minutes(5))
    world.firing = ["ShopDown", "ShopSlow", "DiskFull"]

    world.wait(minutes(5))

    assert said(world.events, UNHEALTHY) == [
        f"2 alerts fire: ShopDown, ShopSlow{CAUSE}",
        f"an alert fires: DiskFull{CAUSE}",
    ]
    assert healthy(world) == ("False", "AlertsFiring", f"3 alerts fire: DiskFull, ShopDown, ShopSlow{CAUSE}")


def test_when_they_are_resolved_that_is_said_and_one_that_comes_back_is_no_news() -> None:
    world = watched()
    world.wait(minutes(10))
    for firing in (["ShopDown"], [], ["ShopDown"]):
        world.firing = firing
        world.wait(minutes(2))

    assert len(said(world.events, UNHEALTHY)) == 1
    assert said(world.events, "HealthyAgain") == ["the alerts that came to fire are resolved"]
    assert healthy(world)[:2] == ("False", "AlertsFiring")


def test_what_fired_before_it_opened_is_not_its_doing_and_what_it_silenced_is() -> None:
    world = watched(firing=["Old"])
    world.since = {"Old-0": at("01:00"), "Silenced-0": at("02:00") + 10 * SECONDS}
    world.wait(minutes(7))
    world.firing = ["Old", "Silenced"]

    world.wait(minutes(5))

    assert said(world.events, UNHEALTHY) == [f"an alert fires: Silenced{CAUSE}"]


def test_an_alertmanager_that_does_not_answer_is_unknown_and_said_once() -> None:
    world = watched(answers=False)

    world.wait(minutes(10))
    unknown = healthy(world)
    world.answers = True
    world.wait(minutes(5))

    assert unknown == ("Unknown", "AlertsUnknown", "nobody knows which alerts fire: main does not answer")
    assert said(world.events, "AlertsUnknown") == ["nobody knows which alerts fire: main does not answer"]
    assert healthy(world)[:2] == ("True", "NoAlertsFiring")


def test_one_that_nobody_has_configured_is_named() -> None:
    world = watched(configured=("other",))

    world.wait(minutes(10))

    assert healthy(world)[:2] == ("Unknown", "AlertsUnknown")
    assert "Alertmanager 'main' is not configured (configured: other)" in healthy(world)[2]


def test_checks_that_pass_do_not_hide_alerts_nor_an_alertmanager_that_is_silent() -> None:
    world = watched(steps=True, answers=False)
    world.wait(minutes(8))
    unknown = healthy(world)[:2]
    world.answers, world.firing = True, ["ShopDown"]
    world.wait(minutes(8))

    assert (unknown, healthy(world)[:2]) == (("Unknown", "AlertsUnknown"), ("False", "AlertsFiring"))


def test_checks_that_fail_and_alerts_that_fire_are_said_together() -> None:
    world = watched(steps=True)
    world.wait(minutes(6))
    world.outcomes["sunday"], world.firing = (5 * SECONDS, BAD), ["ShopDown"]

    world.wait(minutes(8))

    assert healthy(world) == ("False", "ChecksFailed", f"it broke; an alert fires: ShopDown{CAUSE}")


def test_nobody_is_asked_before_it_has_closed_nor_after_the_watch() -> None:
    world = watched(outcomes={"a": (minutes(20), GOOD)})
    world.wait(minutes(24))
    before = world.asked
    world.wait(minutes(32))
    meanwhile = world.asked
    world.wait(minutes(120))

    assert (before, world.asked) == (0, meanwhile)
    assert meanwhile > 100


def test_of_a_storm_of_alerts_as_many_are_kept_as_a_status_holds() -> None:
    world = watched()
    world.wait(minutes(6))
    world.firing = [f"Alert{number:03}" for number in range(MAX_ALERTS + 9)]

    world.wait(minutes(10))

    assert len(world.occurrence["watch"]["alerts"]) == MAX_ALERTS
    (message,) = said(world.events, UNHEALTHY)
    assert message.startswith("50 alerts fire: Alert000, Alert001, Alert002, Alert003, Alert004 and 45 others")


def test_a_watch_of_alerts_needs_no_checks() -> None:
    spec = {"schedule": "0 2 * * *", "duration": "1h", "watch": {"noFiringAlerts": ALERTS}}

    assert WindowSpec.model_validate(spec).watch


moments = st.tuples(
    st.booleans(), st.booleans(), st.lists(st.sampled_from(["Down", "Slow", "Full"]), unique=True), st.integers(1, 90)
)


@settings(max_examples=30, deadline=None)
@given(course=st.lists(moments, min_size=1, max_size=6))
def test_whatever_happens_no_alert_is_said_twice_and_none_that_was_seen_is_forgotten(
    course: list[tuple[bool, bool, list[str], int]],
) -> None:
    world, seen = watched(), set[str]()
    world.wait(minutes(6))
    for answers, crash, firing, seconds in course:
        world.answers, world.firing = answers, firing
        if crash:
            world.act(crash_after=0)
        world.wait((15 + seconds) * SECONDS)
        seen |= set(firing) if answers else set()
        assert answers == (healthy(world)[1] != "AlertsUnknown") or healthy(world)[0] == "False"

    named = [name for event in said(world.events, UNHEALTHY) for name in ("Down", "Slow", "Full") if name in event]
    assert sorted(named) == sorted(seen)
