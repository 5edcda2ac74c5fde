"""Findings of tests, and the last words of runs that had them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from upkeep.actions.contract import Finding, Grade, Outcome, Severity
from upkeep.domain import sighting
from upkeep.domain.report import RunReport, StepReport, worst_first


def finding(
    name: str,
    *,
    severity: Severity = Severity.WARNING,
    grade: Grade | None = None,
    since: datetime | None = None,
    observed: float = 2,
) -> Finding:
    return Finding(
        check_id="test.check",
        severity=severity,
        object=name,
        observed=observed,
        threshold=1,
        unit="",
        recommendation=f"patch {name}",
        grade=grade,
        since=since,
    )


def step_report(
    *findings: Finding,
    step: str = "scan",
    action: str = "httpCheck",
    outcome: Outcome = Outcome.OK,
    memory: Mapping[str, str] | None = None,
) -> StepReport:
    return StepReport(
        name=step,
        action=action,
        outcome=outcome,
        findings=len({found.fingerprint for found in findings}),
        seen=sighting.encode(worst_first(findings)),
        memory=memory or {},
    )


def last_words(steps: Sequence[StepReport], findings: Sequence[Finding] = ()) -> str:
    return RunReport.summarise(steps, findings).encode()
