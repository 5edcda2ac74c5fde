"""The process in a Job's Pod: exit code, termination message, log lines, and what SIGTERM does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.bench import Bench, eventually
from integration.postgres import Database
from upkeep.actions.http.check import HttpCheck
from upkeep.actions.postgres.deadtuples import PostgresDeadTuples
from upkeep.actions.postgres.vacuum import PostgresVacuum
from upkeep.domain.order import ORDER_VARIABLE
from upkeep.domain.report import MAX_BYTES, RunReport

_PROGRAM = """
import sys
from pathlib import Path
from upkeep.runner.command import main
credentials, scratch, termination = map(Path, sys.argv[1:])
sys.exit(main(credentials=credentials, scratch=scratch, termination=termination))
"""
_SIGNALLED_PROGRAM = """
import os, signal, sys
from pathlib import Path
from upkeep.runner.command import main

class Environment(dict):
    def get(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().get(*arguments)

credentials, scratch, termination = map(Path, sys.argv[1:])
sys.exit(main(environment=Environment(os.environ), credentials=credentials, scratch=scratch, termination=termination))
"""


class Pod:
    """The runner as a process of its own."""

    def __init__(self, bench: Bench, termination: Path) -> None:
        self._bench = bench
        self.termination = termination

    def start(self, order: str, *, program: str = _PROGRAM) -> "subprocess.Popen[str]":
        arguments = [self._bench.credentials, self._bench.scratch, self.termination]
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={**os.environ, ORDER_VARIABLE: order, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: str) -> tuple[int, RunReport, list[dict[str, Any]]]:
        """Exit code, report and log lines."""
        return self.end(self.start(order))

    def end(self, process: "subprocess.Popen[str]") -> tuple[int, RunReport, list[dict[str, Any]]]:
        output, _ = process.communicate(timeout=30)
        text = self.termination.read_text()
        assert len(text.encode()) <= MAX_BYTES
        report = RunReport.decode(text)
        assert report is not None, text
        return process.returncode, report, [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def pod(bench: Bench, tmp_path: Path) -> Pod:
    return Pod(bench, tmp_path / "termination-log")


@pytest.fixture
def connected(database: Database, bench: Bench) -> Database:
    database.as_owner("CREATE TABLE orders AS SELECT generate_series(1, 5000) AS id", "DELETE FROM orders")
    bench.connect_postgres(database.server, database=database.name)
    return database


@pytest.mark.usefixtures("connected")
def test_a_good_run_exits_with_zero_and_logs_its_findings(bench: Bench, pod: Pod) -> None:
    order = bench.order(PostgresDeadTuples(connection="db"), PostgresVacuum(connection="db")).encode()
    code, report, lines = pod.run(order)
    assert code == 0
    assert [step.outcome.value for step in report.steps] == ["ok", "changed"]
    assert [line["message"] for line in lines] == [
        "run started",
        "step started",
        "finding",
        "step ended",
        "step started",
        "step ended",
        "run ended",
    ]
    finding = lines[2]
    assert (finding["check_id"], finding["object"], finding["level"]) == (
        "postgres.dead-tuples",
        "public.orders",
        "info",
    )


def test_a_failed_run_exits_with_one(bench: Bench, pod: Pod) -> None:
    code, report, _ = pod.run(bench.order(PostgresVacuum(connection="db")).encode())
    assert code == 1
    assert report.message == "step-1: connection 'db' is not defined: add it to spec.connections (defined: none)"


def test_an_unknown_outcome_exits_with_two(connected: Database, bench: Bench, pod: Pod) -> None:
    connected.execute(f'ALTER DATABASE "{connected.name}" SET track_counts = off')
    code, report, _ = pod.run(bench.order(PostgresDeadTuples(connection="db")).encode())
    assert (code, report.outcome.value) == (2, "unknown")


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        ("", "cannot read the run order in UPKEEP_RUN_ORDER"),
        ("{}", "Field required"),
        (
            '{"owner": "x", "timeout": "1h", "steps": [{"name": "a", "actionName": "noAction", "action": {}}]}',
            "noAction",
        ),
    ],
)
def test_an_order_that_cannot_be_read_still_leaves_a_report(pod: Pod, order: str, cause: str) -> None:
    code, report, _ = pod.run(order)
    assert code == 1
    assert cause in report.message
    assert report.message.endswith("let them be the same")


def test_more_findings_than_fit_are_counted(connected: Database, bench: Bench, pod: Pod) -> None:
    # given many tables that all have dead rows
    connected.as_owner(
        "DO $$ BEGIN FOR n IN 1..60 LOOP EXECUTE format('CREATE TABLE %I AS SELECT 1 AS id', 'größe 表 ' || n); "
        "EXECUTE format('DELETE FROM %I', 'größe 表 ' || n); END LOOP; END $$"
    )
    # when they are checked
    action = PostgresDeadTuples(connection="db", min_dead_rows=0)
    code, report, lines = pod.run(bench.order(action).encode())
    # then the report has as many as fit, the number of all, and the log has every one
    assert code == 0
    assert 0 < len(report.findings) < 61
    assert report.counts.critical == 61
    assert sum(line["message"] == "finding" for line in lines) == 61


async def test_sigterm_stops_the_query_and_is_reported(connected: Database, bench: Bench, pod: Pod) -> None:
    # given a run that waits for a table, and another step after it
    action = PostgresVacuum.model_validate({"connection": "db", "lockTimeout": "10m"})
    order = bench.order(action, HttpCheck(url="http://127.0.0.1/")).encode()
    with connected.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        process = pod.start(order)
        await eventually(lambda: _vacuums(connected))
        # when its Pod is told to end
        process.send_signal(signal.SIGTERM)
        code, report, _ = pod.end(process)
        # then the query is gone though the lock is still held, and the exit code tells the signal
        await eventually(lambda: not _vacuums(connected))
    assert code == 128 + signal.SIGTERM
    assert [step.outcome.value for step in report.steps] == ["failed", "skipped"]
    assert "SIGTERM" in report.message


def test_sigterm_is_not_lost_while_the_process_starts(bench: Bench, pod: Pod, connected: Database) -> None:
    # given a process that gets SIGTERM at the moment when it reads its order
    action = PostgresVacuum.model_validate({"connection": "db", "lockTimeout": "10m"})
    with connected.session() as other, other.transaction():
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        process = pod.start(bench.order(action).encode(), program=_SIGNALLED_PROGRAM)
        # when it goes on
        code, report, _ = pod.end(process)
    # then it ends in order
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM" in report.message


def test_where_nothing_reads_the_report_the_log_has_it(bench: Bench, tmp_path: Path) -> None:
    pod = Pod(bench, tmp_path / "no-such-directory" / "termination-log")
    process = pod.start(bench.order(PostgresVacuum(connection="db")).encode())
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    last = json.loads(output.splitlines()[-1])
    assert last["level"] == "warning"
    assert last["message"].endswith("No such file or directory: it is only in this log")


def test_no_credential_reaches_the_log(connected: Database, bench: Bench, pod: Pod) -> None:
    bench.secret("db", password="canary-95ae01")  # noqa: S106 - the point of this test
    process = pod.start(bench.order(PostgresVacuum(connection="db")).encode())
    output, _ = process.communicate(timeout=30)
    assert "password authentication failed" in output
    assert "canary-95ae01" not in output + pod.termination.read_text()
    assert connected.value("SELECT 1") == 1


def _vacuums(database: Database) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND state = 'active'"
    return bool(database.value(query))
