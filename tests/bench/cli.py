"""The benchmark's command line: who runs when, and what is printed."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop
import yaml
from rich.console import Console

from bench.contestants import DEFAULT, LIFTED_LIMITS, UPKEEP
from bench.plane import home_of, running
from bench.race import Figures, Race
from bench.table import Rounds, budgets, results, verdicts
from lab import toolchain
from lab.failure import LabError
from lab.home import TREE, Home
from lab.report import Report
from lab.state import alone

if TYPE_CHECKING:
    from upkeep.cluster.client import Client

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

BARE = "bare client"
WIDTH = 132
"""Of the table where no terminal says how wide it is."""
DEFINITIONS = TREE / "crds"


@app.command()
def bench(
    schedules: Annotated[int, typer.Option(min=1, max=10_000, help="How many are due in the one minute.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Of each contestant but the slow one.")] = 3,
    *,
    quick: Annotated[bool, typer.Option(help="A smoke run: 50 schedules, one round.")] = False,
) -> None:
    """Print how fast schedules that are due in one minute become Jobs, and whether the budgets are kept."""
    if quick:
        schedules, rounds = 50, 1
    machine = Home.from_environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Report() as report, alone(home_of(machine), report):
        toolchain.build(machine, report)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(measure(machine, report, count=schedules, rounds=rounds))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(results(measured, schedules))
    found = budgets(upkeep=measured[UPKEEP.title], bare=measured[BARE], lifted=measured[LIFTED_LIMITS.title])
    console.print(verdicts(found))


async def measure(machine: Home, report: Report, *, count: int, rounds: int) -> Rounds:
    """All rounds of all contestants, who take turns, on one API server.

    Raises:
        LabError: something did not start, or did not do what it should.
    """
    measured: Rounds = {DEFAULT.title: [], LIFTED_LIMITS.title: [], BARE: [], UPKEEP.title: []}
    async with running(machine, report) as plane, await plane.client() as client:
        await _define(client, report)
        race = Race(plane=plane, client=client, report=report, count=count)
        turns = [BARE, UPKEEP.title, LIFTED_LIMITS.title]
        for number in range(1, rounds + 1):
            for title in turns:
                figures = await _round(race, title, number, whole=number == rounds)
                measured[title].append(figures)
                report.say(
                    f"  {title}: last {figures.last:.2f} s, p50 {figures.median:.2f} s "
                    f"({figures.others:.0%} of the CPU taken by others)"
                )
            turns = [*turns[1:], turns[0]]
        measured[DEFAULT.title].append(await race.scheduled(DEFAULT, 1, whole=False))
    return measured


async def _round(race: Race, title: str, number: int, *, whole: bool) -> Figures:
    if title == BARE:
        return await race.bare(number)
    contestant = UPKEEP if title == UPKEEP.title else LIFTED_LIMITS
    return await race.scheduled(contestant, number, whole=whole)


async def _define(client: Client, report: Report) -> None:
    """Bring in the custom resource definitions of this tree, and wait until they are served."""
    with report.step("Defining the custom resources"):
        for path in sorted(DEFINITIONS.glob("*.yaml")):
            definition: dict[str, Any] = yaml.safe_load(path.read_text())
            place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            await client.request("POST", place, body=definition)
            await _served(client, f"{place}/{definition['metadata']['name']}")


async def _served(client: Client, path: str) -> None:
    async with asyncio.timeout(30):
        while not _established(await client.request("GET", path)):  # noqa: ASYNC110 - it asks another process
            await asyncio.sleep(0.1)


def _established(definition: dict[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(held["type"] == "Established" and held["status"] == "True" for held in conditions)


def main() -> None:
    """Run it; a problem of this machine is one message, not a traceback."""
    try:
        app()
    except LabError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", highlight=False, markup=False)
        sys.exit(1)
