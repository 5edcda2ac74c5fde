"""What a real Prometheus measures against thresholds: good, bad, nothing at all; and a Prometheus that is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration.bench import Bench, eventually
from integration.certificate import Certificate
from integration.observability import PASSWORD, USER
from integration.prometheusserver import PrometheusServer, running_prometheus
from integration.test_http_check import always, response, serving
from lab.port import free_port
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.prometheus.query import PrometheusQuery
from upkeep.actions.registry import find

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "task-health.yaml"

WELL = """
- {record: up, expr: vector(1), labels: {job: shop}}
"""

BUSY = """
- {record: node_cpu_seconds_total, expr: time() * 0.05, labels: {instance: a, mode: idle}}
- {record: node_memory_MemTotal_bytes, expr: vector(1000), labels: {instance: a}}
- {record: node_memory_MemAvailable_bytes, expr: vector(150), labels: {instance: a}}
- {record: node_filesystem_size_bytes, expr: vector(1000), labels: {instance: a, mountpoint: /, fstype: ext4}}
- {record: node_filesystem_avail_bytes, expr: vector(900), labels: {instance: a, mountpoint: /, fstype: ext4}}
- {record: http_requests_total, expr: time() * 10, labels: {namespace: shop, code: "200"}}
- {record: http_requests_total, expr: time() * 0.3, labels: {namespace: shop, code: "500"}}
"""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    with running_prometheus(WELL) as server:
        yield server


def series(**values: float) -> str:
    """A query that gives one series for each instance."""
    each = (f'label_replace(vector({value}), "instance", "{name}", "", "")' for name, value in values.items())
    return " or ".join(each)


@asynccontextmanager
async def answering(data: dict[str, Any], **besides: object) -> AsyncIterator[str]:
    """A server that answers every question of the API with this; gives its URL."""
    body = json.dumps({"status": "success", "data": data, **besides}).encode()
    async with serving(always(response(200, body))) as url:
        yield url.partition("/health")[0]


def query(text: str, **changes: object) -> PrometheusQuery:
    return PrometheusQuery.model_validate({"connection": "metrics", "query": text, "warning": 70, **changes})


async def test_what_is_below_its_thresholds_is_ok(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query(series(a=10, b=69.9), critical=90, title="CPU", unit="percent"))
    assert (report.outcome, report.findings) == (Outcome.OK, [])
    assert report.steps[0].message == 'CPU: as it should be, worst 69.9 percent of {instance="b"}'
    assert report.steps[0].metrics == {"series": 2, "findings": 0, "worst": 69.9}


async def test_each_series_that_reaches_a_threshold_is_a_finding(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    wanted = query(series(a=70, b=95, c=10), critical=90, title="CPU", unit="percent", advice="add a node")
    report = await bench.report(wanted)
    assert [(finding.severity, finding.object, finding.observed, finding.threshold) for finding in report.findings] == [
        (Severity.CRITICAL, 'CPU {instance="b"}', 95, 90),
        (Severity.WARNING, 'CPU {instance="a"}', 70, 70),
    ]
    assert report.findings[0].recommendation == "95 percent, and critical from 90 percent up: add a node"
    assert report.outcome is Outcome.OK
    assert report.steps[0].message == 'CPU: 2 of 3 series, worst 95 percent of {instance="b"}'


async def test_a_finding_can_fail_the_step(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    assert (await bench.step(query("vector(70)", fails=True))).outcome is Outcome.FAILED
    assert (await bench.step(query("vector(69)", fails=True))).outcome is Outcome.OK


async def test_a_threshold_can_be_reached_from_above(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query(series(a=2, b=1, c=3), when="Below", warning=2, critical=1))
    assert [(finding.severity, finding.observed) for finding in report.findings] == [
        (Severity.CRITICAL, 1),
        (Severity.WARNING, 2),
    ]
    assert "1, and critical from 1 down: " in report.findings[0].recommendation


async def test_a_number_without_series_is_compared_too(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query("scalar(vector(71))"))
    assert [finding.object for finding in report.findings] == ["scalar(vector(71))"]


@pytest.mark.parametrize("text", ["no_such_metric", "vector(0) / vector(0)", "up > 5"])
async def test_no_data_is_unknown_and_not_ok(bench: Bench, prometheus: PrometheusServer, text: str) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query(text))
    assert (report.outcome, report.findings) == (Outcome.UNKNOWN, [])
    assert report.steps[0].message == f"{text}: no data: check the query, and that what it measures is scraped"


async def test_series_that_are_not_a_number_make_the_rest_unknown(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query(f"{series(a=80)} or vector(0) / vector(0)"))
    assert (report.outcome, len(report.findings)) == (Outcome.UNKNOWN, 1)
    assert "1 of 2 series are not a number" in report.steps[0].message


async def test_what_is_infinite_is_told(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(query("vector(1) / vector(0)"))
    assert [(finding.observed, finding.severity) for finding in report.findings] == [(float("inf"), Severity.WARNING)]
    assert type(report).decode(report.encode()) == report


async def test_of_many_series_the_worst_are_told(bench: Bench) -> None:
    found = [{"metric": {"pod": f"p{number}"}, "value": [0, str(number)]} for number in range(1000)]
    async with answering({"resultType": "vector", "result": found}) as url:
        bench.connect_prometheus(url)
        result = await query("up", warning=100).run(bench.context())
    assert len(result.findings) == 50
    assert (result.findings[0].observed, result.metrics["findings"]) == (999, 900)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"; DROP TABLE x', "does not understand the question: "),
        ("rate(up)", "does not understand the question: "),
        ("up[5m]", "the query gives a matrix, not numbers of now"),
        ('"größe"', "the query gives a string, not numbers of now"),
    ],
)
async def test_a_query_that_is_wrong_fails_and_says_why(
    bench: Bench, prometheus: PrometheusServer, text: str, said: str
) -> None:
    bench.connect_prometheus(prometheus.url)
    step = await bench.step(query(text))
    assert (step.outcome, said in step.message) == (Outcome.FAILED, True), step.message


async def test_a_query_that_cannot_be_answered_is_unknown(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    step = await bench.step(query(f"vector(1) + on() ({series(a=1, b=2)})"))
    assert step.outcome is Outcome.UNKNOWN
    assert "could not answer: found duplicate series" in step.message


async def test_labels_cannot_write_into_messages(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    hostile = r'"instance", "\"; DROP \u001b[31m größe' + "y" * 500
    report = await bench.report(query(f'label_replace(vector(80), {hostile}", "", "")'))
    (finding,) = report.findings
    assert "\x1b" not in finding.object
    assert "größe" in finding.object
    assert len(report.encode()) < 2000


async def test_credentials_and_authority_of_the_secret_are_used(bench: Bench, tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    with running_prometheus(prefix="/metrics", certificate=made) as server:
        keys = {"ca_crt": made.certificate.read_text(), "username": USER}
        bench.connect_prometheus(server.url, **keys, password=PASSWORD)
        right = await bench.step(query("vector(1)"))
        bench.secret("metrics", password="canary-wrong")  # noqa: S106 - the point of this test
        wrong = await bench.step(query("vector(1)"))
        (bench.credentials / "metrics" / "ca.crt").unlink()
        untrusted = await bench.step(query("vector(1)"))
        bench.connections.clear()
        bench.connect_prometheus(server.url.replace("/metrics", ""))
        nowhere = await bench.step(query("vector(1)"))
    assert right.outcome is Outcome.OK, right.message
    assert wrong.outcome is Outcome.UNKNOWN
    assert wrong.message == "'metrics' refuses to answer (status 401): check the keys of Secret 'metrics-secret'"
    assert (untrusted.outcome, "CERTIFICATE_VERIFY_FAILED" in untrusted.message) == (Outcome.UNKNOWN, True)
    assert nowhere.outcome is Outcome.UNKNOWN


async def test_a_server_that_is_away_makes_it_unknown(bench: Bench) -> None:
    bench.connect_prometheus(f"http://127.0.0.1:{free_port()}")
    step = await bench.step(query("up"))
    assert step.outcome is Outcome.UNKNOWN
    assert step.message.startswith("'metrics' cannot be asked: ")
    assert "nothing listens there" in step.message


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"[" * 100_000,
        b'{"status":"success"}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"many"]}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[1]}}',
        b"\xff\xfe",
    ],
)
async def test_what_is_no_prometheus_makes_it_unknown(bench: Bench, body: bytes) -> None:
    async with serving(always(response(200, body))) as url:
        bench.connect_prometheus(url.partition("/health")[0])
        step = await bench.step(query("up"))
    assert step.outcome is Outcome.UNKNOWN
    assert "does not answer as Prometheus does (status 200): check url" in step.message


async def test_an_answer_that_is_not_complete_is_not_ok(bench: Bench) -> None:
    found = {"resultType": "vector", "result": [{"metric": {}, "value": [0, "1"]}]}
    async with answering(found, warnings=["store 3 is away"]) as url:
        bench.connect_prometheus(url)
        step = await bench.step(query("up"))
    assert (step.outcome, step.message) == (
        Outcome.UNKNOWN,
        "up: as it should be, worst 1; incomplete answer: store 3 is away",
    )


async def test_an_endless_answer_is_not_read_to_its_end(bench: Bench) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b" " * (4 * 1024 * 1024 + 1)
    async with serving(always(endless)) as url:
        bench.connect_prometheus(url.partition("/health")[0])
        step = await bench.step(query("up"))
    assert (step.outcome, "more than 4 MiB" in step.message) == (Outcome.UNKNOWN, True)


async def test_an_answer_that_does_not_come_is_given_up_and_a_stopped_step_ends(bench: Bench) -> None:
    begun = []

    async def never(number: int) -> bytes:
        begun.append(number)
        await asyncio.sleep(60)
        return b""

    async with serving(never) as url:
        bench.connect_prometheus(url.partition("/health")[0])
        late = await bench.step(query("up", timeout="1s"))
        running = asyncio.create_task(bench.step(query("up")))
        await eventually(lambda: len(begun) == 2)
        running.cancel()
        stopped = await running
    assert (late.outcome, "gives no answer within 1 s" in late.message) == (Outcome.UNKNOWN, True)
    assert (stopped.outcome, "SIGTERM" in stopped.message) == (Outcome.FAILED, True)


async def test_a_connection_of_another_kind_is_refused(bench: Bench) -> None:
    bench.connect_http("http://127.0.0.1:1")
    step = await bench.step(PrometheusQuery(connection="shop", query="up", warning=1))
    assert step.message == "connection 'shop' is http, but this step needs prometheus"


async def test_the_sample_finds_what_is_busy_in_a_prometheus_that_measures_it(bench: Bench) -> None:
    # given a CPU that is hardly ever idle, memory at 85 %, disk at 10 % and 2.9 % of errors
    with running_prometheus(BUSY) as server:
        bench.connect_prometheus(server.url)
        await eventually(lambda: server.values('rate(http_requests_total{code="500"}[5m])'))
        found = {name: await bench.report(action) for name, action in sampled()}
    severities = {name: [finding.severity for finding in report.findings] for name, report in found.items()}
    assert {report.outcome for report in found.values()} == {Outcome.OK}
    assert severities == {
        "cpu": [Severity.CRITICAL],
        "memory": [Severity.WARNING],
        "disk": [],
        "errors": [Severity.WARNING],
    }


async def test_the_sample_knows_nothing_where_nothing_is_measured(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    assert {(await bench.step(action)).outcome for _, action in sampled()} == {Outcome.UNKNOWN}


def sampled() -> list[tuple[str, Any]]:
    """The queries of the sample, by the name of their step."""
    task, *_ = yaml.safe_load_all(SAMPLE.read_text())
    steps = [step for step in task["spec"]["steps"] if "prometheusQuery" in step]
    return [(step["name"], find("prometheusQuery").model_validate(step["prometheusQuery"])) for step in steps]
