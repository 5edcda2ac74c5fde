"""Collects figures over a time and compares them with a baseline that earlier runs have left.

A baseline is only ever made of a run in which everything was answered. What is slow once must not become what is
normal: unless the task says otherwise, a person accepts the figures of a run by an edit of the task.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.connections import HTTPTarget, PrometheusTarget
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, Model, Rule, format_duration
from upkeep.actions.http.session import session
from upkeep.actions.http.visit import RequestPath, Visit, visit
from upkeep.actions.percentile import percentile
from upkeep.actions.performance.figures import Baseline, Figure, collected, key_of
from upkeep.actions.prometheus.query import Side
from upkeep.actions.prometheus.session import instant

_ANSWER_SECONDS: Final = 10.0
_MARGIN_SECONDS: Final = 2.0
"""What connecting and the last answers may take besides the time of collecting."""
_PERCENTS: Final = (50, 95)
_JUDGED_TAILS: Final = 20
"""Answers from which on a 95th percentile is more than the slowest one."""
_NAMED: Final = 3
_NOTHING: Final = "say what to measure: pages, queries, or both"


class Comparison(StrEnum):
    """What figures are compared with."""

    BASELINE = "Baseline"
    LAST = "Last"


class Pages(Model):
    """Pages whose response times are measured."""

    connection: LabelName
    """Name of an HTTP connection."""
    paths: Annotated[list[RequestPath], Field(min_length=1, max_length=10)]
    """What to request by GET, for example `/` and `/products?page=1`; redirects are not followed."""
    requests: Annotated[int, Field(ge=1, le=50)] = 5
    """How often each is requested every interval, one after the other."""
    ignore_milliseconds: Annotated[float, Field(ge=0, le=60000)] = 10
    """Differences up to this never count: half as much again of very little is still very little."""
    max_failed_percent: Annotated[float, Field(ge=0, le=100)] = 0
    """Share of requests, in percent, that may fail (status 400 or above, or no answer) before the step has failed."""


class Measure(Model):
    """A number that Prometheus has."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What it measures, as findings call it, for example `CPU of the shop`."""
    query: Annotated[str, Field(min_length=1, max_length=2048)]
    """PromQL that gives one number; the median of what it gives every interval is compared."""
    unit: Annotated[str, Field(max_length=32)] = ""
    """Its unit, for example percent."""
    when: Side = Side.ABOVE
    """Above: more is worse. Below: less is worse, as of a throughput."""
    ignore: Annotated[float, Field(ge=0)] = 0
    """Differences up to this never count, in its unit."""


class Queries(Model):
    """What is asked of Prometheus."""

    connection: LabelName
    """Name of a prometheus connection."""
    measures: Annotated[list[Measure], Field(min_length=1, max_length=10)]
    """The numbers, told apart by their queries."""


class PerformanceBaseline(Action):
    """Collects response times of pages and numbers from Prometheus for a while, and compares them with a baseline.

    Compared are the median and, from 20 answers on, the 95th percentile of each page, and the median of each query. The
    first run that was answered well becomes the baseline; what is added later joins it, what measures something else
    starts anew. A baseline stays until `accept` has another value: then the figures of the next good run become the
    new one, under that name. It is remembered in the status of the task, so a check of a window cannot have it: let a
    task of the plan measure, with `fails: true`.
    Locks: none. Privileges: those of the connections' credentials, to read.
    Source of the defaults: 20 percent is more than what repeated measurements of an idle service differ by; with fewer
    than 20 answers a 95th percentile is the slowest one (nearest-rank method).
    """

    action_name: ClassVar[str] = "performanceBaseline"
    finds: ClassVar[Mapping[str, str]] = {
        "performance.baseline": "a figure that is worse than the baseline by more than is tolerated",
    }

    pages: Pages | None = None
    """Pages whose response times are measured."""
    queries: Queries | None = None
    """Numbers that Prometheus has."""
    over: Duration = Field(default="5m", validate_default=True)
    """How long to collect."""
    interval: Duration = Field(default="10s", validate_default=True)
    """How long after one look the next one begins; at least 1s."""
    max_increase_percent: Annotated[float, Field(ge=1, le=100000)] = 20
    """By how many percent a figure may be worse before it is a warning."""
    compare_with: Comparison = Comparison.BASELINE
    """Baseline: with the accepted figures. Last: with those of the last run without a finding, which may creep."""
    accept: Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9._:-]*$")] = ""
    """Name of the baseline, for example a release; with another one than before the next good run becomes it."""
    fails: bool = False
    """Whether a finding lets the step fail, so that a run stops or a window rolls back."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """There is something to measure."""
        return ({"rule": "has(self.pages) || has(self.queries)", "message": _NOTHING},)

    @model_validator(mode="after")
    def _measures(self) -> Self:
        if self.pages is None and self.queries is None:
            raise ValueError(_NOTHING)
        return self

    def connection_names(self) -> Sequence[str]:
        """Those of the pages and of the queries."""
        return [each.connection for each in (self.pages, self.queries) if each]

    async def run(self, context: Context) -> Result:
        """Collect and compare.

        Raises:
            ActionError: no such connection or Secret, a wrong query, or the step has not as much time as it shall take.
            UncheckableError: Prometheus does not answer, or has no data.
        """
        if self.over.total_seconds() + _MARGIN_SECONDS > context.remaining:
            msg = (
                f"the step may take {context.remaining:.0f} s, but shall collect for {format_duration(self.over)}: "
                "give it a longer timeout, or shorten `over`"
            )
            raise ActionError(msg)
        samples = await self._collected(context)
        if fault := self._fault(samples):
            return Result(outcome=Outcome.FAILED, message=fault)
        figures = [*self._of_pages(context, samples), *self._of_queries(context, samples)]
        known = Baseline.read(context.previous.values) if context.previous else None
        verdict = self._judged(figures, known, {key_of(source) for source in self._sources(context)})
        return Result(
            outcome=Outcome.FAILED if verdict.worse and self.fails else Outcome.OK,
            message=verdict.message,
            findings=[self._finding(one, verdict.compared.values[one.key]) for one in verdict.worse],
            metrics={
                "looks": float(samples.looks),
                "figures": float(len(figures)),
                "worse_figures": float(len(verdict.worse)),
            },
            details=[
                {
                    "figure": one.name,
                    "value": one.value,
                    "baseline": verdict.compared.values.get(one.key, one.value),
                    "unit": one.unit,
                }
                for one in figures
            ],
            memory=verdict.kept.write(),
        )

    async def _collected(self, context: Context) -> "_Samples":
        clock = asyncio.get_running_loop().time
        samples, begun = _Samples(), clock()
        async with AsyncExitStack() as stack:
            client = None
            if self.pages:
                client = await stack.enter_async_context(
                    session(context, self.pages.connection, seconds=_ANSWER_SECONDS)
                )
            step, number = max(1.0, self.interval.total_seconds()), 0
            while number * step <= self.over.total_seconds():
                await asyncio.sleep(max(0.0, begun + number * step - clock()))
                samples.looks += 1
                if self.pages and client:
                    for path in self.pages.paths * self.pages.requests:
                        samples.visits.setdefault(path, []).append(await visit(client, path, _ANSWER_SECONDS))
                if self.queries:
                    await _ask(context, self.queries, samples)
                number = max(number + 1, math.ceil((clock() - begun) / step))
        return samples

    def _fault(self, samples: "_Samples") -> str:
        """Why nothing can be compared; empty where it can."""
        if not self.pages:
            return ""
        visits = [each for those in samples.visits.values() for each in those]
        failed = [each for each in visits if each.fault]
        answered = all(any(not each.fault for each in those) for those in samples.visits.values())
        if answered and 100 * len(failed) <= self.pages.max_failed_percent * len(visits):
            return ""
        reasons = "; ".join(dict.fromkeys(f"{each.path}: {each.fault}" for each in failed))
        return f"{len(failed)} of {len(visits)} requests failed, so that nothing is compared: {reasons[:300]}"

    def _of_pages(self, context: Context, samples: "_Samples") -> Iterator[Figure]:
        if self.pages is None:
            return
        target = context.target(self.pages.connection, HTTPTarget)
        slack = self.pages.ignore_milliseconds / 1000
        for path, visits in samples.visits.items():
            times = [each.seconds for each in visits if not each.fault]
            for percent in _PERCENTS if len(times) >= _JUDGED_TAILS else _PERCENTS[:1]:
                yield Figure(
                    name=f"p{percent} of {visits[0].path}",
                    source=_page(target, path, percent),
                    value=percentile(times, percent),
                    unit="seconds",
                    slack=slack,
                )

    def _of_queries(self, context: Context, samples: "_Samples") -> Iterator[Figure]:
        if self.queries is None:
            return
        prometheus = context.target(self.queries.connection, PrometheusTarget)
        for measure in self.queries.measures:
            numbers = samples.numbers.get(measure.query, [])
            if 2 * len(numbers) < samples.looks:
                why = samples.missing.get(
                    measure.query, "no data: check the query, and that what it measures is scraped"
                )
                msg = f"{measure.name}: a number only {len(numbers)} of {samples.looks} times: {why}"
                raise UncheckableError(msg)
            yield Figure(
                name=measure.name,
                source=_query(prometheus, measure),
                value=statistics.median(numbers),
                unit=measure.unit,
                rising=measure.when is Side.ABOVE,
                slack=measure.ignore,
            )

    def _sources(self, context: Context) -> Iterator[str]:
        """What may be measured; of a page that is too slow for many answers, not all of it is."""
        if self.pages:
            target = context.target(self.pages.connection, HTTPTarget)
            yield from (_page(target, path, percent) for path in self.pages.paths for percent in _PERCENTS)
        if self.queries:
            prometheus = context.target(self.queries.connection, PrometheusTarget)
            yield from (_query(prometheus, measure) for measure in self.queries.measures)

    def _judged(self, figures: Sequence[Figure], known: Baseline | None, wanted: Collection[str]) -> "_Verdict":
        fresh = collected(figures, accepted=self.accept, time=time.time())
        if known is None:
            message = f"a baseline of {len(figures)} figures was collected: the next run is compared with it"
            return _Verdict(message=message, compared=fresh, kept=fresh)
        increases = {one.key: one.increase(known.values[one.key]) for one in figures if one.key in known.values}
        worse = [one for one in figures if increases.get(one.key, 0.0) > self.max_increase_percent]
        worse.sort(key=lambda one: -increases[one.key])
        words = [_in_words(one, known.values[one.key]) for one in worse]
        named = ", ".join(words[:_NAMED]) + (f" and {len(words) - _NAMED} more" if words[_NAMED:] else "")
        if self.accept != known.accepted:
            than = f", worse than {known.label}: {named}" if worse else f" instead of {known.label}"
            return _Verdict(message=f"accepted as {fresh.label}{than}", compared=known, kept=fresh)
        new = f"; {len(figures) - len(increases)} are new" if len(increases) < len(figures) else ""
        kept = fresh if self.compare_with is Comparison.LAST and not worse else known.with_others(figures, wanted)
        if not worse:
            message = f"{len(increases)} figures are within {self.max_increase_percent:g} % of {known.label}{new}"
            return _Verdict(message=message, compared=known, kept=kept)
        message = f"{len(worse)} of {len(increases)} figures are worse than {known.label}: {named}{new}"
        return _Verdict(message=message, compared=known, kept=kept, worse=worse)

    def _finding(self, one: Figure, before: float) -> Finding:
        tolerated = abs(before) * self.max_increase_percent / 100
        return Finding(
            check_id="performance.baseline",
            severity=Severity.WARNING,
            object=one.name,
            observed=float(f"{one.value:.4g}"),
            threshold=float(f"{before + (tolerated if one.rising else -tolerated):.4g}"),
            unit=one.unit,
            recommendation=f"{_in_words(one, before)}: look for what has changed, a release, its data, its neighbours; "
            "if it is meant to be so, give `accept` another value",
        )


@dataclass(slots=True)
class _Samples:
    """What was collected: looks, answers by path, numbers and what stood in their way by query."""

    looks: int = 0
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What was compared with what, what came of it, and what is kept as the baseline."""

    message: str
    compared: Baseline
    kept: Baseline
    worse: Sequence[Figure] = ()


def _page(target: HTTPTarget, path: str, percent: int) -> str:
    return f"p{percent} {target.url} {path}"


def _query(target: PrometheusTarget, measure: Measure) -> str:
    return f"median {target.url} {measure.query}"


async def _ask(context: Context, queries: Queries, samples: _Samples) -> None:
    for measure in queries.measures:
        try:
            found, _ = await instant(context, queries.connection, measure.query, seconds=_ANSWER_SECONDS)
        except UncheckableError as error:
            samples.missing[measure.query] = str(error)
            continue
        if len(found) > 1:
            msg = f"{measure.name}: the query gives {len(found)} numbers: aggregate them to one, for example by sum()"
            raise ActionError(msg)
        samples.numbers.setdefault(measure.query, []).extend(one.value for one in found if math.isfinite(one.value))


def _in_words(one: Figure, before: float) -> str:
    increase = one.increase(before)
    percent = f" ({increase if one.rising else -increase:+.0f} %)" if math.isfinite(increase) else ""
    return f"{one.name} {one.value:.4g} {one.unit}".rstrip() + f" instead of {before:.4g}{percent}"
