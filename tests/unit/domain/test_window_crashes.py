"""An operator that dies between any two writes of a window, while people edit what it works on.

Whatever happens, in the end nothing of the window is left on any Ingress, its page and its finalizer are gone, no task
has run twice, and nothing was done before its start or after its end.
"""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from unit.domain.cluster import BAD, GOOD, Object, at, minutes, resource
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.domain import window
from upkeep.domain.decision import Decision, PatchTarget, StartRun
from upkeep.domain.identity import FINALIZER
from upkeep.domain.instants import read_instant
from upkeep.domain.maintenance import MODE_LABEL, semantically_equal

START: Final = at("02:00")
SPEC: Final[dict[str, Any]] = {
    "schedule": "0 2 * * *",
    "duration": "10m",
    "maintenanceMode": {"targets": [{"kind": "Ingress", "name": name} for name in ("web", "api", "shop")]},
    "plan": {"tasks": [{"name": "a"}, {"name": "b", "dependsOn": ["a"]}, {"name": "c"}], "maxConcurrency": 2},
    "verify": {"steps": [{"name": "up", "httpCheck": {"url": "http://shop"}}]},
}
PAUSES: Final = [timedelta(seconds=seconds) for seconds in (0.001, 0.001, 1, 3, 20, 61, 300, 900)]
PEOPLE: Final = (
    "nobody", "nobody", "nobody", "suspend", "resume", "break", "repair", "reschedule", "take out a target",
    "change a backend", "add a label", "delete an Ingress", "make an Ingress anew", "delete a Job", "delete a task",
    "make a task anew", "delete the window",
)  # fmt: skip


MOST_DEATHS: Final = 5
"""In a row; a world with more would only seem to run in circles."""


@dataclass
class Fragile(WindowWorld):
    """A world whose operator dies now and then, and that looks at what it does.

    Attributes:
        dice: decides when, and after how many writes.
        risk: of dying in a decision.
        deaths: in a row; it never dies for ever.
        rightful: what each Ingress should be like without any window.
    """

    dice: Random = field(default_factory=Random)
    risk: float = 0.0
    deaths: int = 0
    rightful: dict[str, Object] = field(default_factory=dict)

    def act(self, *, crash_after: int | None = None) -> Decision | None:
        assert crash_after is None, "the dice decide that here"
        if self.window is None:
            return None
        snapshot = self.snapshot()
        decision = window.decide(snapshot)
        assert decision == window.decide(snapshot), "the same snapshot gives the same decision"
        self._look_at(decision)
        if self.dice.random() >= self.risk or self.deaths == MOST_DEATHS:
            self.deaths = 0
            return super().act()
        self.deaths += 1
        super().act(crash_after=self.dice.randint(0, len(decision.actions)))
        self.sleep(self.dice.choice(PAUSES))
        self.wake_at = self.now
        return decision

    def _look_at(self, decision: Decision) -> None:
        occurrence = self.occurrence
        for action in decision.actions:
            if isinstance(action, StartRun):
                names = [start.name for _, start in self.started]
                assert action.name not in names, "nothing starts twice"
                assert self.now < read_instant(occurrence["endTime"]), "nothing starts after the end"
                assert self.now >= read_instant(occurrence["startTime"]), "nothing starts before the start"

    def _patch(self, action: PatchTarget) -> None:
        before = self.swapped()
        super()._patch(action)
        if action.name in self.swapped() and action.name not in before:
            assert self._page_answers(), "nobody is sent to a page that does not answer"
            assert FINALIZER in self.live["metadata"]["finalizers"]
            assert START <= self.now < START + timedelta(minutes=10)

    def meddle(self, deed: str) -> None:  # noqa: C901, PLR0912 - one arm for each thing that people do
        """Let somebody do something."""
        name = self.dice.choice(sorted(self.ingresses) or ["web"])
        match deed:
            case "delete the window" if self.window is not None:
                self.delete()
            case "suspend" | "resume" if self.window is not None:
                self.edit(suspend=deed == "suspend")
            case "break" | "repair" if self.window is not None:
                self.edit(duration="long" if deed == "break" else "10m")
            case "reschedule" if self.window is not None:
                self.edit(schedule=self.dice.choice(["0 2 * * *", "0 2,4 * * *", "0 9 * * *"]))
            case "take out a target" if self.window is not None and "maintenanceMode" in self.live["spec"]:
                targets = self.live["spec"]["maintenanceMode"]["targets"]
                self.edit(maintenanceMode={"targets": targets[:-1] or targets})
            case "change a backend" if name in self.ingresses:
                self._change_backend(name)
            case "add a label" if name in self.ingresses:
                for item in (self.ingresses[name], self.rightful[name]):
                    item["metadata"].setdefault("labels", {})["team"] = "shop"
                self._touch(name)
            case "delete an Ingress":
                self.ingresses.pop(name, None)
            case "make an Ingress anew":
                self.ingresses[name], self.rightful[name] = ingress(name), ingress(name)
            case "delete a Job":
                known = (
                    [each["job"] for each in self.occurrence.get("tasks", []) if "job" in each] if self.window else []
                )
                self.jobs.delete(self.dice.choice(known or [""]))
            case "delete a task":
                self.tasks.pop(self.dice.choice("abc"), None)
            case "make a task anew":
                task = self.dice.choice("abc")
                self.tasks[task] = resource("MaintenanceTask", {"job": {"image": "x"}}, created=self.now, name=task)
                self.tasks[task]["metadata"]["uid"] = f"uid-{task}-{self.dice.random()}"

    def _change_backend(self, name: str) -> None:
        mine = {"service": {"name": f"mine-{self.dice.randint(0, 9)}", "port": {"number": 80}}}
        for item in (self.ingresses[name], self.rightful[name]):
            item["spec"]["rules"][0]["http"]["paths"][0]["backend"] = mine
        self._touch(name)

    def _touch(self, name: str) -> None:
        metadata = self.ingresses[name]["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)


def furnished(dice: Random) -> Fragile:
    spec = copy.deepcopy(SPEC)
    for part in ("maintenanceMode", "plan", "verify"):
        if dice.random() < 0.15:
            del spec[part]
    if dice.random() < 0.3:
        spec |= {"startAt": "2026-03-02T02:00:00Z"}
        del spec["schedule"]
    if "plan" in spec:
        spec["plan"]["onFailure"] = dice.choice(["Abort", "Continue"])
    world = Fragile(
        now=at("01:50"), spec=spec, dice=dice, warm_up=dice.choice([timedelta(0), timedelta(seconds=8), None])
    )
    for name in ("web", "api", "shop"):
        world.ingresses[name], world.rightful[name] = ingress(name), ingress(name)
    for name in ("a", "b", "c", "sunday"):
        world.outcomes[name] = (dice.choice([timedelta(seconds=2), minutes(1), None]), dice.choice([GOOD, GOOD, BAD]))
        if name in world.tasks and dice.random() < 0.3:
            world.tasks[name]["spec"]["successfulRunsHistoryLimit"] = 0
    return world


def assert_nothing_is_left(world: Fragile) -> None:
    for name, item in world.ingresses.items():
        assert semantically_equal(item, world.rightful[name])
        assert MODE_LABEL not in (item["metadata"].get("labels") or {})
        assert {"manager": "upkeep"} not in item["metadata"]["managedFields"]
    assert world.page is None
    if world.window is not None:
        assert FINALIZER not in world.live["metadata"].get("finalizers", [])
        assert "closedAt" in world.occurrence or not world.occurrence
        assert world.status["phase"] not in {"Preparing", "Active", "Verifying"}


def until(world: Fragile, moment: datetime) -> None:
    world.wait(max(timedelta(0), moment - world.now))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), risk=st.sampled_from([0.0, 0.3, 0.6]))
def test_however_often_the_operator_dies_nothing_is_left_of_the_window(seed: int, risk: float) -> None:
    world = furnished(Random(seed))  # noqa: S311 - makes up examples, keeps no secret
    world.act()
    world.risk = risk

    until(world, START + minutes(11))
    world.risk = 0.0
    world.wait(minutes(3))

    assert_nothing_is_left(world)


@settings(max_examples=25, deadline=None)
@example(seed=130, deeds=[*["delete an Ingress"] * 3, "make an Ingress anew"], risk=0.0)
@given(
    seed=st.integers(0, 2**32), deeds=st.lists(st.sampled_from(PEOPLE), max_size=8), risk=st.sampled_from([0.0, 0.4])
)
def test_whatever_people_do_meanwhile_nothing_is_left_of_the_window(seed: int, deeds: list[str], risk: float) -> None:
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    world = furnished(dice)
    world.act()
    for deed in deeds:
        world.risk = risk
        until(world, world.now + dice.choice([minutes(1), minutes(4), minutes(8.8), timedelta(seconds=1)]))
        world.meddle(deed)
    until(world, START + minutes(11))
    world.risk = 0.0
    world.wait(minutes(3))
    if world.window is not None and world.occurrence and "closedAt" not in world.occurrence:
        until(world, read_instant(world.occurrence["endTime"]) + minutes(3))

    assert_nothing_is_left(world)
