"""`upkeep approve` and `upkeep tick`: approve an opening of a window, tick off an item of its checklist.

They write annotations as the user of the kubeconfig, and nothing else: whether that user may, the API server decides.
What is approved is the window as it was printed: where it was changed meanwhile, the API server refuses.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from upkeep.api.window import Checklist, WindowSpec, WindowStatus
from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import WINDOWS
from upkeep.cluster.user import current_user
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.recollection import recall
from upkeep.domain.spec import explain
from upkeep.domain.window.approval import Endorsement, generation_of, required
from upkeep.domain.window.checklist import TICK_PREFIX, tick_of

_OCCURRENCE: Final = "start of the opening, for example 2026-12-06T02:00:00Z; left out: the one that waits for it"


class CommandError(Exception):
    """What was asked for makes no sense; the message says what to do."""


def approve(arguments: Sequence[str]) -> int:
    """Approve an opening; the exit code is 0 when it is approved."""
    parser = _parser("approve", "Approve an opening of a MaintenanceWindow, in your own name.")
    chosen = parser.parse_args(arguments)
    return asyncio.run(_told(lambda client: _approve(client, chosen.namespace, chosen.window, chosen.occurrence)))


def tick(arguments: Sequence[str]) -> int:
    """Tick off an item; the exit code is 0 when it is ticked."""
    parser = _parser("tick", "Tick off an item of a MaintenanceWindow's checklist, in your own name.")
    parser.add_argument("item", help="name of the item")
    chosen = parser.parse_args(arguments)
    return asyncio.run(
        _told(lambda client: _tick(client, chosen.namespace, chosen.window, chosen.item, chosen.occurrence))
    )


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"upkeep {command}", description=description)
    parser.add_argument("window", help="name of the MaintenanceWindow")
    add_namespace(parser, "its namespace")
    parser.add_argument("--occurrence", type=_instant, help=_OCCURRENCE)
    return parser


def _instant(text: str) -> str:
    try:
        return write_instant(read_instant(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


async def _told(command: Callable[[Client], Awaitable[str]]) -> int:
    """Run a command, and say how it went."""
    async with await Client.connect() as client:
        try:
            sys.stdout.write(f"{await command(client)}\n")
        except (ApiError, CommandError) as problem:
            sys.stderr.write(f"{problem}\n")
            return 1
    return 0


async def _approve(client: Client, namespace: str, name: str, occurrence: str | None) -> str:
    window = await client.get(WINDOWS, namespace, name)
    spec, approval = _spec(window), recall(WindowStatus, window.get("status")).status.approval
    if not required(spec):
        msg = f"{namespace}/{name} needs no approval: spec.approval is not set"
        raise CommandError(msg)
    wanted = occurrence or (approval.occurrence if approval else None)
    if wanted is None:
        msg = f"no opening of {namespace}/{name} lies ahead: name one with --occurrence"
        raise CommandError(msg)
    generation = generation_of(window)
    sys.stdout.write("".join(f"{line}\n" for line in _described(window, spec, wanted)))
    endorsement = Endorsement(by=await current_user(client), occurrence=wanted, generation=str(generation))
    await _annotate(client, namespace, name, endorsement.annotations)
    return f"approved by {endorsement.by}"


async def _tick(client: Client, namespace: str, name: str, item: str, occurrence: str | None) -> str:
    window = await client.get(WINDOWS, namespace, name)
    known = [each.name for each in (_spec(window).checklist or Checklist()).items]
    if item not in known:
        listed = f"its items are {', '.join(known)}" if known else "it has none"
        msg = f"{item!r} is not on the checklist of {namespace}/{name}: {listed}"
        raise CommandError(msg)
    states = recall(WindowStatus, window.get("status")).status.checklist
    wanted = occurrence or next((state.occurrence for state in states if state.name == item), None)
    if wanted is None:
        msg = f"no opening of {namespace}/{name} lies ahead: name one with --occurrence"
        raise CommandError(msg)
    user = await current_user(client)
    await _annotate(client, namespace, name, {f"{TICK_PREFIX}{item}": tick_of(user, wanted)})
    return f"{namespace}/{name}, opening of {wanted}: {item} ticked by {user}"


def _spec(window: Object) -> WindowSpec:
    try:
        return WindowSpec.model_validate(window.get("spec"))
    except ValidationError as problem:
        metadata = window["metadata"]
        msg = f"the spec of {metadata['namespace']}/{metadata['name']} is wrong: {explain(problem)}"
        raise CommandError(msg) from problem


def _described(window: Object, spec: WindowSpec, occurrence: str) -> Iterator[str]:
    """What is approved, for the person who approves it."""
    metadata = window["metadata"]
    yield f"{metadata['namespace']}/{metadata['name']}, opening of {occurrence}, generation {generation_of(window)}"
    if spec.change:
        risk = f"{spec.change.risk} risk" if spec.change.risk else ""
        yield f"  change: {', '.join(part for part in (spec.change.ticket, risk, spec.change.reason) if part)}"
        if spec.change.rollback_plan:
            yield f"  way back: {spec.change.rollback_plan}"
    if spec.plan:
        yield f"  tasks: {', '.join(map(str, spec.plan.tasks))}"
    if spec.checklist:
        yield f"  checklist: {', '.join(item.name for item in spec.checklist.items)}"


async def _annotate(client: Client, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
    await client.patch(WINDOWS, namespace, name, {"metadata": {"annotations": dict(annotations)}})
