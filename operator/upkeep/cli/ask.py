"""`upkeep start`, `end`, `cancel` and `extend`: ask something of a window, in your own name.

They write annotations as the user of the kubeconfig, and nothing else. Asked twice, a thing is asked for twice.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from upkeep.actions.fields import format_duration, parse_duration
from upkeep.api.window import Request
from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client
from upkeep.cluster.errors import ApiError
from upkeep.cluster.resources import WINDOWS
from upkeep.cluster.user import current_user
from upkeep.domain.instants import write_instant
from upkeep.domain.window.requests import REQUESTED_BY

MEANINGS: Final = {
    "start": (Request.START_NOW, "Open a MaintenanceWindow now, besides its schedule."),
    "end": (Request.END_NOW, "End a MaintenanceWindow that is open now, in order."),
    "cancel": (Request.CANCEL, "Call off the next opening of a MaintenanceWindow, or the one under way."),
    "extend": (Request.EXTEND, "Let a MaintenanceWindow that is open end so much later than was planned."),
}


def main(command: str, arguments: Sequence[str]) -> int:
    """Ask; the exit code is 0 when the API server has taken it down."""
    request, meaning = MEANINGS[command]
    parser = argparse.ArgumentParser(prog=f"upkeep {command}", description=meaning)
    parser.add_argument("window", help="name of the MaintenanceWindow")
    if request is Request.EXTEND:
        parser.add_argument("duration", type=_duration, help="in all, for example 30m; asking again does not add up")
    add_namespace(parser, "its namespace")
    chosen = parser.parse_args(arguments)
    value = chosen.duration if request is Request.EXTEND else write_instant(datetime.now(UTC))
    return asyncio.run(_ask(request, value, namespace=chosen.namespace, name=chosen.window))


def _duration(text: str) -> str:
    try:
        return format_duration(parse_duration(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


async def _ask(request: Request, value: str, *, namespace: str, name: str) -> int:
    async with await Client.connect() as client:
        try:
            user = await current_user(client)
            annotations = {request.annotation: value, REQUESTED_BY: user}
            await client.patch(WINDOWS, namespace, name, {"metadata": {"annotations": annotations}})
        except ApiError as problem:
            sys.stderr.write(f"{problem}\n")
            return 1
    told = f"kubectl describe mw {name} tells what became of it"
    sys.stdout.write(f"{namespace}/{name}: {request} asked for by {user}; {told}\n")
    return 0
