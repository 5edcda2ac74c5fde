"""A key that one server checks and others show is replaced while both stay served."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from integration.bench import Bench
from integration.rotationworld import RotationWorld, rotation_world
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.rotate.credential import RotateCredential
from upkeep.actions.rotate.record import RECORD

FIRST = "first-key"


@dataclass
class Gate:
    """A server that takes the keys that it has read when it was started.

    Attributes:
        url: where it answers.
        keys: those that it takes.
        otherwise: its answer to every other one.
    """

    url: str = ""
    keys: set[str] = field(default_factory=set)
    otherwise: int = 401
    asked: list[str] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append(key)
        return web.Response(status=200 if key in self.keys else self.otherwise)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    runner = web.ServerRunner(web.Server(gate.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}/account"
    yield gate
    await runner.cleanup()


@pytest.fixture
async def world(gate: Gate, bench: Bench, tmp_path: Path) -> AsyncIterator[RotationWorld]:
    async with rotation_world(bench, tmp_path) as world:

        def restart(values: dict[str, str]) -> None:
            gate.keys = {values["current"], values.get("previous", "")} - {""}

        world.on_restart = restart
        world.make(current=FIRST)
        yield world


def rotation(gate: Gate, **changes: object) -> RotateCredential:
    parameters = {
        "secret": "shop-db",
        "key": {"url": gate.url},
        "workloads": [{"name": "web"}],
        "maxAge": "0s",
        "grace": "0s",
        **changes,
    }
    return RotateCredential.model_validate(parameters)


async def test_both_keys_are_taken_until_the_grace_period_is_over(world: RotationWorld, gate: Gate) -> None:
    result = await world.rotate(rotation(gate, grace="24h"))

    assert result.outcome is Outcome.CHANGED, result.message
    values = world.values()
    assert values["previous"] == FIRST
    assert gate.keys == {values["current"], FIRST}
    assert values["current"] not in result.message + str(world.annotations())

    world.let_grace_pass()
    over = await world.rotate(rotation(gate, grace="24h", maxAge="1h"))

    assert over.outcome is Outcome.CHANGED, over.message
    assert over.findings == []
    assert world.values() == {"current": values["current"], "previous": values["current"]}
    assert gate.keys == {values["current"]}
    assert gate.asked.count(FIRST) == 2, "it was used to see that it worked, and that it does not any more"
    assert RECORD not in world.annotations()


@pytest.mark.parametrize("answered", [False, True])
async def test_cut_off_at_every_request_a_key_that_is_handed_out_is_taken(
    world: RotationWorld, gate: Gate, *, answered: bool
) -> None:
    reached, request = True, 0
    while reached:
        request += 1
        reached = await world.cut_off(rotation(gate), request=request, answered=answered)
        assert world.in_use["current"] in gate.keys
        await world.rotate(rotation(gate, maxAge="90d"))
        assert RECORD not in world.annotations()
        assert world.values()["current"] in gate.keys
        assert gate.keys <= set(world.values().values())
    assert request > 8


async def test_a_server_that_does_not_take_the_new_key_gets_the_old_one_back(world: RotationWorld, gate: Gate) -> None:
    def stubborn(_: dict[str, str]) -> None:
        gate.keys = {FIRST}

    world.on_restart = stubborn

    result = await world.rotate(rotation(gate))

    assert result.outcome is Outcome.FAILED
    assert result.message.startswith(f"the new credential did not do: {gate.url}: status 401 instead of 200; ")
    assert world.values() == {"current": FIRST, "previous": FIRST}
    assert world.in_use["current"] == FIRST
    assert RECORD not in world.annotations()


async def test_an_old_key_that_is_taken_all_the_same_is_said(world: RotationWorld, gate: Gate) -> None:
    def lax(values: dict[str, str]) -> None:
        gate.keys |= set(values.values())

    world.on_restart = lax

    result = await world.rotate(rotation(gate))

    assert result.outcome is Outcome.CHANGED
    (finding,) = result.findings
    assert (finding.check_id, finding.severity) == ("credential.still-good", Severity.CRITICAL)
    assert FIRST not in finding.recommendation


async def test_a_place_that_takes_any_key_shows_nothing(world: RotationWorld, gate: Gate) -> None:
    gate.otherwise = 200

    result = await world.rotate(rotation(gate))

    assert result.outcome is Outcome.FAILED
    assert "answers 200 to a wrong key instead of 401 or 403" in result.message
    assert world.values() == {"current": FIRST}


@pytest.mark.parametrize("key", ["two\nlines", "größe", " "])
async def test_a_key_that_cannot_be_sent_is_not_told(world: RotationWorld, gate: Gate, key: str) -> None:
    world.api.delete("Secret", "shop", "shop-db")
    world.api.delete("Deployment", "shop", "web")
    world.make(current=key)

    result = await world.rotate(rotation(gate))

    assert result.outcome is Outcome.FAILED
    assert "the key has characters that a request header cannot have" in result.message
    assert key not in result.message.replace(" ", "" if key == " " else " ")


async def test_a_server_that_is_away_stops_it_before_anything_is_changed(world: RotationWorld, gate: Gate) -> None:
    gate.url = f"http://127.0.0.1:{free_port()}"

    result = await world.rotate(rotation(gate))

    assert result.outcome is Outcome.FAILED
    assert "does not work now, so nothing was begun" in result.message
    assert "nothing listens there" in result.message


async def test_a_stopped_run_ends(world: RotationWorld, gate: Gate) -> None:
    gate.otherwise = 503
    gate.keys = set()
    run = asyncio.create_task(world.rotate(rotation(gate)))
    while not gate.asked:  # noqa: ASYNC110 - a server in this process that sets no event
        await asyncio.sleep(0.02)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert world.values() == {"current": FIRST}
