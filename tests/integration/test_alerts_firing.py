"""Which alerts of a real Prometheus fire, which of them count, and a Prometheus that cannot say."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.certificate import Certificate
from integration.observability import PASSWORD, USER
from integration.prometheusserver import PrometheusServer, running_prometheus
from integration.test_http_check import always, response, serving
from lab.port import free_port
from upkeep.actions.alerts.firing import AlertsFiring
from upkeep.actions.contract import Outcome, Severity

RULES = r"""
- alert: ShopDown
  expr: vector(1)
  labels: {namespace: shop, severity: critical}
  annotations: {summary: "nobody can buy anything", runbook_url: "https://runbooks.example.com/shop-down"}
- alert: ShopSlow
  expr: |
    label_replace(vector(1), "pod", "größe\"; DROP\u001b[31m", "", "")
      or label_replace(vector(1), "pod", "b", "", "")
  labels: {namespace: shop, severity: warning}
  annotations: {description: "{{ $labels.pod }} is slow"}
- {alert: Watchdog, expr: vector(1), labels: {severity: none}}
- {alert: NotYet, expr: vector(1), for: 1h, labels: {namespace: shop, severity: critical}}
- {alert: Quiet, expr: vector(0) > 1, labels: {namespace: quiet}}
"""


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    with running_prometheus(RULES) as server:
        yield server


@pytest.fixture(autouse=True)
async def _evaluated(prometheus: PrometheusServer) -> None:
    await eventually(lambda: all(rule["health"] == "ok" for rule in prometheus.rules().values()))
    await eventually(lambda: len(prometheus.values('ALERTS{alertstate="firing"}')) == 4)


def firing(*matchers: str, **changes: object) -> AlertsFiring:
    return AlertsFiring.model_validate({"connection": "metrics", "matchers": matchers, **changes})


async def test_each_alert_that_fires_is_a_finding_with_what_its_rule_says(
    bench: Bench, prometheus: PrometheusServer
) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(firing())
    assert [(finding.severity, finding.object) for finding in report.findings] == [
        (Severity.CRITICAL, 'ShopDown {namespace="shop", severity="critical"}'),
        (Severity.WARNING, 'ShopSlow {namespace="shop", pod="b", severity="warning"}'),
        (Severity.WARNING, 'ShopSlow {namespace="shop", pod="größe"; DROP\\x1b[31m", severity="warning"}'),
        (Severity.INFO, 'Watchdog {severity="none"}'),
    ]
    assert [finding.recommendation for finding in report.findings] == [
        "nobody can buy anything: see https://runbooks.example.com/shop-down",
        "b is slow",
        'größe"; DROP\\x1b[31m is slow',
        "it fires: look into what its rule measures",
    ]
    assert (report.outcome, report.steps[0].metrics) == (Outcome.OK, {"rules": 5, "firing": 4})
    assert report.steps[0].message.startswith("4 alerts fire: ShopDown ")


@pytest.mark.parametrize(
    ("matchers", "names"),
    [
        (['namespace="shop"', 'severity!="critical"'], {"ShopSlow"}),
        (['alertname=~"Shop(Down|Up)"'], {"ShopDown"}),
        (['severity!~"none|warning"'], {"ShopDown"}),
        (['pod="größe\\"; DROP\\x1b[31m"'], {"ShopSlow"}),
        (['namespace="quiet"'], set()),
        (['alertname="NotYet"'], set()),
        (['namespace=""'], {"Watchdog"}),
    ],
)
async def test_matchers_say_which_alerts_count(
    bench: Bench, prometheus: PrometheusServer, matchers: list[str], names: set[str]
) -> None:
    bench.connect_prometheus(prometheus.url)
    report = await bench.report(firing(*matchers))
    assert {finding.object.split(" ")[0] for finding in report.findings} == names
    assert report.outcome is Outcome.OK


async def test_that_no_alert_fires_is_said_with_the_number_of_rules(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    step = await bench.step(firing('namespace="quiet"', fails=True))
    assert (step.outcome, step.message) == (Outcome.OK, "no alert fires, of 5 rules")


async def test_an_alert_can_fail_the_step(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    step = await bench.step(firing('alertname="ShopDown"', fails=True))
    assert step.outcome is Outcome.FAILED
    assert step.message == '1 alert fires: ShopDown {namespace="shop", severity="critical"}'


async def test_an_expression_that_cannot_be_read_fails(bench: Bench, prometheus: PrometheusServer) -> None:
    bench.connect_prometheus(prometheus.url)
    step = await bench.step(firing('namespace=~"("'))
    assert step.outcome is Outcome.FAILED
    assert "does not understand the question: " in step.message


async def test_where_there_are_no_rules_nothing_is_known(bench: Bench) -> None:
    with running_prometheus() as server:
        bench.connect_prometheus(server.url)
        step = await bench.step(firing())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message == "'metrics' has no alerting rules, so nothing can fire: check url and its rule_files"


async def test_a_rule_that_cannot_be_evaluated_makes_it_unknown(bench: Bench) -> None:
    # given a rule whose expression has two answers where there may be only one
    two = 'label_replace(vector(1), "a", "b", "", "") or vector(1)'
    with running_prometheus(f"- {{alert: Broken, expr: '1 + on() ({two}) and vector(1) * on() ({two})'}}\n") as server:
        bench.connect_prometheus(server.url)
        await eventually(lambda: server.rules()["Broken"]["health"] == "err")
        step = await bench.step(firing())
    assert step.outcome is Outcome.UNKNOWN
    assert "no alert fires, of 1 rules; 1 of 1 rules cannot be evaluated (Broken): " in step.message


async def test_wrong_credentials_make_it_unknown(bench: Bench, tmp_path: Path) -> None:
    made = Certificate.make(tmp_path)
    with running_prometheus(RULES, certificate=made) as server:
        bench.connect_prometheus(
            server.url, ca_crt=made.certificate.read_text(), username=USER, password=f"not-{PASSWORD}"
        )
        report = await bench.report(firing())
    assert report.outcome is Outcome.UNKNOWN
    assert "refuses to answer (status 401): check the keys of Secret 'metrics-secret'" in report.steps[0].message
    assert PASSWORD not in report.encode()


async def test_a_server_that_is_away_makes_it_unknown(bench: Bench) -> None:
    bench.connect_prometheus(f"http://127.0.0.1:{free_port()}")
    step = await bench.step(firing())
    assert (step.outcome, "nothing listens there" in step.message) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize("groups", [None, [1, {"rules": 1}, {"rules": [1, {"alerts": [2]}]}]])
async def test_what_is_no_list_of_rules_makes_it_unknown(bench: Bench, groups: object) -> None:
    body = json.dumps({"status": "success", "data": {"groups": groups}}).encode()
    async with serving(always(response(200, body))) as url:
        bench.connect_prometheus(url.partition("/health")[0])
        step = await bench.step(firing())
    assert step.outcome is Outcome.UNKNOWN


async def test_a_stopped_step_ends(bench: Bench) -> None:
    begun = []

    async def never(number: int) -> bytes:
        begun.append(number)
        await asyncio.sleep(60)
        return b""

    async with serving(never) as url:
        bench.connect_prometheus(url.partition("/health")[0])
        running = asyncio.create_task(bench.step(firing()))
        await eventually(lambda: begun)
        running.cancel()
        step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
