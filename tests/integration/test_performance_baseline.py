"""Figures are compared with a baseline that stays until somebody accepts another: real requests, a real Prometheus."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from integration.bench import Bench, eventually
from integration.prometheusserver import PrometheusServer, running_prometheus
from integration.test_http_warm import open_shop
from upkeep.actions.contract import Outcome
from upkeep.actions.performance.baseline import PerformanceBaseline
from upkeep.actions.performance.figures import Baseline, Figure
from upkeep.api.task import TaskSpec
from upkeep.domain.report import RunReport

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "task-baseline.yaml"
ONE = "- {record: up, expr: vector(1), labels: {job: shop}}\n"


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusServer]:
    with running_prometheus(ONE) as server:
        yield server


SLOW = 0.6
"""Seconds by which a server answers later: more than a busy machine adds, which does not count here."""


def pages(*paths: str, requests: int = 3, over: str = "0s", ignore: float = 300, **more: object) -> PerformanceBaseline:
    """By default one look, with so few requests that only the median counts."""
    what = {"connection": "shop", "paths": list(paths) or ["/"], "requests": requests, "ignoreMilliseconds": ignore}
    return PerformanceBaseline.model_validate({"pages": what, "over": over, "interval": "1s", **more})


def query(text: str, **more: object) -> PerformanceBaseline:
    """One look."""
    measure: dict[str, object] = {"name": "load", "unit": "percent", "query": text}
    measure |= {name: more.pop(name) for name in ("when", "ignore") if name in more}
    what = {"connection": "metrics", "measures": [measure]}
    return PerformanceBaseline.model_validate({"queries": what, "over": "0s", **more})


def found(report: RunReport) -> list[str]:
    return [finding.object for finding in report.findings]


class TestPages:
    async def test_the_first_run_is_the_baseline_and_the_next_like_it_is_within_it(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        look = pages("/", "/products?page=1", requests=10, over="1s", ignore=5000)
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            first = await bench.report(look)
            with caplog.at_level(logging.INFO):
                second = await bench.next_report(look, first)
        assert first.message == "a baseline of 4 figures was collected: the next run is compared with it"
        assert second.outcome is Outcome.OK
        assert second.message.startswith("4 figures are within 20 % of the baseline of 20")
        assert (found(first), found(second)) == ([], [])
        assert len(shop.paths) == 80
        lines: list[Any] = [record.fields for record in caplog.records if record.message == "detail"]  # type: ignore[attr-defined]
        assert [line["figure"] for line in lines] == [
            "p50 of /", "p95 of /", "p50 of /products", "p95 of /products",
        ]  # fmt: skip

    async def test_what_became_slower_is_found_again_and_again_until_it_is_accepted(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages())
            # when the server has become slower
            shop.seconds = SLOW
            second = await bench.next_report(pages(), first)
            third = await bench.next_report(pages(), second)
            # then it is found, compared with the first run each time
            for report in (second, third):
                assert report.outcome is Outcome.OK
                assert found(report) == ["p50 of /"]
                assert report.message.startswith("1 of 1 figures are worse than the baseline of ")
            worst = second.findings[0]
            assert (worst.check_id, worst.unit) == ("performance.baseline", "seconds")
            assert worst.observed >= SLOW > worst.threshold
            assert "give `accept` another value" in worst.recommendation
            # when it is accepted
            accepted = await bench.next_report(pages(accept="release-7"), third)
            fifth = await bench.next_report(pages(accept="release-7"), accepted)
        # then it is the baseline, under that name
        assert accepted.message.startswith("accepted as the baseline release-7 of 20")
        assert ", worse than the baseline of " in accepted.message
        assert (found(accepted), found(fifth)) == ([], [])
        assert "are within 20 % of the baseline release-7 of " in fifth.message

    async def test_what_is_better_is_no_finding_and_no_new_baseline(self, bench: Bench) -> None:
        async with open_shop(seconds=SLOW) as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages())
            shop.seconds = 0.0
            second = await bench.next_report(pages(), first)
            shop.seconds = SLOW
            third = await bench.next_report(pages(), second)
        assert (found(second), found(third)) == ([], [])

    async def test_compared_with_the_last_good_run_what_is_better_becomes_the_measure(self, bench: Bench) -> None:
        async with open_shop(seconds=SLOW) as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages(compareWith="Last"))
            shop.seconds = 0.0
            second = await bench.next_report(pages(compareWith="Last"), first)
            shop.seconds = SLOW
            third = await bench.next_report(pages(compareWith="Last"), second)
            fourth = await bench.next_report(pages(compareWith="Last"), third)
        assert found(second) == []
        assert found(third) == found(fourth) != []

    async def test_differences_that_nobody_notices_do_not_count(self, bench: Bench) -> None:
        async with open_shop(seconds=0.0) as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages(ignore=5000))
            shop.seconds = SLOW
            second = await bench.next_report(pages(ignore=5000), first)
        assert found(second) == []

    async def test_with_few_answers_only_the_median_is_compared(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            few = await bench.report(pages(requests=19))
            many = await bench.report(pages(requests=20))
        assert few.message.startswith("a baseline of 1 figures")
        assert many.message.startswith("a baseline of 2 figures")

    async def test_what_fails_is_no_baseline_and_leaves_the_one_that_is(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            report = await bench.report(pages("/", "/missing?token=x", requests=2))
        assert report.outcome is Outcome.FAILED
        assert report.message.endswith("2 of 4 requests failed, so that nothing is compared: /missing: status 404")
        assert "token" not in report.encode()
        assert report.steps[0].memory == {}

    async def test_some_may_fail_where_the_task_says_so(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            action = pages("/")
            allowed = action.model_copy(
                update={"pages": action.pages.model_copy(update={"max_failed_percent": 100}) if action.pages else None}
            )
            assert (await bench.report(allowed)).outcome is Outcome.OK
            shop.url = ""
            bench.connections.clear()
            bench.connect_http("http://127.0.0.1:9")
            away = await bench.report(allowed)
        assert away.outcome is Outcome.FAILED, "not one answer of a page is nothing to compare with"

    async def test_a_page_that_is_added_joins_and_one_of_another_server_starts_anew(self, bench: Bench) -> None:
        async with open_shop() as shop, open_shop(seconds=SLOW) as other:
            bench.connect_http(shop.url)
            first = await bench.report(pages("/"))
            second = await bench.next_report(pages("/", "/new"), first)
            assert second.message.endswith("; 1 are new")
            bench.connections.clear()
            bench.connect_http(other.url)
            third = await bench.next_report(pages("/", "/new"), second)
        assert third.message.startswith("0 figures are within")
        assert third.message.endswith("; 2 are new")
        assert found(third) == []

    async def test_a_page_that_is_too_slow_for_many_answers_keeps_its_whole_baseline(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages(requests=10, over="1s"))
            shop.seconds = SLOW
            second = await bench.next_report(pages(requests=10, over="1s"), first)
        assert second.message.startswith("1 of 1 figures are worse than the baseline of ")
        assert second.steps[0].memory == first.steps[0].memory

    async def test_a_finding_can_let_the_step_fail(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            first = await bench.report(pages())
            shop.seconds = SLOW
            second = await bench.next_report(pages(fails=True), first)
        assert second.outcome is Outcome.FAILED
        assert found(second)

    async def test_a_cancelled_run_leaves_no_request_behind(self, bench: Bench) -> None:
        async with open_shop() as shop:
            bench.connect_http(shop.url)
            run = asyncio.create_task(bench.report(pages(over="1h"), seconds=7200))
            await eventually(lambda: len(shop.paths) >= 3)
            run.cancel()
            report = await run
            asked = len(shop.paths)
        assert report.outcome is Outcome.FAILED
        assert "stopped" in report.message
        assert len(shop.paths) == asked

    async def test_a_step_with_less_time_than_it_shall_collect_says_so(self, bench: Bench) -> None:
        bench.connect_http("http://127.0.0.1:9")
        step = await bench.step(pages(over="5m"))
        assert step.message.endswith("but shall collect for 5m: give it a longer timeout, or shorten `over`")


class TestQueries:
    async def test_a_number_that_rose_is_found_and_one_that_did_not_is_not(
        self, prometheus: PrometheusServer, bench: Bench
    ) -> None:
        bench.connect_prometheus(prometheus.url)
        first = await bench.report(query("vector(100)"))
        same = await bench.next_report(query("vector(100)"), first)
        assert (found(first), found(same)) == ([], [])
        # given a baseline of 100, when it is 70 or 130 (under the name of the same query)
        lower, higher = (_with(first, value) for value in (130, 70))
        assert found(await bench.next_report(query("vector(100)"), lower)) == []
        worse = await bench.next_report(query("vector(100)"), higher)
        assert found(worse) == ["load"]
        assert worse.steps[0].message.endswith("load 100 percent instead of 70 (+43 %)")

    async def test_of_a_throughput_less_is_worse(self, prometheus: PrometheusServer, bench: Bench) -> None:
        bench.connect_prometheus(prometheus.url)
        first = await bench.report(query("vector(100)", when="Below"))
        fallen, risen = (_with(first, value) for value in (130, 70))
        worse = await bench.next_report(query("vector(100)", when="Below"), fallen)
        assert worse.steps[0].message.endswith("load 100 percent instead of 130 (-23 %)")
        assert worse.findings[0].threshold == 104
        assert found(await bench.next_report(query("vector(100)", when="Below"), risen)) == []

    async def test_from_nothing_to_something_is_worse_unless_it_is_ignored(
        self, prometheus: PrometheusServer, bench: Bench
    ) -> None:
        bench.connect_prometheus(prometheus.url)
        nothing = _with(await bench.report(query("vector(2)")), 0)
        assert found(await bench.next_report(query("vector(2)"), nothing)) == ["load"]
        assert found(await bench.next_report(query("vector(2)", ignore=2), nothing)) == []

    async def test_no_data_is_unknown(self, prometheus: PrometheusServer, bench: Bench) -> None:
        bench.connect_prometheus(prometheus.url)
        for text in ("absent_metric", "vector(0) / vector(0)"):
            step = await bench.step(query(text))
            assert step.outcome is Outcome.UNKNOWN
            assert step.message.startswith("load: a number only 0 of 1 times: no data: check the query")

    async def test_several_numbers_are_refused(self, prometheus: PrometheusServer, bench: Bench) -> None:
        bench.connect_prometheus(prometheus.url)
        step = await bench.step(query('vector(1) or label_replace(vector(2), "a", "b", "", "")'))
        assert step.outcome is Outcome.FAILED
        assert step.message == "load: the query gives 2 numbers: aggregate them to one, for example by sum()"

    async def test_a_prometheus_that_is_away_is_unknown(self, bench: Bench) -> None:
        bench.connect_prometheus("http://127.0.0.1:9")
        step = await bench.step(query("vector(1)"))
        assert step.outcome is Outcome.UNKNOWN
        assert "nothing listens there" in step.message


def _with(report: RunReport, value: float) -> RunReport:
    """The report, had its only figure been this."""
    memory = report.steps[0].memory
    key = memory["figures"].partition(":")[0]
    step = report.steps[0].model_copy(update={"memory": {**memory, "figures": f"{key}:{value}"}})
    return report.model_copy(update={"steps": [step]})


def test_something_has_to_be_measured() -> None:
    with pytest.raises(ValidationError, match="say what to measure: pages, queries, or both"):
        PerformanceBaseline()


@given(st.dictionaries(st.sampled_from(["time", "accepted", "figures"]), st.text(max_size=20) | st.just("a:nan")))
def test_what_somebody_wrote_into_the_memory_is_read_or_left(values: dict[str, str]) -> None:
    baseline = Baseline.read({"time": "1.5e9", "accepted": "r1", "figures": "a1:2 b2:1e300"} | values)

    assert baseline is None or baseline.label.startswith("the baseline")


@given(value=st.floats(0, 1e9), before=st.floats(0, 1e9), rising=st.booleans())
def test_what_is_worse_one_way_is_better_the_other_way(value: float, before: float, *, rising: bool) -> None:
    one = Figure(name="a", source="a", value=value, unit="", rising=rising)
    other = Figure(name="a", source="a", value=value, unit="", rising=not rising)

    assert one.increase(before) == -other.increase(before)


async def test_the_sample_does_its_work(prometheus: PrometheusServer, bench: Bench) -> None:
    spec = TaskSpec.model_validate(yaml.safe_load(SAMPLE.read_text())["spec"])
    action = (spec.steps or [])[0].action
    assert isinstance(action, PerformanceBaseline)
    bench.connect_prometheus(prometheus.url)
    async with open_shop() as shop:
        bench.connect_http(shop.url)
        assert action.pages
        short = action.model_copy(update={"over": pages().over, "queries": None, "max_increase_percent": 1e5})
        first = await bench.report(short)
        second = await bench.next_report(short, first)
    assert [report.outcome for report in (first, second)] == [Outcome.OK, Outcome.OK]
