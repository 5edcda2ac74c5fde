"""Whatever happens to a policy and its operator: every occurrence of every schedule is accounted for exactly once."""

import re
from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.backupworld import SPEC, BackupWorld
from unit.domain.cluster import at, minutes, resource
from unit.domain.garbage import spoilt, values
from upkeep.api.backup import BackupStatus
from upkeep.controller.apply import dump
from upkeep.domain.backup import BackupSnapshot, decide
from upkeep.domain.decision import StartRun
from upkeep.domain.instants import read_instant
from upkeep.domain.schedule import Schedule

START: Final = at("00:50")
CRONS: Final = {"often": "*/20 * * * *", "hourly": "0 * * * *", "integrity": "0 */2 * * *", "prune": "30 */3 * * *"}
DEEDS: Final = ("wait", "wait", "sleep", "crash", "suspend", "resume", "break", "repair", "delete a Job", "ask")
_WHEN: Final = re.compile(r"schedule '(\w+)', (\S+): (?:(\d+) occurrences, (\S+) to (\S+): )?")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_occurrence_of_every_schedule_is_accounted_for_exactly_once(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    world = BackupWorld(now=START, spec=_spec(dice))
    world.takes = {name: dice.choice([timedelta(seconds=5), minutes(25), minutes(150)]) for name in CRONS}
    unsaved: set[str] = set()
    world.act()
    for _ in range(20):
        _live(world, dice, unsaved)
    world.edit(suspend=False, timeout="1h")
    world.takes = dict.fromkeys(CRONS, timedelta(seconds=5))
    world.wait(minutes(1))
    while world.jobs.active:
        world.wait(minutes(1))

    _assert_accounted(world)


def _spec(dice: Random) -> dict[str, Any]:
    spec: dict[str, Any] = {"schedules": [{"name": name, "schedule": CRONS[name]} for name in ("often", "hourly")]}
    spec["verify"] = {"integrity": {"schedule": CRONS["integrity"]}}
    spec["prune"] = {"schedule": CRONS["prune"]}
    if dice.random() < 0.3:
        spec["startingDeadlineSeconds"] = dice.choice([1, 600])
    if dice.random() < 0.3:
        spec["exclusions"] = [{"from": "2026-03-02T03:00:00Z", "to": "2026-03-02T05:00:00Z"}]
    if dice.random() < 0.3:
        spec["successfulRunsHistoryLimit"] = 0
    return spec


def _live(world: BackupWorld, dice: Random, unsaved: set[str]) -> None:
    time = dice.choice([minutes(61), minutes(7), minutes(130), timedelta(seconds=1)])
    match dice.choice(DEEDS):
        case "wait":
            world.wait(time)
            unsaved.clear()
        case "sleep":
            world.sleep(time)
        case "crash":
            decision = world.act(lose_status=True)
            unsaved |= {action.name for action in decision.actions if isinstance(action, StartRun)}
            world.sleep(time)
        case "suspend" | "resume" as deed:
            world.edit(suspend=deed == "suspend")
        case "break" | "repair" as deed:
            world.edit(timeout="soon" if deed == "break" else "1h")
        case "delete a Job":
            world.jobs.delete(dice.choice([*(set(world.jobs.objects) - unsaved), ""]))
        case "ask":
            world.ask(f"{dice.choice(['often', 'integrity', 'prune'])}/{len(world.started)}")


def _assert_accounted(world: BackupWorld) -> None:
    started = Counter(
        (start.occasion.schedule, start.occasion.scheduled) for _, start in world.started if start.occasion.scheduled
    )
    single: Counter[tuple[str, datetime]] = Counter()
    summed: Counter[str] = Counter()
    for event in world.events:
        if event.reason.startswith(("Missed", "Skipped")) and (found := _WHEN.search(event.message)):
            name, when, count, *_ = found.groups()
            if count:
                summed[name] += int(count)
            else:
                single[name, read_instant(when)] += 1
    assert max(started.values(), default=0) <= 1
    assert max(single.values(), default=0) <= 1
    assert not started.keys() & single.keys()
    for name, cron in CRONS.items():
        found_times = [*(time for schedule, time in (*started, *single) if schedule == name)]
        due = Schedule.cron(cron).latest_until(START, world.now).count
        assert len(found_times) + summed[name] == due, name
    ends = Counter(event.message.partition(":")[0] for event in world.events if event.reason.startswith("Run"))
    assert {ends[start.name] for _, start in world.started} <= {1, 2}, (
        "its start, unless nobody could say it, and its end"
    )


@settings(max_examples=100, deadline=None)
@given(
    spec=values
    | spoilt({**SPEC, "verify": {"integrity": {"schedule": "0 2 * * *"}}, "exclusions": [{"from": "12-24"}]})
)
def test_any_spec_leads_to_a_decision_and_one_without_sense_to_a_reason(spec: object) -> None:
    policy = resource("BackupPolicy", spec, created=START, name="shop")

    decision = decide(BackupSnapshot(resource=policy, runs=[], now=START + minutes(60)))

    BackupStatus.model_validate(dump(decision.status))
    stalled = next(each for each in decision.status.conditions if each.type == "Stalled")
    if stalled.status == "True":
        assert stalled.message
        assert not decision.actions


@settings(max_examples=80, deadline=None)
@given(status=values)
def test_any_status_leads_to_a_decision(status: object) -> None:
    policy = resource("BackupPolicy", SPEC, created=START, name="shop") | {"status": status}

    decision = decide(BackupSnapshot(resource=policy, runs=[], now=START + minutes(60)))

    BackupStatus.model_validate(dump(decision.status))
