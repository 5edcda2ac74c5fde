"""Tells a story again and again, each time with one disturbance, and compares how it ends.

It exists for the question that matters most about an operator: what if it dies, or the API server fails it, exactly
here? "Here" is each of its writes in turn, before it is committed and after.
"""

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fakeapi.audit import Entry
from fakeapi.calls import WRITES
from fakeapi.faults import Rule, Trigger
from fakeapi.resources import ROUTES, ResourceType
from replicas.replica import Nursery, Process
from replicas.stage import MANAGER, Stage, opened

UNHURRIED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "UPKEEP_LEASE_DURATION": "120",
        "UPKEEP_LEASE_RENEW_DEADLINE": "100",
        "UPKEEP_LEASE_CALL_TIMEOUT": "60",
    }
)
"""Nobody else wants the Lease here: with many tellings on few cores its usual times would be a test of the machine."""
LONGEST: Final = 30.0
"""Seconds that a telling may take, unless its story says otherwise; a healthy one is over in two."""
_COMPARED: Final = (
    "maintenancetasks",
    "maintenancewindows",
    "backuppolicies",
    "jobs",
    "ingresses",
    "deployments",
    "services",
    "configmaps",
)
_VOLATILE: Final = frozenset({"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"})
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RUN: Final = re.compile(r"(-(?:manual|window))?(-\d{8})?-[0-9a-f]{8}\b")
"""The part of a Job's name that is different each time."""


async def _nothing(_: Stage) -> None:
    """What happens in most stories meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happens in a cluster when nothing goes wrong.

    Attributes:
        name: for people.
        begin: sets the scene.
        over: whether all has happened.
        jobs: how many Jobs it takes, each exactly once.
        meanwhile: what somebody else does in the course of it.
        check: what else must hold at the end of every telling; raises AssertionError.
        settings: of the operator, by the names of their variables.
        within: seconds that a telling may take.
        at_once: tellings side by side: the more of its time it waits, the more there can be.
        others: kinds that the cluster knows besides those of Kubernetes and Upkeep.
    """

    name: str
    begin: Callable[[Stage], None]
    over: Callable[[Stage], bool]
    jobs: int
    meanwhile: Callable[[Stage], Awaitable[None]] = _nothing
    check: Callable[[Stage], None] = lambda _: None
    settings: Mapping[str, str] = field(default_factory=lambda: UNHURRIED)
    within: float = LONGEST
    at_once: int = 8
    others: tuple[ResourceType, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What goes wrong at one write.

    Attributes:
        name: for people.
        strike: makes the rule; the callback kills the operator.
        deadly: whether the operator ends by it.
    """

    name: str
    strike: Callable[[Trigger, Callable[[], None]], Rule]
    deadly: bool = False


KILLED_BEFORE: Final = Disturbance(name="killed before", strike=lambda here, kill: here.kill_before(kill), deadly=True)
KILLED_AFTER: Final = Disturbance(name="killed after", strike=lambda here, kill: here.kill_after(kill), deadly=True)

IMPATIENT: Final = {"UPKEEP_API_TIMEOUT": "1"}
"""Settings of an operator that gives up on a request before one of the late answers below comes."""
FAILURES: Final = (
    Disturbance(name="conflict at", strike=lambda here, _: here.answer(409, reason="Conflict")),
    Disturbance(name="too many requests at", strike=lambda here, _: here.answer(429, retry_after=1)),
    Disturbance(name="error instead of", strike=lambda here, _: here.answer(500)),
    Disturbance(name="error in spite of", strike=lambda here, _: here.answer(500, after_commit=True)),
    Disturbance(name="connection cut before", strike=lambda here, _: here.drop_before()),
    Disturbance(name="connection cut after", strike=lambda here, _: here.drop_after()),
    Disturbance(name="late answer to", strike=lambda here, _: here.delay(1.4, after_commit=True)),
    Disturbance(name="late commit of", strike=lambda here, _: here.delay(1.4)),
)
"""What the API server and the way to it can do to a write, all of which an operator survives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a telling ended.

    Attributes:
        writes: what the operators wrote, in order.
        state: all that is left in the cluster, without what differs from time to time.
        struck: whether the disturbance came to pass.
    """

    writes: Sequence[Entry]
    state: dict[str, Any]
    struck: bool


async def tell(
    story: Story,
    nursery: Nursery,
    directory: Path,
    *,
    disturbance: Disturbance | None = None,
    nth: int = 0,
    like: Ending | None = None,
) -> Ending:
    """Tell a story once.

    Args:
        story: the story.
        nursery: who starts its operators.
        directory: for its files.
        disturbance: what goes wrong, None for nothing.
        nth: at which write, from 1.
        like: how it has to end; None for the first telling, which settles that.

    Raises:
        TimeoutError: it did not come to its end.
        AssertionError: it came to a wrong one.
    """
    async with opened(nursery, directory, others=story.others) as stage:
        try:
            return await _tell(story, stage, disturbance, nth, like)
        except BaseException as error:
            error.add_note("\n".join(f"{n}: {_line(entry)}" for n, entry in enumerate(stage.writes, 1)))
            error.add_note(stage.household.log[-4000:])
            raise


async def _tell(story: Story, stage: Stage, disturbance: Disturbance | None, nth: int, like: Ending | None) -> Ending:
    story.begin(stage)
    operators: list[Process] = []

    def kill() -> None:
        operators[-1].kill()

    rule = None
    if disturbance:
        here = stage.cluster.faults.on(WRITES, manager=MANAGER, without=("leases",), nth=nth)
        rule = disturbance.strike(here, kill)
    deadly = rule if disturbance and disturbance.deadly else None

    def well_told() -> bool:
        # The audit hears of a late answer only when it is given.
        heard = len(stage.started()) >= story.jobs
        return heard and story.over(stage) and (like is None or state_of(stage) == like.state)

    async def play() -> None:
        while True:
            operators.append(await stage.household.operator(settings=story.settings))
            if await _happens(stage, well_told, unless_ended=operators[-1]):
                return
            assert deadly, "the operator ended by itself"
            assert deadly.fired == len(operators), "the operator ended by itself"

    try:
        async with asyncio.timeout(story.within):
            await asyncio.gather(play(), story.meanwhile(stage))
    except TimeoutError:
        _account(story, stage)
        assert like is None, _difference(like.state, state_of(stage))
        raise
    operators[-1].kill()
    await operators[-1].end()
    _account(story, stage)
    story.check(stage)
    return Ending(writes=stage.writes, state=state_of(stage), struck=bool(rule and rule.fired))


async def _happens(stage: Stage, what: Callable[[], bool], *, unless_ended: Process) -> bool:
    """Wait until something happens; false where the process ends before."""
    happened = asyncio.create_task(stage.cluster.until(what, within=math.inf))
    ended = asyncio.create_task(unless_ended.end(within=math.inf))
    try:
        await asyncio.wait((happened, ended), return_when=asyncio.FIRST_COMPLETED)
        if happened.done():
            happened.result()
        return happened.done()
    finally:
        for each in (happened, ended):
            each.cancel()
        await asyncio.wait((happened, ended))


def occasions(stage: Stage) -> list[tuple[str, ...]]:
    """What Jobs were started for: UID of the owner, time, schedule, token.

    Raises:
        AssertionError: two were started for the same.
    """
    found = [_occasion(entry.body["metadata"]) for entry in stage.started()]
    assert len(set(found)) == len(found), f"a run was started twice: {found}"
    return found


def _account(story: Story, stage: Stage) -> None:
    found = occasions(stage)
    assert len(found) == story.jobs, f"{len(found)} runs instead of {story.jobs}: {found}"


def _occasion(metadata: dict[str, Any]) -> tuple[str, ...]:
    labels, annotations = metadata["labels"], metadata["annotations"]
    names = ("scheduled-time", "schedule", "run-token")
    return (labels["upkeep.dev/owner-uid"], *(annotations.get(f"upkeep.dev/{name}", "") for name in names))


async def retell(
    story: Story, nursery: Nursery, directory: Path, *disturbances: Disturbance, writes: Callable[[Entry], bool] = bool
) -> int:
    """Tell a story undisturbed, then with each disturbance at each of its writes; the number of tellings.

    Args:
        story: the story.
        nursery: who starts its operators.
        directory: for its files.
        disturbances: what goes wrong.
        writes: which writes are disturbed.

    Raises:
        ExceptionGroup: tellings that ended otherwise than the undisturbed one.
    """
    model = await tell(story, nursery, directory / "undisturbed")
    places = asyncio.Semaphore(story.at_once)
    missed: list[str] = []

    async def one(disturbance: Disturbance, nth: int, entry: Entry) -> None:
        label = f"{disturbance.name} write {nth}, {_line(entry)}"
        async with places:
            try:
                ending = await tell(
                    story,
                    nursery,
                    directory / f"{disturbance.name.replace(' ', '-')}-{nth}",
                    disturbance=disturbance,
                    nth=nth,
                    like=model,
                )
            except Exception as error:
                error.add_note(f"{story.name}: {label}")
                raise
        if not ending.struck:
            missed.append(label)

    cases = [
        (disturbance, nth, entry)
        for nth, entry in enumerate(model.writes, 1)
        for disturbance in disturbances
        if writes(entry)
    ]
    results = await asyncio.gather(*(one(*case) for case in cases), return_exceptions=True)
    errors = [result for result in results if isinstance(result, Exception)]
    if errors:
        msg = f"{story.name}: {len(errors)} of {len(cases)} disturbed tellings went wrong"
        raise ExceptionGroup(msg, errors)
    # Writes that happen side by side may come out as fewer; a disturbance that never strikes proves nothing.
    assert len(missed) <= len(cases) // 4, f"never struck: {missed}"
    return len(cases)


def state_of(stage: Stage) -> dict[str, Any]:
    """All that counts in the cluster, without what differs from one telling to the next."""
    found = {}
    for plural in (*_COMPARED, *(kind.plural for kind in ROUTES if kind in stage.cluster.catalogue.types)):
        for each in stage.cluster.list(plural):
            metadata = {key: value for key, value in each["metadata"].items() if key not in _VOLATILE}
            text = json.dumps({**each, "metadata": metadata}, sort_keys=True)
            for pattern, stand_in in ((_INSTANT, "<time>"), (_UUID, "<uid>"), (_RUN, "-<run>")):
                text = pattern.sub(stand_in, text)
            plain = json.loads(text)
            name = plain["metadata"]["name"]
            while (label := f"{plural}/{name}") in found:
                name += "+"
            found[label] = plain
    return found


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    lines = []
    for label in sorted(expected.keys() | found.keys()):
        before, after = expected.get(label), found.get(label)
        if before != after:
            lines += [
                label,
                f"  undisturbed: {_differing(before, after)}",
                f"  disturbed:   {_differing(after, before)}",
            ]
    return "\n".join(["it ended otherwise than the undisturbed telling:", *lines])


def _differing(one: object, other: object) -> object:
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: _differing(value, other.get(key)) for key, value in one.items() if value != other.get(key)}
    return one


def _line(entry: Entry) -> str:
    what = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return f"{entry.verb} {what} {entry.name} → {entry.code}{'' if entry.answered else ', not answered'}"
