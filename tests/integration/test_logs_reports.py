"""What log files tell: common errors, how long things took, refused log-ins; plain, compressed and hostile ones."""

import asyncio
import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench, being_read, eventually, powerless
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.logs.errorreport import LogsErrorReport
from upkeep.actions.logs.failedlogins import LogsFailedLogins
from upkeep.actions.logs.performancereport import LogsPerformanceReport
from upkeep.domain.report import RunReport, StepReport

NOW = datetime.now(UTC)
TODAY = NOW - timedelta(hours=1)
LONG_AGO = NOW - timedelta(days=3)


def errors(**changes: Any) -> LogsErrorReport:  # noqa: ANN401 - parameters of any kind
    return LogsErrorReport.model_validate({"connection": "logs", **changes})


def performance(**changes: Any) -> LogsPerformanceReport:  # noqa: ANN401 - parameters of any kind
    return LogsPerformanceReport.model_validate({"connection": "logs", **changes})


def logins(**changes: Any) -> LogsFailedLogins:  # noqa: ANN401 - parameters of any kind
    return LogsFailedLogins.model_validate({"connection": "logs", **changes})


def objects(report: RunReport) -> list[str]:
    return [finding.object for finding in report.findings]


def counts(report: RunReport) -> dict[str, float]:
    return {finding.object: finding.observed for finding in report.findings}


async def test_errors_are_grouped_by_what_they_have_in_common(volume: Path, bench: Bench) -> None:
    lines = [f"ERROR order {number} of 'user-{number}' at 10.0.0.{number % 250} timed out" for number in range(300)]
    lines += ["ERROR cannot connect to database"] * 5 + ["INFO all is well"] * 1000
    (volume / "app.log").write_text("\n".join(lines))
    report = await bench.report(errors())
    assert counts(report) == {
        "logs ERROR order <n> of <text> at <n> timed out": 300,
        "logs ERROR cannot connect to database": 5,
    }
    assert [finding.severity for finding in report.findings] == [Severity.WARNING, Severity.INFO]
    assert report.steps[0].metrics == {"errors": 305, "kinds": 2, "lines": 1305, "files": 1}
    assert report.outcome is Outcome.OK


async def test_without_errors_there_is_no_finding(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text("all is well\nno errors whatsoever\n")
    report = await bench.report(errors())
    assert (report.outcome, report.findings) == (Outcome.OK, [])


async def test_lines_of_json_count_by_their_message(volume: Path, bench: Bench) -> None:
    lines = [json.dumps({"level": "error", "msg": f"order {number} is lost", "id": number}) for number in range(3)]
    (volume / "app.log").write_text("\n".join([*lines, "{" * 5000 + "error"]))
    report = await bench.report(errors())
    assert counts(report)["logs order <n> is lost"] == 3


async def test_compressed_files_are_read_too_all_their_members(volume: Path, bench: Bench) -> None:
    (volume / "app.log-20260101T000000Z.gz").write_bytes(gzip.compress(b"error one\n") + gzip.compress(b"error two\n"))
    (volume / "app.log.1").write_bytes(b"error three\n")
    assert sorted(objects(await bench.report(errors()))) == ["logs error one", "logs error three", "logs error two"]


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%dT%H:%M:%S.123Z",
        "%Y-%m-%d %H:%M:%S,123",
        "%Y/%m/%d %H:%M:%S [warn]",
        "[%d/%b/%Y:%H:%M:%S +0000]",
        "%b %d %H:%M:%S host app[1]:",
    ],
)
async def test_only_lines_of_the_last_day_count(volume: Path, bench: Bench, form: str) -> None:
    # given a line of long ago with one that belongs to it, and one of today with one that belongs to it
    old, new = f"{LONG_AGO:{form}}", f"{TODAY:{form}}"
    (volume / "app.log").write_text(f"{old} x\nerror old\n{new} x\nerror new\n")
    report = await bench.report(errors())
    assert objects(report) == ["logs error new"]


async def test_files_that_nobody_wrote_to_are_not_read(volume: Path, bench: Bench) -> None:
    (volume / "old.log").write_text("error old\n")
    os.utime(volume / "old.log", (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    step = await bench.step(errors())
    assert step.outcome is Outcome.UNKNOWN
    assert "no file of these names was written to in the last 1d: check path and files" in step.message


@pytest.mark.parametrize(
    "line",
    [
        "error: login with password=CANARYhunter2 failed",
        'error: {"password": "CANARY with spaces"}',
        'error: body {\\"api_key\\":\\"CANARYabc\\"}',
        "error: password is CANARY",
        "error: Authorization: Bearer CANARYabc.def",
        "error: cannot open postgres://shop:CANARY@db/shop",
        "error: GET /login?code=CANARY&state=x failed",
        "error: token CANARY1234567890abcdefghij refused",
        "error: key sk_live_CANARYabcdefgh",
        "error: jwt eyJCANARYhbGciOiJI.eyJzdWIiOiIx.abc",
        "error: Set-Cookie: sid=CANARY; path=/",
        "error: Cookie: theme=dark; sid=CANARY",
        "error: password=a,CANARY;CANARY)CANARY&CANARY",
        "error: postgres://shop:a@CANARY/b@db/shop",
        "error: root:CANARY@db refused",
        "error: -----BEGIN RSA PRIVATE KEY----- CANARY",
        "error: said 'CANARY'",
        'error: said "CANARY' + "x" * 3000,
        "error: mail to CANARY@example.com bounced",
    ],
)
async def test_no_secret_is_ever_shown(volume: Path, bench: Bench, line: str) -> None:
    (volume / "app.log").write_text(line + "\n")
    report = await bench.report(errors())
    assert len(report.findings) == 1
    assert "CANARY" not in repr(report)


async def test_hostile_content_is_content(volume: Path, bench: Bench) -> None:
    lines = [
        b"error \xff\xfe\x00\x1b[31m",
        b"error " + b"x" * 3_000_000,
        b"error ${jndi:ldap}",
        b"\x1f\x8berror",
        b"error",
    ]
    (volume / "a\nb.log").write_bytes(b"\n".join(lines))
    (volume / "no.log").write_bytes(b"\x1f\x8b garbage")
    report = await bench.report(errors())
    assert report.outcome is Outcome.UNKNOWN
    assert "no.log: it is not whole gzip: look at it" in report.steps[0].message
    assert all(name.isprintable() and len(name) < 200 for name in objects(report))


async def test_memory_does_not_grow_with_what_is_read(volume: Path, bench: Bench) -> None:
    # given a gigabyte without a line end, and more kinds of errors than are remembered
    (volume / "sparse.log").touch()
    os.truncate(volume / "sparse.log", 1024**3)
    words = [
        f"{chr(97 + one)}{chr(97 + two)}{chr(97 + three)}"
        for one in range(26)
        for two in range(26)
        for three in range(9)
    ]
    (volume / "many.log").write_text("\n".join([*(f"error {word}" for word in words), *["error most of all"] * 3000]))
    report = await bench.report(errors())
    assert len(report.findings) == 20
    assert report.findings[0].object == "logs error most of all"
    assert "counts are too small by up to" in report.steps[0].message
    assert report.steps[0].metrics["errors"] == len(words) + 3000


async def test_links_out_of_the_volume_are_not_read(volume: Path, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret.log").write_text("error outside\n")
    (volume / "file.log").symlink_to(tmp_path / "secret.log")
    (volume / "directory").symlink_to(tmp_path)
    os.mkfifo(volume / "pipe.log")
    (volume / "app.log").write_text("error inside\n")
    assert objects(await bench.report(errors())) == ["logs error inside"]


async def test_what_cannot_be_read_is_unknown(reachable_bench: Bench) -> None:
    volume = reachable_bench.connect_volume()
    (volume / "app.log").write_text("error inside\n")
    (volume / "other.log").write_text("error inside\n")
    (volume / "other.log").chmod(0o600)
    with powerless():
        report = await reachable_bench.report(errors(), logins(), performance(jsonKey="x"))
    assert [step.outcome for step in report.steps] == [Outcome.UNKNOWN] * 3
    assert "could not be read: other.log: Permission denied: let the group 65532 read it" in report.steps[0].message


async def test_a_stopped_report_ends_at_once(volume: Path, bench: Bench) -> None:
    (volume / "sparse.log").touch()
    os.truncate(volume / "sparse.log", 1024**4)
    running = asyncio.create_task(bench.step(errors()))
    await eventually(lambda: being_read(volume / "sparse.log"))
    running.cancel()
    step: StepReport = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)


async def test_percentiles_of_a_number_by_expression(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text("".join(f"GET / took={number / 1000}s\n" for number in range(1, 1001)) + "took=x\n")
    slow = performance(pattern=r"took=(?P<value>[0-9.]+)", warningAbove=0.5, criticalAbove=2)
    report = await bench.report(slow)
    metrics = report.steps[0].metrics
    assert [metrics["p50"], metrics["p95"], metrics["p99"]] == pytest.approx([0.5, 0.95, 0.99], rel=0.01)
    assert (metrics["largest"], metrics["values"]) == (1, 1000)
    (finding,) = report.findings
    assert (finding.severity, finding.threshold, finding.unit) == (Severity.WARNING, 0.5, "seconds")


async def test_a_number_that_is_small_enough_is_no_finding(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text('{"http": {"duration": 0.2}}\n{"http": {"duration": "0.3"}}\n')
    report = await bench.report(performance(jsonKey="http.duration", warningAbove=0.5))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].metrics["values"] == 2


async def test_what_is_no_number_is_left_out_and_nothing_is_unknown(volume: Path, bench: Bench) -> None:
    values = ["NaN", "Infinity", "-1", "true", '"x"', "[1]", "null", "1" * 400, '{"ms": 1}']
    (volume / "app.log").write_text("".join(f'{{"ms": {value}}}\n' for value in values) + "{" * 8000 + "\n[]\n{}")
    step = await bench.step(performance(jsonKey="ms"))
    assert step.outcome is Outcome.UNKNOWN
    assert "has a number by jsonKey 'ms': check it, files and since" in step.message


async def test_refused_log_ins_of_sshd_count_by_source_and_user(volume: Path, bench: Bench) -> None:
    moment = f"{TODAY:%b %d %H:%M:%S} web sshd[7]: "
    lines = [
        *[f"{moment}Failed password for root from 192.0.2.7 port {port} ssh2" for port in range(40000, 40012)],
        f"{moment}Invalid user admin from 192.0.2.8 port 1",
        f"{moment}Failed password for invalid user admin from 192.0.2.8 port 1 ssh2",
        f"{moment}message repeated 5 times: [ Failed password for root from 192.0.2.7 port 1 ssh2]",
        f"{moment}Accepted password for root from 192.0.2.9 port 1 ssh2",
    ]
    (volume / "auth.log").write_text("\n".join(lines))
    report = await bench.report(logins())
    assert counts(report) == {"logs source 192.0.2.7": 17, "logs user root": 17}
    assert report.steps[0].metrics["refused"] == 18
    assert {finding.severity for finding in report.findings} == {Severity.WARNING}


async def test_refused_requests_of_web_servers_count(volume: Path, bench: Bench) -> None:
    moment = f"{TODAY:%d/%b/%Y:%H:%M:%S +0000}"
    refused = f'192.0.2.7 - bob [{moment}] "GET /a\\"b HTTP/1.1" 401 5 "-" "curl"\n'
    anonymous = f'2001:db8::1 - - [{moment}] "GET / HTTP/1.1" 403 5\n'
    good = f'192.0.2.9 - bob [{moment}] "GET /401 HTTP/1.1" 200 401 "-" "x 403 "\n'
    (volume / "access.log").write_text(refused * 2 + anonymous * 3 + good * 50)
    report = await bench.report(logins(warningCount=2, criticalCount=3))
    assert counts(report) == {"logs source 192.0.2.7": 2, "logs source 2001:db8::1": 3, "logs user bob": 2}
    assert report.findings[0].severity is Severity.CRITICAL


async def test_own_patterns_count_and_few_log_ins_are_no_finding(volume: Path, bench: Bench) -> None:
    (volume / "app.log").write_text("login failed: eve\n" * 3)
    own = [r"login failed: (?P<user>\w+)"]
    many = await bench.report(logins(patterns=own, formats=[], warningCount=3))
    few = await bench.report(logins(patterns=own, warningCount=4))
    assert (objects(many), objects(few)) == (["logs user eve"], [])


async def test_a_name_that_pretends_to_be_a_source_is_a_name(volume: Path, bench: Bench) -> None:
    name = "root from 203.0.113.1 port 22"
    (volume / "auth.log").write_text(f"Failed password for invalid user {name} from 192.0.2.7 port 1 ssh2\n" * 10)
    report = await bench.report(logins())
    assert sorted(objects(report)) == ["logs source 192.0.2.7", f"logs user {name}"]
