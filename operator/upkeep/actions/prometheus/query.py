"""Compares what Prometheus has measured with thresholds."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName, Rule
from upkeep.actions.prometheus.session import Series, in_words, instant, shorten

_MOST_FINDINGS: Final = 50
_NO_THRESHOLD: Final = "say from which value on it is a finding: warning, critical, or both"
_ORDER: Final = "critical must not be milder than warning: not below it, or with when: Below not above it"


class Side(StrEnum):
    """On which side of a threshold the bad values are."""

    ABOVE = "Above"
    BELOW = "Below"


class PrometheusQuery(Action):
    """Asks Prometheus an instant query and compares every series with thresholds, one finding a series.

    At most 50 findings, the worst ones; the message counts all. No data, NaN and an answer that Prometheus itself calls
    incomplete are `unknown`, never `ok`: write `… or vector(0)` where no series means zero. A series that is not there
    any more is not missed while others are.
    Locks: none. Privileges: to read, where Prometheus asks for credentials at all.
    """

    action_name: ClassVar[str] = "prometheusQuery"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "prometheus.query": "a series beyond a threshold",
    }

    connection: LabelName
    """Name of a prometheus connection."""
    query: Annotated[str, Field(min_length=1, max_length=2048)]
    """PromQL that gives one number a series."""
    title: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    """What it measures, as findings call it, for example `CPU of nodes`. Left out: the query."""
    unit: Annotated[str, Field(max_length=32)] = ""
    """Unit of the numbers, for example percent."""
    warning: float | None = None
    """Value from which on it is a warning."""
    critical: float | None = None
    """Value from which on it is critical."""
    when: Side = Side.ABOVE
    """Above: a threshold and what is above it is bad. Below: a threshold and what is below it."""
    advice: Annotated[str | None, Field(min_length=1, max_length=200)] = None
    """What to do about a finding, for whoever reads it."""
    fails: bool = False
    """Whether a finding lets the step fail, so that a run stops or a window rolls back."""
    timeout: Duration = Field(default="10s", validate_default=True)
    """How long the answer may take."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """There is a threshold, and critical is worse than warning."""
        return (
            {"rule": "has(self.warning) || has(self.critical)", "message": _NO_THRESHOLD},
            {
                "rule": "!has(self.warning) || !has(self.critical) || (has(self.when) && self.when == 'Below' ? "
                "self.critical <= self.warning : self.critical >= self.warning)",
                "message": _ORDER,
            },
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warning is None and self.critical is None:
            raise ValueError(_NO_THRESHOLD)
        if self.warning is not None and self.critical is not None and self._worse(self.warning, self.critical):
            raise ValueError(_ORDER)
        return self

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.title or shorten(" ".join(self.query.split()))

    async def run(self, context: Context) -> Result:
        """Ask and compare.

        Raises:
            ActionError: no such connection or Secret, or the query is wrong.
            UncheckableError: Prometheus does not answer, or has no data.
        """
        seconds = min(self.timeout.total_seconds(), context.remaining)
        found, warnings = await instant(context, self.connection, self.query, seconds=seconds)
        numbers = sorted((one for one in found if not math.isnan(one.value)), key=self._badness, reverse=True)
        if not numbers:
            msg = f"{self.name}: no data: check the query, and that what it measures is scraped"
            raise UncheckableError(msg)
        findings = [finding for one in numbers if (finding := self._judged(one)) is not None]
        doubts = [f"incomplete answer: {warning}" for warning in warnings[:1]]
        if len(numbers) < len(found):
            doubts.append(
                f"{len(found) - len(numbers)} of {len(found)} series are not a number: leave them out, or mend"
            )
        return Result(
            outcome=self._outcome(findings, doubts),
            message="; ".join([self._summary(numbers, findings), *doubts]),
            findings=findings[:_MOST_FINDINGS],
            metrics={"series": float(len(found)), "findings": float(len(findings)), "worst": numbers[0].value},
        )

    def _outcome(self, findings: Sequence[Finding], doubts: Sequence[str]) -> Outcome:
        if findings and self.fails:
            return Outcome.FAILED
        return Outcome.UNKNOWN if doubts else Outcome.OK

    def _summary(self, numbers: Sequence[Series], findings: Sequence[Finding]) -> str:
        worst, of_all = numbers[0], f"{len(findings)} of {len(numbers)} series" if findings else "as it should be"
        where = in_words(worst.labels)
        return f"{self.name}: {of_all}, worst {self._shown(worst.value)}" + (f" of {where}" if where else "")

    def _judged(self, one: Series) -> Finding | None:
        for severity, threshold in ((Severity.CRITICAL, self.critical), (Severity.WARNING, self.warning)):
            if threshold is not None and not self._worse(threshold, one.value):
                what = f"{self._shown(one.value)}, and {severity} from {self._shown(threshold)}"
                what += " down" if self.when is Side.BELOW else " up"
                return Finding(
                    check_id="prometheus.query",
                    severity=severity,
                    object=f"{self.name} {in_words(one.labels)}".rstrip(),
                    observed=one.value,
                    threshold=threshold,
                    unit=self.unit,
                    recommendation=f"{what}: {self.advice or 'look into what the query of this step measures'}",
                )
        return None

    def _worse(self, one: float, other: float) -> bool:
        """Whether one value is worse than another."""
        return one < other if self.when is Side.BELOW else one > other

    def _badness(self, one: Series) -> float:
        return -one.value if self.when is Side.BELOW else one.value

    def _shown(self, value: float) -> str:
        return f"{value:.6g} {self.unit}".rstrip()
