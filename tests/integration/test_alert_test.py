"""A synthetic alert and a real Alertmanager with real receivers: it arrives, or it is said where it went astray."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from integration.alertmanagerserver import AlertmanagerServer, running_alertmanager
from integration.bench import Bench, eventually
from integration.certificate import Certificate
from integration.observability import PASSWORD, USER
from integration.receivers import Hook, hook
from integration.test_http_check import always, response, serving
from lab.port import free_port
from upkeep.actions.alert.test import AlertTest
from upkeep.actions.contract import Outcome, Severity

ROUTES = """
route:
  receiver: everybody
  group_wait: 100ms
  group_interval: 1s
  group_by: [alertname]
  routes:
    - {{receiver: ops, matchers: ['severity="critical"']}}
    - {{receiver: nobody, matchers: ['severity="none"']}}
receivers:
  - name: nobody
  - name: everybody
    webhook_configs: [{{url: "http://127.0.0.1:{first}/everybody"}}]
  - name: ops
    webhook_configs: [{{url: "http://127.0.0.1:{first}/ops"}}, {{url: "http://127.0.0.1:{second}/ops"}}]
inhibit_rules:
  - source_matchers: [alertname = "ClusterDown"]
    target_matchers: [team = "shop"]
"""


@pytest.fixture
def first() -> Iterator[Hook]:
    with hook() as made:
        yield made


@pytest.fixture
def second() -> Iterator[Hook]:
    with hook() as made:
        yield made


@contextmanager
def serving_alerts(first: Hook, second: Hook, *, path: str = "") -> Iterator[AlertmanagerServer]:
    routes = ROUTES.format(first=first.port, second=second.port)
    with running_alertmanager(configuration=routes, path=path) as server:
        yield server


@pytest.fixture
def server(first: Hook, second: Hook) -> Iterator[AlertmanagerServer]:
    with serving_alerts(first, second) as server:
        yield server


def alert(timeout: str = "20s", **changes: object) -> AlertTest:
    return AlertTest.model_validate({"connection": "shop", "timeout": timeout, **changes})


def firing(server: AlertmanagerServer) -> list[str]:
    query = {"filter": 'alertname="UpkeepAlertTest"'}
    found = httpx.get(f"{server.url}/api/v2/alerts", params=query, trust_env=False).raise_for_status().json()
    return [each["labels"]["test"] for each in found]


async def test_an_alert_that_all_receivers_have_taken_is_ok(
    bench: Bench, server: AlertmanagerServer, first: Hook, second: Hook
) -> None:
    bench.connect_http(server.url)

    step = await bench.step(alert(labels={"severity": "critical"}))

    assert (step.outcome, step.message) == (Outcome.OK, "an alert has reached Alertmanager and ops")
    for receiver in (first, second):
        (body, *_) = receiver.bodies
        assert body["receiver"] == "ops"
        assert body["commonLabels"]["alertname"] == "UpkeepAlertTest"
        assert body["commonAnnotations"]["summary"].endswith("nothing is to be done")
    assert firing(server) == [], "it was ended"


async def test_without_labels_it_takes_the_route_of_everything_else(bench: Bench, server: AlertmanagerServer) -> None:
    bench.connect_http(server.url)
    step = await bench.step(alert())
    assert (step.outcome, step.message) == (Outcome.OK, "an alert has reached Alertmanager and everybody")


async def test_a_receiver_that_refuses_is_found(
    bench: Bench, server: AlertmanagerServer, first: Hook, second: Hook
) -> None:
    bench.connect_http(server.url)
    second.status = 500

    report = await bench.report(alert("2s", labels={"severity": "critical"}))

    assert report.outcome is Outcome.FAILED
    assert report.steps[0].message == "the alert reached Alertmanager, but within 2s not webhook"
    (finding,) = report.findings
    assert (finding.check_id, finding.severity, finding.object) == ("alert.delivery", Severity.CRITICAL, "webhook")
    assert finding.recommendation.startswith("1 notifications did not arrive, ")
    assert finding.recommendation.endswith("see Alertmanager's log for why")
    assert first.bodies
    assert firing(server) == []


async def test_an_alert_that_is_led_to_somebody_else_is_found(bench: Bench, server: AlertmanagerServer) -> None:
    bench.connect_http(server.url)

    report = await bench.report(alert(receivers=["ops"], labels={"severity": "warning"}))

    assert report.outcome is Outcome.FAILED
    assert report.steps[0].message == "the alert is led to everybody, not to ops"
    assert [finding.check_id for finding in report.findings] == ["alert.route"]


async def test_a_receiver_that_sends_to_nobody_is_no_receiver(bench: Bench, server: AlertmanagerServer) -> None:
    bench.connect_http(server.url)
    step = await bench.step(alert(labels={"severity": "none"}))
    assert step.outcome is Outcome.FAILED
    assert step.message.startswith("receiver 'nobody' sends to nobody: give it an integration")


async def test_an_alert_that_is_inhibited_or_silenced_proves_nothing(bench: Bench, server: AlertmanagerServer) -> None:
    bench.connect_http(server.url)
    server.fire("ClusterDown")
    await eventually(lambda: httpx.get(f"{server.url}/api/v2/alerts", trust_env=False).json())

    inhibited = await bench.step(alert(labels={"team": "shop"}))

    assert inhibited.outcome is Outcome.UNKNOWN
    assert "the alert is not sent, because it is inhibited by another alert" in inhibited.message


async def test_a_server_with_a_path_of_its_own(bench: Bench, first: Hook, second: Hook) -> None:
    with serving_alerts(first, second, path="/alerts") as server:
        bench.connect_http(server.url)
        assert (await bench.step(alert(path="/alerts"))).outcome is Outcome.OK
        wrong = await bench.step(alert())
    assert (wrong.outcome, "does not answer as an Alertmanager does" in wrong.message) == (Outcome.UNKNOWN, True)


async def test_wrong_credentials_make_it_unknown(bench: Bench, tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    with running_alertmanager(certificate=made) as server:
        bench.connect_http(server.url, ca_crt=made.certificate.read_text(), username=USER, password=f"not-{PASSWORD}")
        step = await bench.step(alert())
    assert step.outcome is Outcome.UNKNOWN
    assert "refuses to answer (status 401)" in step.message
    assert PASSWORD not in step.message


async def test_a_server_that_is_away_makes_it_unknown(bench: Bench) -> None:
    bench.connect_http(f"http://127.0.0.1:{free_port()}")
    step = await bench.step(alert())
    assert (step.outcome, "nothing listens there" in step.message) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b"alertmanager_notification_requests_total 1\n", b"\xff\xfe\x00"], ids=repr
)
async def test_what_is_no_alertmanager_makes_it_unknown(bench: Bench, body: bytes) -> None:
    async with serving(always(response(200, body))) as url:
        bench.connect_http(url.partition("/health")[0])
        step = await bench.step(alert("2s"))
    assert step.outcome is Outcome.UNKNOWN, step.message


@pytest.mark.parametrize("value", ['"; DROP', "größe", "-x", "\x1b[31m", "x" * 256])
async def test_labels_may_be_any_text(bench: Bench, server: AlertmanagerServer, value: str) -> None:
    bench.connect_http(server.url)
    step = await bench.step(alert(labels={"pod": value}))
    assert step.outcome is Outcome.OK, step.message


async def test_a_stopped_step_ends_its_alert(bench: Bench, first: Hook, second: Hook) -> None:
    routes = ROUTES.format(first=first.port, second=second.port).replace("100ms", "1h")
    with running_alertmanager(configuration=routes) as server:
        bench.connect_http(server.url)
        running = asyncio.create_task(bench.step(alert()))
        await eventually(lambda: firing(server))
        running.cancel()
        step = await running
        assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
        assert firing(server) == []
