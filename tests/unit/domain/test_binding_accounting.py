"""Whatever becomes of windows, freezes and the operator: each occurrence of a task is accounted for exactly once."""

from datetime import timedelta
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import Object, resource
from unit.domain.taskworld import TaskWorld
from unit.domain.test_task_accounting import CHANGES, PASSAGES, Step, play
from unit.domain.witness import START, Witness
from upkeep.domain.binding import located
from upkeep.domain.decision import Decision
from upkeep.domain.freeze import freezes_of, frost_at
from upkeep.domain.instants import read_instant, write_instant

NIGHT: Final = "platform/night"
OPENS: Final = timedelta(hours=1)
STATES: Final = ("silent", "held", "open", "closed", "skipped")


def night(state: str, now: Any) -> Object:  # noqa: ANN401 - a datetime
    """A window that opens every two hours for 50 minutes, with a status that tells so much of its last opening."""
    spec = {"schedule": "0 */2 * * *", "duration": "50m", "sharedWith": ["shop"]}
    item = resource("MaintenanceWindow", spec, created=START, name="night")
    item["metadata"]["namespace"] = located(NIGHT, "shop")[0]
    start = now.replace(hour=now.hour // 2 * 2, minute=0, second=0, microsecond=0)
    first = write_instant(start)
    opening = {"startTime": first, "endTime": write_instant(start + timedelta(minutes=50))}
    told: dict[str, Object] = {
        "silent": {},
        "held": {"occurrence": opening, "lastScheduleTime": first},
        "open": {"occurrence": {**opening, "openedAt": first}, "lastScheduleTime": first},
        "closed": {"occurrence": {**opening, "openedAt": first, "closedAt": first}, "lastScheduleTime": first},
        "skipped": {"lastScheduleTime": first},
    }
    return {**item, "status": {"observedGeneration": 1, **told[state]}}


def freeze(start: str) -> Object:
    spec = {"kind": "Freeze", "startAt": start, "duration": "70m", "sharedWith": ["*"]}
    item = resource("MaintenanceWindow", spec, created=START, name="sale")
    item["metadata"]["namespace"] = "platform"
    return item


class Bound(Witness):
    """A task that is bound to a window, and that looks at each of its starts."""

    def act(self, *, lose_status: bool = False) -> Decision:
        before = len(self.started)
        decision = super().act(lose_status=lose_status)
        for _, start in self.started[before:]:
            if start.occasion.scheduled:
                occurrence = self.windows[NIGHT]["status"].get("occurrence", {})
                assert "openedAt" in occurrence, "nothing starts in a window that has not opened"
                assert "closedAt" not in occurrence, "nothing starts in a window that was closed"
                assert self.now < read_instant(occurrence["endTime"])
                assert frost_at(freezes_of(self.freezes), self.now) is None, "nothing starts in a freeze"
        return decision


@settings(max_examples=60, deadline=None)
@given(
    cron=st.sampled_from(["*/20 * * * *", "0 * * * *", "45 * * * *"]),
    deadline=st.sampled_from([None, 60, 1800]),
    frozen=st.sampled_from([None, "2026-03-02T02:10:00Z", "2026-03-02T04:00:00Z"]),
    life=st.lists(
        st.sampled_from([*PASSAGES, *CHANGES[-6:]]) | st.tuples(st.just("window"), st.sampled_from(STATES)), max_size=20
    ),
)
def test_every_occurrence_is_accounted_for_exactly_once(
    cron: str, deadline: int | None, frozen: str | None, life: list[Step]
) -> None:
    spec: dict[str, Any] = {"schedule": cron, "windows": [NIGHT]}
    spec |= {"startingDeadlineSeconds": deadline} if deadline else {}
    world = Bound(now=START, spec=spec, windows={NIGHT: night("silent", START)})
    world.freezes = [freeze(frozen)] if frozen else []
    world.act()
    for step in life:
        if step[0] == "window":
            world.windows[NIGHT] = night(step[1], world.now)
        else:
            play(world, step)
    world.windows[NIGHT] = night("skipped", world.now)
    for _ in range(2):
        world.wait(timedelta(seconds=1))
        for name in world.jobs.active:
            world.jobs.end(name, world.now)
    world.settle()

    world.assert_accounted()


def test_while_it_waits_nothing_is_written_again() -> None:
    world = TaskWorld(now=START, spec={"schedule": "0 2 * * *", "windows": [NIGHT]})
    world.windows[NIGHT] = night("silent", START)
    world.sleep(timedelta(minutes=91))
    world.act()
    before = world.status

    world.sleep(timedelta(minutes=5))
    decision = world.act()

    assert world.status == before
    assert decision.events == ()
