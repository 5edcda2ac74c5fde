"""Whatever happens to a task and its operator: every occurrence is accounted for, exactly once, and none runs twice.

A life of hours is made up: the operator is away now and then or dies before it has written a status, Jobs are removed
(but never one of which no status tells: one of the two is enough, not none), the schedule is edited, suspended, made
unreadable and repaired.
"""

from datetime import timedelta
from random import Random
from typing import Any, Final

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from unit.domain.cluster import BAD, GOOD
from unit.domain.witness import START, UNREADABLE, Witness

Spec = dict[str, Any]
Step = tuple[str, Any]

CRONS: Final = ("*/5 * * * *", "*/15 * * * *", "7,8,9 * * * *", "0 * * * *", "30 2 * * *", "*/10 1-3 * * *")
POLICIES: Final = ("Forbid", "Allow", "Replace")
WINDOW: Final = {"metadata": {"name": "night"}, "spec": {"schedule": "0 */2 * * *", "duration": "50m"}}
OPTIONS: Final[dict[str, list[Any]]] = {
    "jitter": ["30s", "4m", "2h"],
    "startingDeadlineSeconds": [1, 60, 1200],
    "exclusions": [[{"from": "2026-03-02T02:00:00Z", "to": "2026-03-02T03:30:00Z", "reason": "freeze"}]],
    "windows": [["night"]],
    "successfulRunsHistoryLimit": [0, 1, 4],
    "failedRunsHistoryLimit": [0, 2],
}
CHANGES: Final[list[Step]] = [
    *(("edit", cron) for cron in CRONS),
    *((change, value) for change in ("suspend", "break") for value in (True, False, False)),
    *(("remove job", number) for number in range(4)),
    *(("ask", prefix) for prefix in "abc"),
    *(("runs take", timedelta(seconds=length)) for length in (20, 720, 7200)),
]
PASSAGES: Final[list[Step]] = [
    (how, timedelta(seconds=length))
    for how in ("wait", "wait", "sleep", "crash")
    for length in (3600, 299, 900, 61, 9000, 1)
]

specs = st.fixed_dictionaries(
    {"schedule": st.sampled_from(CRONS), "concurrencyPolicy": st.sampled_from(POLICIES)},
    optional={name: st.sampled_from(values) for name, values in OPTIONS.items()},
)


@settings(max_examples=40, deadline=None)
@given(spec=specs, life=st.lists(st.sampled_from([*PASSAGES, *CHANGES]), max_size=20), good=st.booleans())
def test_every_occurrence_is_accounted_for_exactly_once(spec: Spec, life: list[Step], *, good: bool) -> None:
    lived(spec, life, good=good).assert_accounted()


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_the_same_holds_for_long_and_eventful_lives(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - makes up examples, keeps no secret
    spec: Spec = {"schedule": dice.choice(CRONS), "concurrencyPolicy": dice.choice(POLICIES)}
    spec |= {name: dice.choice(values) for name, values in OPTIONS.items() if dice.random() < 0.25}
    life = [dice.choice(CHANGES if dice.random() < 0.3 else PASSAGES) for _ in range(25)]

    lived(spec, life, good=dice.random() < 0.5).assert_accounted()


def lived(spec: Spec, life: list[Step], *, good: bool) -> Witness:
    """A world after all of a life, in order again and with everything ended."""
    world = Witness(now=START, spec=spec, good=good, windows={"night": WINDOW})
    world.act()
    for step in life:
        play(world, step)
    world.edit(suspend=False, timeout="1h")
    for _ in range(2):
        world.wait(timedelta(seconds=1))
        for name in world.jobs.active:
            world.jobs.end(name, world.now, message=GOOD if good else BAD)
    world.settle()
    return world


def play(world: Witness, step: Step) -> None:
    match step:
        case ("wait", duration):
            world.wait(duration)
        case ("sleep", duration):
            world.sleep(duration)
        case ("crash", duration):
            world.act(lose_status=True)
            world.sleep(duration)
        case ("edit", cron):
            world.edit(schedule=cron)
        case ("suspend", suspend):
            world.edit(suspend=suspend)
        case ("break", broken):
            world.edit(timeout=UNREADABLE if broken else "1h")
        case ("remove job", number):
            names = sorted(set(world.jobs.objects) - world.unsaved)
            if names:
                world.jobs.delete(names[number % len(names)])
        case ("ask", prefix):
            world.ask(f"{prefix}-{len(world.started)}")
        case ("runs take", duration):
            world.takes = duration
