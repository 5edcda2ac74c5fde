"""What a run says when it ends: one compact JSON document that fits into a termination message.

Kubernetes keeps at most 4096 bytes of it, so the report drops what matters least (the mildest findings, the ends of
step messages, and what is only for the next run last) until it fits, and says how many findings there were.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from pydantic import ConfigDict, Field, ValidationError

from upkeep.actions.contract import Finding, Outcome, Severity
from upkeep.actions.fields import Model

MAX_BYTES: Final = 4096
_SHORTENED_MESSAGE: Final = 120
_TOLD_IN_WORDS: Final = 5
"""Findings that go before what is only for the next run."""
_SEVEREST_FIRST: Final = tuple(sorted(Severity, key=lambda severity: -severity.rank))
_WORST_FIRST: Final = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.CHANGED, Outcome.OK, Outcome.SKIPPED)


class FindingReport(Model):
    """A finding as it travels and as it stands in a status."""

    check_id: str
    """Identifier of the check."""
    severity: Severity
    """info, warning or critical."""
    object: str
    """What it was seen on."""
    observed: float
    """The measured value, in `unit`."""
    threshold: float
    """The value from which on it is a finding, in `unit`."""
    unit: str = ""
    """Unit of `observed` and `threshold`."""
    recommendation: str = ""
    """What to do about it."""
    fingerprint: str
    """Stays the same while the same check finds the same object."""

    @classmethod
    def of(cls, finding: Finding) -> "FindingReport":
        """The report of what an action found."""
        return cls(
            check_id=finding.check_id,
            severity=finding.severity,
            object=finding.object[:200],
            observed=finding.observed,
            threshold=finding.threshold,
            unit=finding.unit,
            recommendation=finding.recommendation[:300],
            fingerprint=finding.fingerprint,
        )


class FindingCounts(Model):
    """How many findings there were of each severity, also those that did not fit."""

    critical: int = 0
    """Number of critical findings."""
    warning: int = 0
    """Number of warnings."""
    info: int = 0
    """Number of informational findings."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.critical + self.warning + self.info


class StepReport(Model):
    """How one step ended."""

    name: str
    """The step's name."""
    action: str
    """The key of its action."""
    outcome: Outcome
    """ok, changed, skipped, unknown or failed."""
    seconds: float = 0.0
    """How long it took."""
    message: str = ""
    """One sentence for people."""
    metrics: Mapping[str, float] = Field(default_factory=dict)
    """Numbers that the step measured, by name."""
    facts: Mapping[str, str] = Field(default_factory=dict)
    """Short texts that a status keeps, by name."""
    findings: int = 0
    """How many different findings it had."""
    seen: str = ""
    """The worst of them, as `Sighting` writes them."""
    memory: Mapping[str, str] = Field(default_factory=dict)
    """What its next run shall know."""


class RunReport(Model):
    """How a run ended."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a ratio to nothing is infinite, and must be told

    outcome: Outcome
    """The worst outcome of its steps."""
    message: str = ""
    """One sentence: of the step that decided the outcome, or a summary."""
    steps: Sequence[StepReport] = ()
    """Every step in its order."""
    findings: Sequence[FindingReport] = ()
    """The worst findings, most severe first; `counts` has the number of all."""
    counts: FindingCounts = FindingCounts()
    """Findings by severity."""

    @classmethod
    def summarise(cls, steps: Sequence[StepReport], findings: Sequence[Finding]) -> "RunReport":
        """The report over all steps: worst outcome, its message, findings sorted worst first."""
        ranked = worst_first(findings)
        counts = {severity.value: 0 for severity in _SEVEREST_FIRST}
        for found in ranked:
            counts[found.severity.value] += 1
        outcome = worst(step.outcome for step in steps)
        decisive = next((step for step in steps if step.outcome is outcome), None)
        message = f"{decisive.name}: {decisive.message}" if decisive and not outcome.good else ""
        return cls(
            outcome=outcome,
            message=message or _praise(steps, ranked),
            steps=steps,
            findings=[FindingReport.of(found) for found in ranked],
            counts=FindingCounts(**counts),
        )

    def encode(self, *, limit: int = MAX_BYTES) -> str:
        """Compact JSON of at most `limit` bytes, dropping the least important until it fits."""
        for report in self._ever_shorter():
            text = _dump(report)
            if len(text.encode()) <= limit:
                return text
        return _dump(RunReport(outcome=self.outcome))

    def _ever_shorter(self) -> Iterator["RunReport"]:
        report = self
        yield report
        while len(report.findings) > _TOLD_IN_WORDS:
            yield (report := _shortened(report, max(_TOLD_IN_WORDS, len(report.findings) * 3 // 4)))
        report = report.model_copy(update={"message": report.message[:_SHORTENED_MESSAGE]})
        yield (report := _in_every_step(report, lambda step: {"message": step.message[:_SHORTENED_MESSAGE]}))
        while any(step.seen for step in report.steps):
            yield (report := _in_every_step(report, lambda step: {"seen": _first_half(step.seen)}))
        while report.findings:
            yield (report := _shortened(report, len(report.findings) * 3 // 4))
        yield (report := _in_every_step(report, lambda _: {"metrics": {}}))
        yield (report := _in_every_step(report, lambda _: {"memory": {}}))
        while report.steps:
            yield (report := report.model_copy(update={"steps": report.steps[: len(report.steps) // 2]}))

    @classmethod
    def decode(cls, text: str) -> "RunReport | None":
        """The report that `encode` wrote; None where the text is something else (a foreign container's last words)."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome that stands for all: failed before unknown before changed before ok; skipped only if all were."""
    return min(outcomes, key=_WORST_FIRST.index, default=Outcome.SKIPPED)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by severity, then by how far they are past their threshold."""
    return sorted(findings, key=lambda found: (-found.severity.rank, -_excess(found), found.object))


def memory_size(memory: Mapping[str, str]) -> int:
    """Bytes that it takes in a report."""
    return len(json.dumps(dict(memory), ensure_ascii=False, separators=(",", ":")).encode()) if memory else 0


def _shortened(report: RunReport, most: int) -> RunReport:
    return report.model_copy(update={"findings": report.findings[:most]})


def _in_every_step(report: RunReport, change: Callable[[StepReport], Mapping[str, object]]) -> RunReport:
    return report.model_copy(update={"steps": [step.model_copy(update=change(step)) for step in report.steps]})


def _first_half(words: str) -> str:
    each = words.split()
    return " ".join(each[: len(each) // 2])


def _dump(report: RunReport) -> str:
    return report.model_dump_json(by_alias=True, exclude_defaults=True)


def _excess(finding: Finding) -> float:
    return finding.observed / finding.threshold if finding.threshold else finding.observed


def _praise(steps: Sequence[StepReport], findings: Sequence[Finding]) -> str:
    done = f"{len(steps)} steps done" if len(steps) != 1 else steps[0].message or "done"
    if not findings:
        return done
    return f"{done}, {len(findings)} finding{'s' if len(findings) != 1 else ''}, worst: {findings[0].object}"
