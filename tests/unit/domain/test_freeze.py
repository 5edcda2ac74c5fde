"""A freeze keeps windows shut in its namespace and in those that it is shared with, and tells when it lasts."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import GOOD, Object, at, minutes, resource
from unit.domain.windowworld import WindowWorld
from upkeep.api.window import Request, Urgency
from upkeep.domain.freeze import Freeze, freezes_of, frost_at, speaks_for
from upkeep.domain.instants import read_instant

NIGHT: Final[dict[str, Any]] = {"schedule": "0 2 * * *", "duration": "10m", "plan": {"tasks": [{"name": "clean"}]}}
SALE: Final[dict[str, Any]] = {
    "kind": "Freeze",
    "startAt": "2026-03-02T01:00:00Z",
    "duration": "2h",
    "reason": "sale of the year",
}


def freeze(name: str = "sale", namespace: str = "platform", **spec: object) -> Object:
    item = resource("MaintenanceWindow", {**SALE, **spec}, created=at("00:00"), name=name)
    item["metadata"]["namespace"] = namespace
    return item


def night(*freezes: Object, **spec: object) -> WindowWorld:
    return WindowWorld(now=at("00:30"), spec={**NIGHT, **spec}, freezes=list(freezes))


def said(world: WindowWorld) -> list[tuple[str, str]]:
    return [(event.reason, event.message) for event in world.events]


def test_an_opening_that_starts_in_a_freeze_is_skipped_and_says_why() -> None:
    world = night(freeze())

    world.wait(minutes(120))

    (record,) = world.status["history"]
    assert (record["ending"], record["reason"]) == ("Skipped", "Frozen")
    assert record["message"] == "frozen by platform/sale until 2026-03-02T03:00:00Z: sale of the year"
    assert "SkippedFrozen" in {reason for reason, _ in said(world)}
    assert not world.started


def test_a_freeze_ends_at_its_end_not_a_second_later() -> None:
    world = night(freeze(startAt="2026-03-02T00:00:00Z"))

    world.wait(minutes(120))

    assert [start.owner.name for _, start in world.started] == ["clean"]


def test_a_freeze_forbids_from_its_first_second_on() -> None:
    world = night(freeze(startAt="2026-03-02T02:00:00Z"))

    world.wait(minutes(120))

    assert not world.started


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"duration": "long"},
        {"kind": "Maintenance", "reason": ""},
        {"exclusions": [{"from": "2026-03-02"}]},
    ],
    ids=["suspended", "unreadable", "no freeze", "excluded"],
)
def test_what_is_no_freeze_now_forbids_nothing(change: dict[str, Any]) -> None:
    world = night(freeze(**change))

    world.wait(minutes(120))

    assert world.started


def test_an_emergency_opens_in_a_freeze_that_allows_it_and_in_no_other() -> None:
    emergency = {"urgency": "Emergency", "schedule": None, "startAt": "2026-03-02T02:00:00Z"}
    spec = {name: value for name, value in {**NIGHT, **emergency}.items() if value}
    strict, lenient = freeze(), freeze(allowEmergency=True)
    outcomes = []
    for freezes in ([lenient], [strict], [lenient, strict]):
        world = WindowWorld(now=at("00:30"), spec=spec, freezes=freezes)
        world.wait(minutes(120))
        outcomes.append(bool(world.started))

    assert outcomes == [True, False, False]


def test_of_several_freezes_the_one_that_ends_last_is_named() -> None:
    found = freezes_of([freeze("short", duration="1h30m"), freeze("long", duration="3h"), freeze("other")])

    frost = frost_at(found, at("02:00"), urgency=Urgency.PLANNED)

    assert frost
    assert (frost.freeze, frost.until) == ("platform/long", at("04:00"))


def test_a_freeze_speaks_for_its_namespace_and_those_that_it_is_shared_with() -> None:
    alone, some, everywhere = freeze(), freeze(sharedWith=["shop"]), freeze(sharedWith=["*"])

    spoken_for = [
        [speaks_for(item, name) for name in ("platform", "shop", "bank")] for item in (alone, some, everywhere)
    ]

    assert spoken_for == [[True, False, False], [True, True, False], [True, True, True]]


def test_a_freeze_that_is_declared_while_the_window_waits_for_its_page_keeps_it_shut() -> None:
    mode = {"targets": [{"kind": "Ingress", "name": "web"}]}
    world = night(maintenanceMode=mode)
    world.warm_up = None
    world.wait(minutes(92))
    assert world.occurrence["startTime"] == "2026-03-02T02:00:00Z"

    world.freezes.append(freeze())
    world.wait(minutes(1))

    assert world.status["history"][0]["reason"] == "Frozen"
    assert not world.started


def test_once_a_freeze_begins_an_open_window_starts_nothing_more_until_it_ends() -> None:
    tasks = [{"name": name} for name in ("first", "second", "third")]
    short = freeze(startAt="2026-03-02T02:00:30Z", duration="5m")
    world = night(short, duration="1h", plan={"tasks": tasks})
    world.outcomes = {name: (minutes(1), GOOD) for name in ("first", "second", "third")}

    world.wait(minutes(92))
    waiting = world.task_states()
    world.wait(minutes(10))

    assert waiting["second"] == ("Waiting", "Frozen")
    assert [f"{started:%H:%M:%S}" for started, _ in world.started] == ["02:00:00", "02:05:30", "02:06:30"]
    assert world.status["lastRun"]["outcome"] == "ok"


class TestTheLifeOfAFreeze:
    def test_it_says_when_it_begins_that_it_lasts_and_when_it_ends(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)

        world.wait(minutes(29))
        assert world.status["phase"] == "Scheduled"
        assert world.status["nextScheduleTime"] == "2026-03-02T01:00:00Z"
        world.wait(minutes(60))
        assert world.status["phase"] == "Frozen"
        assert world.occurrence["endTime"] == "2026-03-02T03:00:00Z"
        world.wait(minutes(120))

        assert world.status["phase"] == "Completed"
        assert said(world) == [
            ("FreezeBegan", "no maintenance begins until 2026-03-02T03:00:00Z: sale of the year"),
            ("FreezeEnded", "maintenance may begin again"),
        ]
        assert [(each["ending"], each["outcome"]) for each in world.status["history"]] == [("Ran", "ok")]

    def test_one_that_is_declared_in_its_midst_lasts_at_once(self) -> None:
        recurring = {"kind": "Freeze", "schedule": "0 0 * * *", "duration": "12h"}
        world = WindowWorld(now=at("09:00"), spec=recurring)

        world.act()

        assert world.status["phase"] == "Frozen"
        assert world.occurrence["startTime"] == "2026-03-02T00:00:00Z"

    def test_suspending_ends_it_and_resuming_lets_it_go_on(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)
        world.wait(minutes(60))

        world.edit(suspend=True)
        world.wait(minutes(5))
        suspended = world.status["phase"]
        world.edit(suspend=False)
        world.wait(minutes(5))

        assert (suspended, world.status["phase"]) == ("Suspended", "Frozen")
        assert [reason for reason, _ in said(world)] == ["FreezeBegan", "FreezeEnded", "FreezeBegan"]

    def test_a_longer_duration_moves_its_end(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)
        world.wait(minutes(60))

        world.edit(duration="5h")
        world.wait(minutes(120))

        assert world.status["phase"] == "Frozen"
        assert world.occurrence["endTime"] == "2026-03-02T06:00:00Z"

    def test_one_that_passed_while_nobody_was_there_is_accounted_for(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)
        world.act()

        world.sleep(minutes(240))
        world.wait(minutes(1))

        assert [each["reason"] for each in world.status["history"]] == ["OperatorDown"]

    def test_every_occurrence_of_a_recurring_one_is_accounted_for_once(self) -> None:
        world = WindowWorld(now=at("00:30"), spec={"kind": "Freeze", "schedule": "0 * * * *", "duration": "90m"})

        world.wait(timedelta(hours=5))

        due = [each["scheduledTime"][11:16] for each in world.status["history"]]
        assert due == ["04:00", "03:00", "02:00", "01:00", "00:00"]
        assert world.status["phase"] == "Frozen"

    def test_its_status_is_not_written_while_nothing_happens(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)
        world.wait(minutes(60))
        before = dict(world.status)

        world.sleep(minutes(20))
        world.act()

        assert world.status == before

    @pytest.mark.parametrize("request_", [request.annotation for request in Request])
    def test_what_can_be_asked_of_a_window_is_refused(self, request_: str) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE)
        world.wait(minutes(60))

        world.live["metadata"]["annotations"] = {request_: "1h"}
        world.wait(minutes(1))

        assert world.status["phase"] == "Frozen"
        (refused,) = [message for reason, message in said(world) if reason == "RequestRefused"]
        assert refused.endswith("it is a freeze: change its spec, suspend it, or delete it")

    def test_a_freeze_is_not_frozen_by_another(self) -> None:
        world = WindowWorld(now=at("00:30"), spec=SALE, freezes=[freeze("other", startAt="2026-03-02T00:00:00Z")])

        world.wait(minutes(60))

        assert world.status["phase"] == "Frozen"


def test_a_window_that_is_no_freeze_is_none() -> None:
    assert Freeze.of(resource("MaintenanceWindow", NIGHT, created=at("00:00"))) is None


DEEDS: Final = [
    *(("wait", minutes(length)) for length in (1, 29, 61, 200)),
    *(("sleep", minutes(length)) for length in (5, 90, 400)),
    ("crash", minutes(0)),
    *(("edit", change) for change in ({"suspend": True}, {"suspend": False}, {"duration": "20m"}, {"duration": "3h"})),
    *(("edit", {"schedule": cron}) for cron in ("0 * * * *", "30 */2 * * *")),
]


@settings(max_examples=40, deadline=None)
@given(life=st.lists(st.sampled_from(DEEDS), max_size=12))
def test_whatever_happens_its_phase_says_what_its_spec_forbids(life: list[tuple[str, Any]]) -> None:
    world = WindowWorld(now=at("00:30"), spec={"kind": "Freeze", "schedule": "0 */2 * * *", "duration": "45m"})
    for deed, detail in life:
        match deed:
            case "wait":
                world.wait(detail)
            case "sleep":
                world.sleep(detail)
            case "crash":
                world.act(crash_after=0)
            case "edit":
                world.edit(**detail)
    world.wait(timedelta(seconds=1))

    known = Freeze.of(world.live)
    lasting = known.opening_at(world.now) if known else None
    assert (world.status["phase"] == "Frozen") == (lasting is not None)
    if lasting:
        assert read_instant(world.occurrence["endTime"]) == lasting.end
    begun, ended = (sum(event.reason == reason for event in world.events) for reason in ("FreezeBegan", "FreezeEnded"))
    assert begun - ended == (lasting is not None)
