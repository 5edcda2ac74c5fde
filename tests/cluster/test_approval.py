"""Approvals and ticks on a real cluster: users with different rights, and what windows make of what they do."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cluster.kubectl import Kubectl, Object, read
from cluster.manifests import ingress, resource, script, soon, task
from cluster.space import PATIENCE, Space, conditions
from cluster.timing import Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import INGRESSES, WINDOWS
from upkeep.domain.window.approval import Endorsement
from upkeep.domain.window.checklist import TICK_PREFIX, tick_of

APPROVER: Final = "alice"
EDITOR: Final = "emil"
TICKER: Final = "dora"
STRANGER: Final = "mallory"
ROLES: Final = {APPROVER: "upkeep-approver", EDITOR: "upkeep-edit", TICKER: "upkeep-ticker", STRANGER: "upkeep-view"}
LATER: Final = "2036-12-06T02:00:00Z"
HOLIDAY: Final = "2036-12-25T00:00:00Z"
TREE: Final = Path(__file__).parents[2]
OPERATOR: Final = TREE / "operator"
MANIFESTS: Final = TREE / "manifests"
SAMPLES: Final = MANIFESTS / "samples"


@pytest.fixture(scope="module")
def people(kubectl: Kubectl, space: Space) -> Space:
    """The namespace, with its four users, once the API server guards approvals there."""
    for user, role in ROLES.items():
        grant = ("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
        kubectl.run(*grant, f"--namespace={space.name}")
    forged = json.dumps(_window("forged", approved_by=STRANGER))
    create = ("create", f"--namespace={space.name}", "--dry-run=server", "--filename=-")
    until(
        lambda: kubectl.attempt(*create, stdin=forged).stderr,
        lambda answer: "must be your own user name" in answer,
        what="the policy is in force",
        seconds=PATIENCE,
        every=0.5,
    )
    return space


@pytest.fixture
def as_user(kubectl: Kubectl, people: Space) -> "Users":
    return Users(kubectl, people.name)


class Users:
    """What people do with kubectl, each in his own name."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = f"--namespace={namespace}"

    def annotate(self, user: str, name: str, **annotations: str) -> str:
        """What the API server complains of; empty where it does what was asked."""
        words = [f"{key}={value}" if value else f"{key}-" for key, value in annotations.items()]
        return self._said("annotate", "mw", name, self._namespace, "--overwrite", *words, f"--as={user}")

    def approve(self, user: str, name: str, occurrence: str, *, by: str = "", generation: int = 1) -> str:
        endorsement = Endorsement(by=by or user, occurrence=occurrence, generation=str(generation))
        return self.annotate(user, name, **endorsement.annotations)

    def tick(self, user: str, name: str, item: str, occurrence: str, *, by: str = "") -> str:
        return self.annotate(user, name, **{f"{TICK_PREFIX}{item}": tick_of(by or user, occurrence)})

    def patch(self, user: str, name: str, *options: str, **change: Any) -> str:  # noqa: ANN401 - any JSON
        body = f"--patch={json.dumps(change)}"
        return self._said("patch", "mw", name, self._namespace, "--type=merge", body, f"--as={user}", *options)

    def create(self, user: str, body: Object) -> str:
        return self._said("create", self._namespace, "--filename=-", f"--as={user}", stdin=json.dumps(body))

    def _said(self, *arguments: str, stdin: str | None = None) -> str:
        done = self._kubectl.attempt(*arguments, stdin=stdin)
        return "" if done.returncode == 0 else done.stderr


def _window(name: str, *, start: str = LATER, approved_by: str = "", **spec: object) -> Object:
    usual = {"startAt": start, "duration": "2m", "approval": {"required": True}}
    body = resource("MaintenanceWindow", name, {**usual, **spec})
    if approved_by:
        body["metadata"]["annotations"] = Endorsement(by=approved_by, occurrence=start, generation="1").annotations
    return body


def _phase(space: Space, name: str, *phases: str, seconds: float = PATIENCE) -> dict[str, Any]:
    return until(
        lambda: space.status(WINDOWS, name),
        lambda status: status.get("phase") in phases,
        what=f"{name} is {' or '.join(phases)}",
        seconds=seconds,
    )


class TestWhoMayApprove:
    @pytest.fixture(autouse=True)
    def _guarded(self, people: Space) -> Iterator[None]:
        people.make(_window("guarded", checklist={"before": [{"name": "backup-seen"}]}))
        yield
        people.remove(WINDOWS, "guarded")

    def test_who_has_the_verb_may_in_his_own_name(self, people: Space, as_user: Users) -> None:
        _phase(people, "guarded", "AwaitingApproval")

        assert as_user.approve(APPROVER, "guarded", LATER) == ""

        assert people.condition("guarded", "Approved", "True", kind=WINDOWS)["message"].startswith("alice approved")
        assert people.status(WINDOWS, "guarded")["approval"]["approvedBy"] == APPROVER

    def test_nobody_may_in_the_name_of_another(self, as_user: Users) -> None:
        assert "must be your own user name, alice" in as_user.approve(APPROVER, "guarded", LATER, by=STRANGER)
        assert "must be your own user name, emil" in as_user.approve(EDITOR, "guarded", LATER, by=APPROVER)

    def test_the_right_to_edit_is_not_the_right_to_approve(self, as_user: Users) -> None:
        assert "needs the verb approve" in as_user.approve(EDITOR, "guarded", LATER)

    def test_the_right_to_look_is_not_the_right_to_annotate(self, as_user: Users) -> None:
        assert "cannot patch resource" in as_user.approve(STRANGER, "guarded", LATER)

    def test_a_window_cannot_be_born_with_the_approval_of_another(self, as_user: Users) -> None:
        assert "must be your own user name" in as_user.create(EDITOR, _window("born", approved_by=APPROVER))

    def test_an_approval_is_all_of_it_or_nothing(self, as_user: Users) -> None:
        parts = Endorsement(by=APPROVER, occurrence=LATER, generation="1").annotations
        for left_out in parts:
            some = {name: value for name, value in parts.items() if name != left_out}
            assert "needs all three annotations" in as_user.annotate(APPROVER, "guarded", **some)

    def test_nobody_carries_it_over_to_another_opening(self, as_user: Users) -> None:
        assert as_user.approve(APPROVER, "guarded", LATER) == ""

        carried = {"upkeep.dev/approved-occurrence": "2036-12-13T02:00:00Z"}
        assert "must be your own user name, emil" in as_user.annotate(EDITOR, "guarded", **carried)

    def test_nobody_carries_it_over_to_a_changed_window(self, people: Space, as_user: Users) -> None:
        assert as_user.approve(APPROVER, "guarded", LATER) == ""
        assert as_user.patch(EDITOR, "guarded", spec={"duration": "3m"}) == ""

        people.condition("guarded", "Approved", "False", kind=WINDOWS)
        carried = {"upkeep.dev/approved-generation": "2"}
        assert "must be your own user name, emil" in as_user.annotate(EDITOR, "guarded", **carried)

    def test_what_was_not_seen_is_not_approved(self, as_user: Users) -> None:
        assert as_user.patch(EDITOR, "guarded", spec={"duration": "3m"}) == ""

        answer = as_user.approve(APPROVER, "guarded", LATER, generation=1)

        assert "must be 2, the generation of the window as it is now" in answer

    def test_who_may_edit_may_take_it_back(self, people: Space, as_user: Users) -> None:
        assert as_user.approve(APPROVER, "guarded", LATER) == ""
        people.condition("guarded", "Approved", "True", kind=WINDOWS)
        parts = Endorsement(by="x", occurrence=LATER, generation="1").annotations

        assert as_user.annotate(EDITOR, "guarded", **dict.fromkeys(parts, "")) == ""

        people.condition("guarded", "Approved", "False", kind=WINDOWS)

    def test_only_an_approver_frees_a_window_from_its_approval(self, as_user: Users) -> None:
        assert "only by who has the verb approve" in as_user.patch(EDITOR, "guarded", spec={"approval": None})
        loosened = {"approval": {"required": False}}
        assert "only by who has the verb approve" in as_user.patch(EDITOR, "guarded", spec=loosened)

    @pytest.mark.parametrize("user", [APPROVER, TICKER])
    @pytest.mark.parametrize(
        "change",
        [
            {"spec": {"duration": "3m"}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"annotations": {"upkeep.dev/note": "hello"}}},
            {"metadata": {"finalizers": ["example.com/hold"]}},
        ],
        ids=["spec", "labels", "annotations", "finalizers"],
    )
    def test_who_approves_or_ticks_changes_nothing_else(
        self, as_user: Users, user: str, change: dict[str, object]
    ) -> None:
        assert "change nothing else of it" in as_user.patch(user, "guarded", **change)

    def test_a_write_of_the_status_approves_nothing(self, people: Space) -> None:
        parts = Endorsement(by=APPROVER, occurrence=LATER, generation="1").annotations

        people.server.patch(WINDOWS, people.name, "guarded", {"metadata": {"annotations": parts}}, subresource="status")

        assert "annotations" not in people.get(WINDOWS, "guarded")["metadata"]

    def test_items_are_ticked_by_those_who_may_in_their_own_name(self, people: Space, as_user: Users) -> None:
        assert "needs the verb tick" in as_user.tick(APPROVER, "guarded", "backup-seen", LATER)
        assert "must be your own user name" in as_user.tick(TICKER, "guarded", "backup-seen", LATER, by=APPROVER)
        assert as_user.tick(TICKER, "guarded", "backup-seen", LATER) == ""

        complete = people.condition("guarded", "ChecklistComplete", "True", kind=WINDOWS)
        (item,) = people.status(WINDOWS, "guarded")["checklist"]
        assert (complete["reason"], item["tickedBy"]) == ("AllTicked", TICKER)

    def test_who_asks_for_something_by_hand_does_so_in_his_own_name(self, as_user: Users) -> None:
        asked, named = {"upkeep.dev/cancel": "1"}, {"upkeep.dev/requested-by": EDITOR}

        assert "your own user name, emil" in as_user.annotate(EDITOR, "guarded", **asked)
        assert "your own user name, emil" in as_user.annotate(
            EDITOR, "guarded", **asked, **dict.fromkeys(named, APPROVER)
        )
        assert as_user.annotate(EDITOR, "guarded", **asked, **named) == ""


def test_only_listed_approvers_may(people: Space, as_user: Users) -> None:
    people.make(_window("listed", approval={"required": True, "approvers": ["carol"]}))

    assert "alice is not among spec.approval.approvers" in as_user.approve(APPROVER, "listed", LATER)


def test_a_window_that_nobody_approves_is_skipped_at_its_start(people: Space, timings: Timings) -> None:
    start = soon(6)
    people.make(_window("late", start=start))

    _phase(people, "late", "Skipped", seconds=15)

    delay = (datetime.now(UTC) - datetime.fromisoformat(start)) / timedelta(seconds=1)
    timings.note("approval", "a window that nobody approved is skipped, after its start", delay)
    assert delay < 2
    (record,) = people.status(WINDOWS, "late")["history"]
    assert (record["ending"], record["reason"]) == ("Skipped", "NotApproved")
    until(
        lambda: [event["reason"] for event in people.events_of("late")],
        lambda reasons: "SkippedNotApproved" in reasons,
        what="the Event",
        seconds=PATIENCE,
    )


def test_an_approval_of_another_opening_does_not_open_this_one(people: Space, as_user: Users) -> None:
    people.make(_window("other", start=soon(8)))
    assert as_user.approve(APPROVER, "other", LATER) == ""

    status = _phase(people, "other", "Skipped", "Active", "Completed", seconds=15)

    assert status["history"][0]["reason"] == "NotApproved"
    assert "openedAt" not in status.get("occurrence", {})


def test_an_approved_window_puts_its_page_up_and_names_who_approved_it(
    people: Space, as_user: Users, timings: Timings
) -> None:
    people.make(ingress("shop", host="approved.example.com", service="shop"))
    start = soon(20)
    targets = {"targets": [{"kind": "Ingress", "name": "shop"}]}
    people.make(_window("approved", start=start, duration="45s", maintenanceMode=targets))
    _phase(people, "approved", "AwaitingApproval")
    assert as_user.approve(APPROVER, "approved", start) == ""

    status = _phase(people, "approved", "Active", seconds=40)
    timings.note("approval", "an approved window opens, after its start", _since(start))
    page = people.get(INGRESSES, "shop")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]
    over = _phase(people, "approved", "Completed", seconds=90)

    assert status["occurrence"]["approvedBy"] == APPROVER
    assert page.startswith("upkeep-page-approved")
    assert over["history"][0]["message"].endswith("approved by alice")
    assert people.get(INGRESSES, "shop")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "shop"
    people.remove(INGRESSES, "shop")


def test_a_checklist_is_worked_off_before_during_and_after(people: Space, as_user: Users) -> None:
    start = soon(3)
    items = {
        "before": [{"name": "backup-seen"}],
        "during": [{"name": "disk-swapped"}],
        "after": [{"name": "team-told"}],
    }
    people.make(_window("worked-off", start=start, approval=None, checklist=items))
    held = people.condition("worked-off", "ChecklistComplete", "False", kind=WINDOWS)
    assert f"kubectl upkeep tick worked-off backup-seen -n {people.name} --occurrence {start}" in held["message"]
    until(
        lambda: people.status(WINDOWS, "worked-off").get("occurrence", {}),
        lambda occurrence: occurrence.get("waitingFor") == "ChecklistIncomplete",
        what="it waits for its checklist",
        seconds=PATIENCE,
    )

    assert as_user.tick(TICKER, "worked-off", "backup-seen", start) == ""
    _phase(people, "worked-off", "Active")
    assert as_user.tick(TICKER, "worked-off", "disk-swapped", start) == ""
    closed = _phase(people, "worked-off", "Completed")
    assert "team-told (after)" in conditions(closed)["ChecklistComplete"]["message"]
    assert as_user.tick(TICKER, "worked-off", "team-told", start) == ""

    people.condition("worked-off", "ChecklistComplete", "True", kind=WINDOWS)
    assert {item["tickedBy"] for item in people.status(WINDOWS, "worked-off")["checklist"]} == {TICKER}


def test_the_sample_is_approved_ticked_and_carried_out(people: Space, as_user: Users, access: ClusterAccess) -> None:
    (sample,) = read(SAMPLES / "window-approval.yaml")
    start, name = soon(12), sample["metadata"]["name"]
    people.make(
        ingress("shop", host="sample.example.com", service="shop"),
        task("nightly-care", run_now="", job=script(access.shop_image, "true")),
    )
    # What is verified, the demo has.
    spec = {key: value for key, value in sample["spec"].items() if key not in {"schedule", "timeZone", "verify"}}
    people.make({**sample, "spec": {**spec, "startAt": start, "duration": "3m"}})
    waiting = _phase(people, name, "AwaitingApproval")
    assert "CHG-4711, High risk" in conditions(waiting)["Approved"]["message"]

    assert as_user.approve(APPROVER, name, start) == ""
    assert as_user.tick(TICKER, name, "backup-seen", start) == ""
    until(
        lambda: people.status(WINDOWS, name).get("occurrence", {}),
        lambda occurrence: [each["state"] for each in occurrence.get("tasks", ())] == ["Succeeded"],
        what="the plan is done",
        seconds=60,
    )
    _phase(people, name, "Active")
    assert as_user.tick(TICKER, name, "old-array-off", start) == ""

    over = _phase(people, name, "Completed", seconds=30)
    assert over["lastRun"]["outcome"] == "ok"
    assert over["history"][0]["message"] == "1 of 1 tasks succeeded, 1 of 1 targets restored, approved by alice"
    people.remove(INGRESSES, "shop")


def test_a_namespace_can_demand_approvals(kubectl: Kubectl, people: Space, as_user: Users) -> None:
    policy = str(MANIFESTS / "policies" / "require-approval.yaml")
    kubectl.run("apply", f"--filename={policy}")
    kubectl.run("label", "namespace", people.name, "upkeep.dev/approval=required")
    free, freeze = _window("free", approval=None), _window("freeze", start=HOLIDAY, approval=None, kind="Freeze")
    try:
        until(
            lambda: as_user.create(EDITOR, free),
            lambda answer: "windows of this namespace need an approval" in answer,
            what="the policy is in force",
            seconds=PATIENCE,
            every=0.5,
        )
        assert as_user.create(EDITOR, freeze) == ""
        assert as_user.create(EDITOR, _window("demanded")) == ""
    finally:
        kubectl.run("label", "namespace", people.name, "upkeep.dev/approval-")
        kubectl.run("delete", f"--filename={policy}")


def test_the_plugin_approves_and_ticks_as_the_user_of_the_kubeconfig(
    people: Space, kubectl: Kubectl, access: ClusterAccess, tmp_path: Path
) -> None:
    start = soon(60)
    change = {"ticket": "CHG-7", "risk": "High", "reason": "new disks", "rollbackPlan": "put the old ones back"}
    people.make(_window("plugin", start=start, change=change, checklist={"before": [{"name": "backup-seen"}]}))
    _phase(people, "plugin", "AwaitingApproval")
    config = _account(kubectl, people, access, tmp_path)
    user = f"system:serviceaccount:{people.name}:robot"

    approved = _upkeep(config, "approve", "plugin", "--namespace", people.name)
    ticked = _upkeep(config, "tick", "plugin", "backup-seen", "--namespace", people.name)
    unknown = _upkeep(config, "tick", "plugin", "coffee", "--namespace", people.name)

    assert approved.returncode == 0, approved.stderr
    for part in ("CHG-7, High risk, new disks", "way back: put the old ones back", f"approved by {user}"):
        assert part in approved.stdout
    assert ticked.stdout == f"{people.name}/plugin, opening of {start}: backup-seen ticked by {user}\n", ticked.stderr
    assert (unknown.returncode, "its items are backup-seen" in unknown.stderr) == (1, True)
    people.condition("plugin", "Approved", "True", kind=WINDOWS)
    people.condition("plugin", "ChecklistComplete", "True", kind=WINDOWS)
    people.remove(WINDOWS, "plugin")


def _since(instant: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()


def _account(kubectl: Kubectl, space: Space, access: ClusterAccess, folder: Path) -> Path:
    """A kubeconfig of somebody who may approve and tick, and nothing else."""
    namespace = f"--namespace={space.name}"
    kubectl.run("create", "serviceaccount", "robot", namespace)
    for role in ("upkeep-approver", "upkeep-ticker"):
        subject = f"--serviceaccount={space.name}:robot"
        kubectl.run("create", "rolebinding", f"robot-{role}", f"--clusterrole={role}", subject, namespace)
    token = kubectl.run("create", "token", "robot", namespace).strip()
    config = yaml.safe_load(access.kubeconfig.read_text(encoding="utf-8"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    written = folder / "kubeconfig"
    written.write_text(yaml.safe_dump(config), encoding="utf-8")
    written.chmod(0o600)
    return written


def _upkeep(config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "KUBECONFIG": str(config), "PYTHONPATH": str(OPERATOR)}
    command = [sys.executable, "-m", "upkeep", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
