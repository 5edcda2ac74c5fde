"""A window that needs an approval opens only when a named person has approved just this opening of just this window."""

from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unit.domain.cluster import GOOD, at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.window import WindowSpec, WindowStatus
from upkeep.domain.decision import Decision, StartRun
from upkeep.domain.instants import write_instant
from upkeep.domain.window.approval import Endorsement

FIRST: Final = "2026-03-02T02:00:00Z"
SECOND: Final = "2026-03-03T02:00:00Z"
SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "1h",
    "approval": {"required": True},
    "change": {"reason": "new disks", "risk": "High", "ticket": "CHG-7"},
    "plan": {"tasks": [{"name": "clean"}, {"name": "swap", "dependsOn": ["clean"]}]},
}
EMERGENCY: Final = {**{key: value for key, value in SPEC.items() if key != "schedule"}, "urgency": "Emergency"}
PAGE: Final[dict[str, Any]] = {"maintenanceMode": {"targets": [{"kind": "Ingress", "name": "web"}]}}


def world(**spec: Any) -> WindowWorld:  # noqa: ANN401 - fields of a spec
    return WindowWorld(now=at("01:30"), spec={**SPEC, **spec}, ingresses={"web": ingress("web")})


def condition(found: WindowWorld) -> tuple[str, str]:
    (approved,) = [each for each in found.status["conditions"] if each["type"] == "Approved"]
    return approved["status"], approved["reason"]


def message(found: WindowWorld) -> str:
    (approved,) = [each for each in found.status["conditions"] if each["type"] == "Approved"]
    text: str = approved["message"]
    return text


class TestWithoutApproval:
    def test_it_says_that_it_waits_and_how_to_approve(self) -> None:
        waiting = world()
        waiting.wait(minutes(1))

        assert waiting.status["phase"] == "AwaitingApproval"
        assert waiting.status["approval"] == {"occurrence": FIRST}
        assert condition(waiting) == ("False", "AwaitingApproval")
        for part in (
            f"upkeep.dev/approved-occurrence={FIRST} upkeep.dev/approved-generation=1",
            f"kubectl upkeep approve sunday -n shop --occurrence {FIRST}",
            "What for: CHG-7, High risk, new disks.",
        ):
            assert part in message(waiting)

    @pytest.mark.parametrize("mode", [{}, PAGE], ids=["without a page", "with a page"])
    def test_it_is_skipped_at_its_start_and_that_is_said(self, mode: dict[str, Any]) -> None:
        waiting = world(**mode)
        waiting.wait(minutes(30))

        (record,) = waiting.status["history"]
        assert (record["ending"], record["reason"]) == ("Skipped", "NotApproved")
        assert record["scheduledTime"] == FIRST
        assert said(waiting.events, "SkippedNotApproved")
        assert waiting.started == []
        assert waiting.pages_shown == 0

    def test_the_next_opening_waits_for_an_approval_of_its_own(self) -> None:
        waiting = world()
        waiting.wait(minutes(31))

        assert waiting.status["phase"] == "AwaitingApproval"
        assert waiting.status["approval"] == {"occurrence": SECOND}

    def test_an_emergency_may_be_approved_as_long_as_it_could_be_open(self) -> None:
        waiting = WindowWorld(now=at("02:00"), spec=EMERGENCY)
        waiting.wait(minutes(20))
        assert waiting.status["phase"] == "AwaitingApproval"

        waiting.approve("alice", FIRST)
        waiting.wait(minutes(1))

        assert waiting.occurrence["openedAt"] == "2026-03-02T02:20:00Z"

    def test_an_emergency_that_nobody_approves_is_skipped_at_its_end(self) -> None:
        waiting = WindowWorld(now=at("02:00"), spec=EMERGENCY)
        waiting.wait(minutes(61))

        assert waiting.status["history"][0]["reason"] == "NotApproved"

    def test_what_is_started_by_hand_may_be_approved_as_long_as_it_could_be_open(self) -> None:
        asked = world()
        asked.wait(minutes(1))
        asked.live["metadata"]["annotations"] = {"upkeep.dev/start-now": "1"}
        asked.wait(minutes(5))
        assert asked.status["phase"] == "AwaitingApproval"
        assert asked.status["approval"] == {"occurrence": "2026-03-02T01:31:00Z"}

        asked.approve("alice", "2026-03-02T01:31:00Z")
        asked.wait(minutes(1))

        assert asked.occurrence["openedAt"] == "2026-03-02T01:36:00Z"


class TestApproved:
    def test_it_opens_and_names_who_approved_it_and_when(self) -> None:
        approved = world(**PAGE)
        approved.wait(minutes(5))
        approved.approve("alice@example.com", FIRST)
        approved.wait(minutes(20))
        assert approved.status["phase"] == "Scheduled"
        assert condition(approved) == ("True", "Approved")
        approved.wait(minutes(60))

        assert approved.occurrence["approvedBy"] == "alice@example.com"
        assert approved.occurrence["approvedAt"] == "2026-03-02T01:35:00Z"
        assert approved.status["history"][0]["message"].endswith("approved by alice@example.com")
        assert said(approved.events, "Approved") == [f"alice@example.com approved the opening of {FIRST}"]

    @pytest.mark.parametrize(
        "annotations",
        [
            {"upkeep.dev/approved-by": "alice"},
            {"upkeep.dev/approved-by": "alice", "upkeep.dev/approved-occurrence": FIRST},
            {"upkeep.dev/approved-occurrence": FIRST, "upkeep.dev/approved-generation": "1"},
        ],
        ids=["name only", "no generation", "no name"],
    )
    def test_a_part_of_an_approval_is_none(self, annotations: dict[str, str]) -> None:
        partly = world()
        partly.live["metadata"]["annotations"] = annotations
        partly.wait(minutes(40))

        assert partly.status["history"][0]["reason"] == "NotApproved"

    def test_an_approval_of_another_opening_does_not_open_this_one(self) -> None:
        other = world()
        other.approve("alice", SECOND)
        other.wait(minutes(40))
        assert other.status["history"][0]["reason"] == "NotApproved"
        assert condition(other) == ("True", "Approved")

        other.wait(timedelta(days=1))

        assert other.occurrence["startTime"] == SECOND
        assert "openedAt" in other.occurrence

    def test_an_approval_does_not_open_the_next_one_as_well(self) -> None:
        once = world()
        once.approve("alice", FIRST)
        once.wait(timedelta(days=2))

        assert [record["ending"] for record in once.status["history"]] == ["Skipped", "Ran"]

    def test_a_change_of_the_window_asks_for_an_approval_again(self) -> None:
        changed = world()
        changed.approve("alice", FIRST)
        changed.wait(minutes(5))
        changed.edit(plan={"tasks": [{"name": "clean"}]})
        changed.wait(minutes(5))

        assert changed.status["phase"] == "AwaitingApproval"
        assert condition(changed) == ("False", "ChangedSinceApproval")
        assert said(changed.events, "ChangedSinceApproval")

        changed.approve("bob", FIRST)
        changed.wait(minutes(25))
        assert changed.occurrence["approvedBy"] == "bob"

    def test_an_approval_that_is_taken_back_before_the_start_counts_no_more(self) -> None:
        withdrawn = world(**PAGE)
        withdrawn.approve("alice", FIRST)
        withdrawn.wait(minutes(29.5))
        assert withdrawn.page is not None
        withdrawn.live["metadata"]["annotations"] = {}
        withdrawn.wait(minutes(10))

        assert withdrawn.status["history"][0]["reason"] == "NotApproved"
        assert withdrawn.page is None
        assert withdrawn.swapped() == []

    def test_only_those_who_are_listed_count(self) -> None:
        listed = world(approval={"approvers": ["bob", "carol"]})
        listed.approve("alice", FIRST)
        listed.wait(minutes(1))
        assert condition(listed) == ("False", "ApproverNotListed")
        assert "bob, carol can" in message(listed)

        listed.approve("carol", FIRST)
        listed.wait(minutes(40))

        assert listed.occurrence["approvedBy"] == "carol"

    def test_where_approvals_could_be_forged_none_counts(self) -> None:
        unguarded = world()
        unguarded.approvals_trusted = False
        unguarded.approve("alice", FIRST)
        unguarded.wait(minutes(1))
        assert condition(unguarded) == ("Unknown", "ApprovalPolicyMissing")
        assert "approval.policy.enabled=true" in message(unguarded)

        unguarded.wait(minutes(40))

        assert unguarded.status["history"][0]["reason"] == "NotApproved"

    def test_an_approval_that_is_not_required_is_not_waited_for(self) -> None:
        free = world(approval={"required": False})
        free.wait(minutes(40))

        assert "openedAt" in free.occurrence
        assert "approval" not in free.status
        assert [each for each in free.status["conditions"] if each["type"] == "Approved"] == []

    def test_the_operator_may_be_away_between_approval_and_start(self) -> None:
        approved = world()
        approved.wait(minutes(1))
        approved.approve("alice", FIRST)
        approved.sleep(minutes(34))
        approved.wait(minutes(1))

        assert approved.occurrence["openedAt"] == "2026-03-02T02:05:00Z"


class TestWhileOpen:
    def test_a_changed_window_starts_nothing_more_until_it_is_approved_again(self) -> None:
        changed = world()
        changed.outcomes["clean"] = (minutes(10), GOOD)
        changed.approve("alice", FIRST)
        changed.wait(minutes(35))
        changed.edit(change={"reason": "something else"})
        changed.wait(minutes(10))
        assert [start.owner.name for _, start in changed.started] == ["clean"]
        assert changed.task_states()["swap"] == ("Waiting", "ChangedSinceApproval")
        assert changed.status["phase"] == "Active"

        changed.approve("bob", FIRST)
        changed.wait(minutes(5))

        assert [start.owner.name for _, start in changed.started] == ["clean", "swap"]
        assert changed.occurrence["approvedBy"] == "bob"

    def test_the_annotations_may_be_used_for_the_next_opening(self) -> None:
        opened = world()
        opened.outcomes["clean"] = (minutes(10), GOOD)
        opened.approve("alice", FIRST)
        opened.wait(minutes(35))
        opened.approve("bob", SECOND)
        opened.wait(minutes(20))

        assert opened.task_states()["swap"] == ("Succeeded", "")
        assert opened.occurrence["approvedBy"] == "alice"
        assert opened.status["approval"]["approvedBy"] == "bob"
        assert opened.status["approval"]["occurrence"] == SECOND


PAUSES: Final = [timedelta(seconds=seconds) for seconds in (0.5, 20, 310, 1490, 86400)]
DEEDS: Final = (
    "approve",
    "approve the one after",
    "approve what it was",
    "withdraw",
    "edit",
    "sleep",
    "die",
    "nothing",
)


@settings(max_examples=30, deadline=None)
@given(
    course=st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(PAUSES)), min_size=4, max_size=15),
    begun=st.booleans(),
)
def test_whatever_happens_nothing_opens_or_starts_that_was_not_approved(
    course: list[tuple[str, timedelta]], *, begun: bool
) -> None:
    lived = world(**PAGE)
    lived.outcomes["clean"] = (minutes(10), GOOD)
    lived.watched = lambda decision: _approved_as_it_is(lived, decision)

    if begun:
        lived.approve("alice", FIRST)
        lived.wait(minutes(31))
    for deed, pause in course:
        _do(lived, deed, pause)

    for record in lived.status.get("history", []):
        assert record["ending"] != "Ran" or "approved by" in record["message"], record


def _do(lived: WindowWorld, deed: str, pause: timedelta) -> None:
    following = lived.status.get("approval", {}).get("occurrence", FIRST)
    later = write_instant(datetime.fromisoformat(following) + timedelta(days=1))
    match deed:
        case "approve":
            lived.approve("alice", following)
        case "approve the one after":
            lived.approve("bob", later)
        case "approve what it was":
            generation = str(lived.live["metadata"]["generation"] - 1)
            stale = Endorsement(by="carol", occurrence=following, generation=generation)
            lived.live["metadata"]["annotations"] = stale.annotations
        case "withdraw":
            lived.live["metadata"]["annotations"] = {}
        case "edit":
            lived.edit(change={"reason": f"what is wanted at {lived.now}"})
        case "sleep":
            lived.sleep(pause)
        case "die":
            lived.act(crash_after=1)
    lived.wait(pause)


def _approved_as_it_is(lived: WindowWorld, decision: Decision) -> None:
    """What opens, or starts in an open window, somebody has approved for this opening and as the window is now."""
    assert isinstance(decision.status, WindowStatus)
    occurrence, before = decision.status.occurrence, lived.occurrence
    starts = [action for action in decision.actions if isinstance(action, StartRun)]
    opens = occurrence is not None and occurrence.opened_at is not None and "openedAt" not in before
    if occurrence is None or not (starts or opens):
        return
    generation = lived.live["metadata"]["generation"]
    found = Endorsement.of(lived.live)
    fresh = found is not None and (found.occurrence, found.generation) == (occurrence.start_time, str(generation))
    assert fresh or (not opens and occurrence.approved_generation == generation)


@pytest.mark.parametrize(
    "wrong",
    [
        {"change": {"risk": "High"}},
        {"change": {"reason": "x", "risk": "Extreme"}},
        {"approval": {"required": True, "approver": "alice"}},
    ],
    ids=["no reason", "unknown risk", "misspelt"],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WindowSpec.model_validate({**SPEC, **wrong})
