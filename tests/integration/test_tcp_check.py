"""A port that accepts connections, one that does not, and one that nobody can reach."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.redisserver import RedisServer
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.tcp.check import TcpCheck

SYN_SENT = "02"


def check(port: int, **changes: object) -> TcpCheck:
    return TcpCheck.model_validate({"host": "127.0.0.1", "port": port, **changes})


@contextmanager
def full() -> Iterator[int]:
    """A port whose server accepts nobody and whose queue is full, so that nothing answers."""
    with socket.socket() as server, socket.socket() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting.connect(server.getsockname())
        yield server.getsockname()[1]


def connecting(port: int) -> bool:
    """Whether somebody on this machine waits for an answer of the port."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(far.endswith(f":{port:04X}") and state == SYN_SENT for _, _, far, state, *_ in sockets)


async def test_a_server_that_accepts_is_ok(bench: Bench, redis_server: RedisServer) -> None:
    report = await bench.report(
        check(redis_server.port, samples=5, warningMilliseconds=5000, criticalMilliseconds=9000)
    )
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].metrics["samples"] == 5
    assert report.steps[0].message.startswith(f"127.0.0.1:{redis_server.port} accepts connections, p95 ")


@pytest.mark.parametrize(
    ("changes", "severity", "threshold"),
    [
        ({"warningMilliseconds": 0, "criticalMilliseconds": 60000}, Severity.WARNING, 0),
        ({"warningMilliseconds": 0, "criticalMilliseconds": 0.001}, Severity.CRITICAL, 0.001),
    ],
)
async def test_a_slow_connection_is_a_finding(
    bench: Bench, redis_server: RedisServer, changes: dict[str, float], severity: Severity, threshold: float
) -> None:
    report = await bench.report(check(redis_server.port, **changes))
    (finding,) = report.findings
    assert (finding.check_id, finding.severity, finding.threshold) == ("tcp.connect-time", severity, threshold)
    assert report.outcome is Outcome.OK


async def test_a_port_where_nothing_listens_is_a_failure_and_a_critical_finding(bench: Bench) -> None:
    port = free_port()
    report = await bench.report(check(port, samples=3))
    (finding,) = report.findings
    assert report.outcome is Outcome.FAILED
    assert (finding.check_id, finding.severity, finding.object) == ("tcp.check", Severity.CRITICAL, f"127.0.0.1:{port}")
    assert f"cannot connect to 127.0.0.1:{port}: " in report.steps[0].message
    assert "connection refused: nothing listens there: check host and port" in report.steps[0].message
    assert report.steps[0].message.endswith(" (connection 1 of 3)")


async def test_a_server_that_does_not_answer_is_given_up(bench: Bench) -> None:
    with full() as port:
        step = await bench.step(check(port, timeout="1s", samples=3))
    assert step.outcome is Outcome.FAILED
    assert "no connection within 1 s: check host and port, and the NetworkPolicies (connection " in step.message


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 200, "a..b"])
async def test_a_name_that_does_not_exist_is_named(bench: Bench, host: str) -> None:
    step = await bench.step(check(80, host=host))
    assert step.outcome is Outcome.FAILED
    assert "no such name in DNS: check host" in step.message


async def test_a_network_without_a_way_to_it_is_named(bench: Bench) -> None:
    # given the address of everybody, to which TCP has no way, so that nothing is sent
    step = await bench.step(check(80, host="255.255.255.255"))
    assert step.outcome is Outcome.FAILED
    assert "there is no way to it: check host, the network and the NetworkPolicies" in step.message


async def test_a_name_of_several_addresses_is_named_where_none_accepts(bench: Bench) -> None:
    step = await bench.step(check(free_port(), host="localhost"))
    assert step.outcome is Outcome.FAILED
    assert "check host and port, and that the server runs" in step.message


async def test_an_address_of_version_6_is_written_in_brackets(bench: Bench) -> None:
    step = await bench.step(check(free_port(), host="::1"))
    assert step.message.startswith("cannot connect to [::1]:")


async def test_a_stopped_step_ends_its_attempt(bench: Bench) -> None:
    with full() as port:
        running = asyncio.create_task(bench.step(check(port, samples=3, timeout="1m")))
        await eventually(lambda: connecting(port))
        running.cancel()
        step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
