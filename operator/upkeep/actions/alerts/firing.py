"""Tells which alerts of Prometheus fire."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.prometheus.session import Labels, ask, in_words, instant, shorten
from upkeep.actions.text import readable

_MOST_FINDINGS: Final = 50
_NAMED: Final = 3
_HEALTHY: Final = "ok"
_NOT_OF_THE_ALERT: Final = frozenset({"__name__", "alertstate"})
_SEVERITIES: Final = {"critical": Severity.CRITICAL, "info": Severity.INFO, "none": Severity.INFO}
_TEXTS: Final = ("summary", "message", "description")

AlertMatcher = Annotated[str, Field(max_length=256, pattern=r'^[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\]|\\.)*"$')]


class AlertsFiring(Action):
    """Asks Prometheus which alerts fire; each is a finding, at most 50, the most severe ones.

    Critical is what has the label severity=critical, a note what has severity=info or none, a warning all else. What to
    do is taken from the annotations summary, message or description, and runbook_url. Silences are of Alertmanager and
    do not count. It is `unknown`, and not `ok`, where Prometheus has no alerting rules or cannot evaluate one of them.
    Locks: none. Privileges: to read, where Prometheus asks for credentials at all.
    """

    action_name: ClassVar[str] = "alertsFiring"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "alerts.firing": "an alert that fires",
    }

    connection: LabelName
    """Name of a prometheus connection."""
    matchers: Annotated[list[AlertMatcher], Field(max_length=16)] = Field(default_factory=list)
    """Conditions on labels that all hold for alerts that count, as in PromQL: `namespace="shop"`, `severity!="none"`,
    `alertname=~"Shop.*"`. Left out: all alerts."""
    fails: bool = False
    """Whether an alert that fires lets the step fail, so that a run stops or a window rolls back."""
    timeout: Duration = Field(default="10s", validate_default=True)
    """How long each of two answers may take."""

    async def run(self, context: Context) -> Result:
        """Ask for rules and alerts.

        Raises:
            ActionError: no such connection or Secret, or a matcher is wrong.
            UncheckableError: Prometheus does not answer, or has no alerting rules.
        """
        seconds = min(self.timeout.total_seconds(), context.remaining)
        answer = await ask(context, self.connection, "rules", parameters={"type": "alert"}, seconds=seconds)
        rules = _rules(answer.data)
        if not rules:
            msg = f"{self.connection!r} has no alerting rules, so nothing can fire: check url and its rule_files"
            raise UncheckableError(msg)
        conditions = ",".join(['alertstate="firing"', *self.matchers])
        firing, warnings = await instant(context, self.connection, f"ALERTS{{{conditions}}}", seconds=seconds)
        annotations = _annotations(rules)
        findings = sorted(
            (_finding(_own(one.labels), annotations) for one in firing),
            key=lambda finding: (-finding.severity.rank, finding.object),
        )
        doubts = _unhealthy(rules) + [f"incomplete answer: {warning}" for warning in [*answer.warnings, *warnings][:1]]
        return Result(
            outcome=self._outcome(findings, doubts),
            message="; ".join([_summary(findings, len(rules)), *doubts]),
            findings=findings[:_MOST_FINDINGS],
            metrics={"rules": float(len(rules)), "firing": float(len(findings))},
        )

    def _outcome(self, findings: Sequence[Finding], doubts: Sequence[str]) -> Outcome:
        if findings and self.fails:
            return Outcome.FAILED
        return Outcome.UNKNOWN if doubts else Outcome.OK


def _rules(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every alerting rule, whatever its group."""
    groups = [group for group in _list(data.get("groups")) if isinstance(group, dict)]
    rules = [rule for group in groups for rule in _list(group.get("rules"))]
    return [rule for rule in rules if isinstance(rule, dict) and rule.get("type") == "alerting"]


def _unhealthy(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """That some rules could not be evaluated, if there are such."""
    broken = [rule for rule in rules if rule.get("health") != _HEALTHY]
    if not broken:
        return []
    names = ", ".join(readable(str(rule.get("name"))) for rule in broken[:_NAMED])
    more = ", …" if broken[_NAMED:] else ""
    reason = readable(str(broken[0].get("lastError") or "not evaluated yet"))
    return [f"{len(broken)} of {len(rules)} rules cannot be evaluated ({names}{more}): {shorten(reason)}: mend them"]


def _annotations(rules: Sequence[Mapping[str, Any]]) -> Mapping[frozenset[tuple[str, str]], Labels]:
    """The annotations of active alerts, by their labels."""
    alerts = [alert for rule in rules for alert in _list(rule.get("alerts")) if isinstance(alert, dict)]
    return {frozenset(_texts(alert.get("labels")).items()): _texts(alert.get("annotations")) for alert in alerts}


def _own(labels: Labels) -> Labels:
    """The labels of the alert, without those that its series has besides."""
    return {name: text for name, text in labels.items() if name not in _NOT_OF_THE_ALERT}


def _finding(labels: Labels, annotations: Mapping[frozenset[tuple[str, str]], Labels]) -> Finding:
    told = annotations.get(frozenset(labels.items()), {})
    text = next((told[key] for key in _TEXTS if told.get(key)), "it fires: look into what its rule measures")
    runbook = told.get("runbook_url")
    advice = shorten(readable(" ".join(text.split()))) + (f": see {readable(runbook)}" if runbook else "")
    others = {name: value for name, value in labels.items() if name != "alertname"}
    return Finding(
        check_id="alerts.firing",
        severity=_SEVERITIES.get(labels.get("severity", "").lower(), Severity.WARNING),
        object=f"{readable(labels.get('alertname', 'without a name'))} {in_words(others)}".rstrip(),
        observed=1,
        threshold=1,
        unit="alerts",
        recommendation=advice,
    )


def _summary(findings: Sequence[Finding], rules: int) -> str:
    if not findings:
        return f"no alert fires, of {rules} rules"
    named = "; ".join(finding.object for finding in findings[:_NAMED])
    fire = "1 alert fires" if len(findings) == 1 else f"{len(findings)} alerts fire"
    return f"{fire}: {named}" + ("; …" if findings[_NAMED:] else "")


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _texts(found: object) -> dict[str, str]:
    return {str(key): str(text) for key, text in found.items()} if isinstance(found, dict) else {}
