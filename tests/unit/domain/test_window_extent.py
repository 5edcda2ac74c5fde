"""How long an opening lasts: to its end where it is there for its page alone, and as long as the spec says now."""

from datetime import UTC, datetime, timedelta
from typing import Any

from unit.domain.windowworld import WindowWorld, ingress
from upkeep.domain.instants import write_instant

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAGE: dict[str, Any] = {"maintenanceMode": {"targets": [{"name": "web"}]}}


def emergency(**spec: Any) -> WindowWorld:  # noqa: ANN401 - any field of a spec
    """A window that opens at noon, as soon as it is there, with an Ingress."""
    return WindowWorld(
        now=NOON, spec={"urgency": "Emergency", "duration": "30m", **PAGE, **spec}, ingresses={"web": ingress("web")}
    )


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def ends_at(world: WindowWorld, moment: datetime) -> bool:
    return bool(world.occurrence["endTime"] == write_instant(moment))


def test_a_window_that_is_there_for_its_page_alone_lasts_until_its_end() -> None:
    world = emergency()

    world.wait(minutes(29))
    assert (world.swapped(), world.status["phase"]) == (["web"], "Active")
    world.wait(minutes(1.1))

    assert (world.swapped(), world.status["phase"]) == ([], "Completed")
    assert world.status["lastRun"]["outcome"] == "ok"


def test_it_lasts_longer_when_its_duration_grows_and_the_page_says_so() -> None:
    world = emergency()
    world.wait(minutes(10))
    shown = world.pages_shown

    world.edit(duration="1h")
    world.wait(minutes(49))

    assert ends_at(world, NOON + minutes(60))
    assert world.swapped() == ["web"]
    assert world.pages_shown == shown + 1


def test_it_is_over_at_once_when_its_duration_has_passed_already() -> None:
    world = emergency()
    world.wait(minutes(10))

    world.edit(duration="9m")
    world.wait(minutes(1))

    assert (world.swapped(), world.status["phase"]) == ([], "Completed")


def test_an_opening_that_the_schedule_does_not_know_any_more_keeps_its_end() -> None:
    world = WindowWorld(
        now=NOON, spec={"schedule": "5 12 * * *", "duration": "30m", **PAGE}, ingresses={"web": ingress("web")}
    )
    world.wait(minutes(10))

    world.edit(schedule="0 13 * * *", duration="1h")
    world.wait(minutes(1))

    assert ends_at(world, NOON + minutes(35))


def test_other_words_are_shown_while_it_is_open() -> None:
    world = emergency()
    world.wait(minutes(10))
    shown = world.pages_shown

    world.edit(maintenanceMode={**PAGE["maintenanceMode"], "page": {"title": "It takes longer"}})
    world.wait(minutes(10))

    assert world.pages_shown == shown + 1
    assert world.swapped() == ["web"]


def branded() -> WindowWorld:
    mode = {**PAGE["maintenanceMode"], "page": {"branding": {"configMapName": "our-brand"}}}
    return emergency(maintenanceMode=mode)


def test_a_branding_that_is_missing_is_said_and_stops_nothing() -> None:
    world = branded()

    world.wait(minutes(1))

    ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "BrandingNotFound")
    assert "ConfigMap 'our-brand' does not exist in this namespace: create it" in ready["message"]
    assert world.swapped() == ["web"]


def test_what_cannot_be_used_of_a_branding_is_said() -> None:
    world = branded()
    world.branding = {"data": {"accentColor": "red"}, "binaryData": {"logo.png": "bm8gcGljdHVyZQ=="}}

    world.wait(minutes(1))

    ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    assert ready["reason"] == "BrandingNotUsable"
    assert "accentColor 'red' is no colour: write it as #0b7285" in ready["message"]
    assert "logo.png is no image/png picture" in ready["message"]
