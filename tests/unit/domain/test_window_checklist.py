"""What people do by hand before, during and after an opening: what waits for their ticks, and who gave them."""

from datetime import timedelta
from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.cluster import at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.window import WindowSpec

FIRST: Final = "2026-03-02T02:00:00Z"
SECOND: Final = "2026-03-03T02:00:00Z"
CHECKLIST: Final[dict[str, Any]] = {
    "before": [{"name": "backup-seen", "description": "The backup of tonight is there."}],
    "during": [{"name": "disk-swapped"}, {"name": "photo-taken", "required": False}],
    "after": [{"name": "team-told"}],
}

PAGE: Final[dict[str, Any]] = {"maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}]}}


def world(checklist: dict[str, Any] | None = None, **spec: Any) -> WindowWorld:  # noqa: ANN401 - fields of a spec
    usual = {"schedule": "0 2 * * *", "duration": "1h", "checklist": checklist or CHECKLIST}
    return WindowWorld(now=at("01:30"), spec={**usual, **spec}, ingresses={"web": ingress("web")})


def ticks(found: WindowWorld) -> dict[str, str | None]:
    return {item["name"]: item.get("tickedBy") for item in found.status["checklist"]}


def condition(found: WindowWorld) -> tuple[str, str, str]:
    (complete,) = [each for each in found.status["conditions"] if each["type"] == "ChecklistComplete"]
    return complete["status"], complete["reason"], complete["message"]


class TestBefore:
    def test_the_window_waits_for_what_is_not_ticked(self) -> None:
        waiting = world()
        waiting.wait(minutes(35))

        assert "openedAt" not in waiting.occurrence
        assert waiting.occurrence["waitingFor"] == "ChecklistIncomplete"
        (held,) = said(waiting.events, "WindowHeld")
        assert f"kubectl upkeep tick sunday backup-seen -n shop --occurrence {FIRST}" in held

        waiting.tick("dora", "backup-seen", FIRST)
        waiting.wait(minutes(1))
        assert waiting.occurrence["openedAt"] == "2026-03-02T02:05:00Z"

    @pytest.mark.parametrize(("cutoff", "until"), [("0s", 90), ("20m", 70), ("3h", 30)])
    def test_it_is_skipped_when_there_is_no_time_left(self, cutoff: str, until: int) -> None:
        waiting = world(cutoff=cutoff)
        waiting.wait(minutes(until - 0.1))
        assert "history" not in waiting.status
        waiting.wait(minutes(0.1))

        (record,) = waiting.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "ChecklistIncomplete")
        assert "backup-seen" in record["message"]

    def test_a_tick_for_another_opening_is_none_for_this_one(self) -> None:
        waiting = world()
        waiting.tick("dora", "backup-seen", SECOND)
        waiting.wait(minutes(40))

        assert "openedAt" not in waiting.occurrence

    def test_where_ticks_could_be_forged_none_counts(self) -> None:
        unguarded = world()
        unguarded.approvals_trusted = False
        unguarded.tick("dora", "backup-seen", FIRST)
        unguarded.wait(minutes(40))

        assert "openedAt" not in unguarded.occurrence
        assert "approval.policy.enabled=true" in condition(unguarded)[2]

    def test_what_is_not_required_is_not_waited_for(self) -> None:
        free = world({"before": [{"name": "coffee", "required": False}]})
        free.wait(minutes(40))

        assert "openedAt" in free.occurrence
        assert ticks(free) == {"coffee": None}


class TestDuring:
    @pytest.mark.parametrize("mode", [{}, PAGE], ids=["without a page", "with a page"])
    def test_the_window_stays_open_until_it_is_ticked(self, mode: dict[str, Any]) -> None:
        opened = world(**mode)
        opened.tick("dora", "backup-seen", FIRST)
        opened.wait(minutes(40))
        assert opened.status["phase"] == "Active"
        assert opened.occurrence["waitingFor"] == "ChecklistIncomplete"
        assert len(said(opened.events, "ChecklistIncomplete")) == 1

        opened.tick("emil", "disk-swapped", FIRST)
        opened.wait(minutes(1))

        assert opened.occurrence["closedAt"] == "2026-03-02T02:10:00Z"
        assert "waitingFor" not in opened.occurrence
        assert opened.status["lastRun"]["outcome"] == "ok"

    def test_the_verification_comes_after_what_people_do(self) -> None:
        health = {"steps": [{"name": "answers", "httpCheck": {"url": "http://web/"}}]}
        opened = world(verify=health)
        opened.tick("dora", "backup-seen", FIRST)
        opened.wait(minutes(40))
        assert opened.started == []

        opened.tick("emil", "disk-swapped", FIRST)
        opened.wait(minutes(1))

        assert [f"{when:%H:%M}" for when, _ in opened.started] == ["02:10"]

    def test_what_is_left_open_at_the_end_is_named_in_the_result(self) -> None:
        opened = world()
        opened.tick("dora", "backup-seen", FIRST)
        opened.wait(minutes(95))

        assert opened.occurrence["leftOpen"] == ["disk-swapped"]
        assert opened.status["lastRun"]["outcome"] == "failed"
        assert opened.status["lastRun"]["reason"] == "ChecklistIncomplete"
        assert "left open: disk-swapped" in opened.status["lastRun"]["message"]


class TestAfter:
    def closed(self) -> WindowWorld:
        over = world()
        over.tick("dora", "backup-seen", FIRST)
        over.tick("emil", "disk-swapped", FIRST)
        over.wait(minutes(35))
        return over

    def test_it_is_shown_as_open_and_nothing_waits_for_it(self) -> None:
        over = self.closed()

        assert over.status["lastRun"]["outcome"] == "ok"
        assert condition(over)[:2] == ("False", "ItemsOpen")
        assert "team-told (after)" in condition(over)[2]

    def test_it_can_be_ticked_when_all_is_over(self) -> None:
        over = self.closed()
        over.tick("dora", "team-told", FIRST)
        over.wait(minutes(1))

        assert ticks(over)["team-told"] == "dora"
        assert said(over.events, "ItemTicked")[-1] == f"dora ticked team-told for the opening of {FIRST}"

    def test_who_ticked_what_is_known_until_the_next_opening(self) -> None:
        over = self.closed()
        over.tick("fritz", "backup-seen", SECOND)
        over.live["metadata"]["annotations"].pop("checklist.upkeep.dev/disk-swapped")
        over.wait(minutes(5))

        states = {item["name"]: (item["occurrence"], item.get("tickedBy")) for item in over.status["checklist"]}
        assert states["backup-seen"] == (SECOND, "fritz")
        assert states["disk-swapped"] == (FIRST, "emil")

        over.wait(timedelta(days=1))
        assert {item["occurrence"] for item in over.status["checklist"] if item["moment"] == "During"} == {SECOND}


def test_a_tick_may_be_taken_back_while_the_window_is_open() -> None:
    opened = world()
    opened.tick("dora", "backup-seen", FIRST)
    opened.wait(minutes(35))
    assert ticks(opened)["backup-seen"] == "dora"

    opened.live["metadata"]["annotations"] = {}
    opened.wait(minutes(1))

    assert ticks(opened)["backup-seen"] is None
    assert opened.status["phase"] == "Active"


def test_a_user_name_may_have_an_at_sign() -> None:
    opened = world()
    opened.tick("dora@example.com", "backup-seen", FIRST)
    opened.wait(minutes(35))

    assert ticks(opened)["backup-seen"] == "dora@example.com"


def test_when_a_tick_was_seen_is_kept() -> None:
    opened = world()
    opened.wait(minutes(5))
    opened.tick("dora", "backup-seen", FIRST)
    opened.wait(minutes(40))

    assert opened.status["checklist"][0]["tickedAt"] == "2026-03-02T01:35:00Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"before": [{"name": "twice"}], "after": [{"name": "twice"}]},
        {"during": [{"name": "twice"}, {"name": "twice"}]},
        {"before": [{"name": "Not a label"}]},
        {"before": [{"name": "x" * 64}]},
        {"befor": []},
    ],
    ids=["in two parts", "in one part", "not a label", "too long", "misspelt"],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WindowSpec.model_validate({"schedule": "0 2 * * *", "duration": "1h", "checklist": wrong})
