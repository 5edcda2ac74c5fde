"""Tells which weaknesses the images have that run in a namespace, as trivy-operator has found them.

It scans nothing itself. An image that nobody has scanned, or not for long, is never taken for a good one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Grade, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import Duration, format_duration
from upkeep.actions.kubernetes.allowance import Allowed, allows
from upkeep.actions.kubernetes.pod import containers, ended
from upkeep.actions.kubernetes.session import AbsentError
from upkeep.actions.kubernetes.view import PODS, Kind, Look, View
from upkeep.actions.text import readable

Object = Mapping[str, Any]

REPORTS: Final = Kind("aquasecurity.github.io/v1alpha1", "vulnerabilityreports")
_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_SHOWN: Final = 3
"""Weaknesses, and images, that one message names."""
_NOT_INSTALLED: Final = (
    "there are no VulnerabilityReports in this cluster: install trivy-operator, which scans the images that run"
)


class Threshold(StrEnum):
    """From which grade on a weakness counts."""

    CRITICAL = "Critical"
    HIGH = "High"
    MEDIUM = "Medium"
    LOW = "Low"

    @property
    def grades(self) -> Sequence[Grade]:
        """The grades that count, the worst first."""
        return list(Grade)[: list(Threshold).index(self) + 1]


_SEVERITY: Final = {
    Grade.CRITICAL: Severity.CRITICAL,
    Grade.HIGH: Severity.WARNING,
    Grade.MEDIUM: Severity.INFO,
    Grade.LOW: Severity.INFO,
}


@dataclass(frozen=True, slots=True)
class _Weakness:
    identity: str
    package: str
    installed: str
    fixed: str
    published: datetime | None

    def __str__(self) -> str:
        change = f" to {self.fixed}" if self.fixed else ", no fix yet"
        return f"{self.identity} ({self.package} {self.installed}{change})"


@dataclass(slots=True)
class _Report:
    """What one VulnerabilityReport says, as far as it counts."""

    updated: datetime | None
    counted: Mapping[Grade, Mapping[tuple[str, str], _Weakness]]


@dataclass(slots=True)
class _Image:
    """An image that runs, with the newest report on it."""

    containers: int = 0
    report: _Report | None = None


class KubernetesImageVulnerabilities(Look):
    """Reports the weaknesses of the images that run in the task's namespace, from the reports of trivy-operator.

    One finding for each image and grade, with a deadline by the task's patchDeadlines that counts from the publication
    of its oldest weakness. `unknown` where trivy-operator is not installed, where a running image has no report, and
    where a report is older than maxAge. Reports on what does not run any more are not looked at.
    Locks: none. Privileges: the task names a ServiceAccount that may `list` Pods and VulnerabilityReports of the
    namespace; the ClusterRole upkeep-action-image-vulnerabilities of the chart, bound by a RoleBinding. Source of the
    default of maxAge: trivy-operator makes each report anew after 24 hours; one of three days has not been renewed.
    """

    action_name: ClassVar[str] = "kubernetesImageVulnerabilities"
    role: ClassVar[str] = "upkeep-action-image-vulnerabilities"
    finds: ClassVar[Mapping[str, str]] = {
        "kubernetes.image.critical": "an image that runs has weaknesses of grade critical",
        "kubernetes.image.high": "an image that runs has weaknesses of grade high",
        "kubernetes.image.medium": "an image that runs has weaknesses of grade medium",
        "kubernetes.image.low": "an image that runs has weaknesses of grade low",
        "kubernetes.image.unscanned": "an image that runs has no report",
        "kubernetes.image.outdated": "the report on an image that runs is older than maxAge",
    }

    severity: Threshold = Threshold.HIGH
    """From which grade on weaknesses count: Critical, High, Medium or Low."""
    fixable_only: bool = True
    """True: only weaknesses count for which there is a fixed version."""
    max_age: Duration = Field(default="3d", validate_default=True)
    """How old a report may be."""
    allowed: Allowed = Field(default_factory=list)
    """Weaknesses that are known not to matter, for example CVE-2024-12345; `*` is any text."""
    fails: bool = False
    """Whether a weakness that counts lets the step fail, so that a run stops or a window rolls back."""

    async def look(self, view: View) -> Result:
        """Read Pods and reports, then judge the images that run.

        Raises:
            UncheckableError: trivy-operator is not installed.
        """
        images = await _running(view)
        try:
            async for found in view.each(REPORTS, namespace=view.namespace):
                self._take(found, images)
        except AbsentError:
            raise UncheckableError(_NOT_INSTALLED) from None
        view.complete()
        weak = [finding for name, image in images.items() for finding in _judged(name, image)]
        doubts = [finding for name, image in images.items() if (finding := self._doubt(name, image))]
        outcome = Outcome.FAILED if weak and self.fails else Outcome.UNKNOWN if doubts else Outcome.OK
        return Result(
            outcome=outcome,
            message=self._summary(view.namespace, images, weak, doubts),
            findings=[*weak, *doubts],
            metrics={
                "images": float(len(images)),
                "weak_images": float(len({each.object for each in weak})),
                "weaknesses": sum(each.observed for each in weak),
                "unscanned_images": float(len(doubts)),
            },
        )

    def _take(self, found: Object, images: Mapping[str, _Image]) -> None:
        """Give a report to the images that it is on, unless they have a newer one."""
        body = found["report"]
        updated = _instant(body.get("updateTimestamp"))
        for name, image in images.items():
            known = image.report.updated if image.report else None
            if same_image(name, body) and (known is None or (updated is not None and updated > known)):
                image.report = _Report(updated, self._counted(body))

    def _counted(self, body: Object) -> dict[Grade, dict[tuple[str, str], _Weakness]]:
        """The weaknesses of a report that count, by grade, each of a package once."""
        counted: dict[Grade, dict[tuple[str, str], _Weakness]] = {}
        for each in body.get("vulnerabilities") or ():
            grade = str(each.get("severity", "")).lower()
            fixed, identity = str(each.get("fixedVersion") or ""), str(each["vulnerabilityID"])
            counts = grade in self.severity.grades and (fixed or not self.fixable_only)
            if not counts or allows(self.allowed, identity):
                continue
            package, installed = str(each.get("resource", "")), str(each.get("installedVersion", ""))
            weakness = _Weakness(identity, package, installed, fixed, _instant(each.get("publishedDate")))
            counted.setdefault(Grade(grade), {})[identity, package] = weakness
        return counted

    def _doubt(self, name: str, image: _Image) -> Finding | None:
        """Why it is not known how an image is."""
        if image.report is None:
            advice = "no report on it: look at the scan jobs of trivy-operator and at its log"
            return _finding("unscanned", Severity.WARNING, name, image.containers, "containers", advice)
        age = datetime.now(UTC) - image.report.updated if image.report.updated else timedelta.max
        if age <= self.max_age:
            return None
        days, limit = age.total_seconds() / 86400, self.max_age.total_seconds() / 86400
        return Finding(
            check_id="kubernetes.image.outdated",
            severity=Severity.WARNING,
            object=readable(name),
            observed=round(min(days, 99999), 1),
            threshold=round(limit, 2),
            unit="days",
            recommendation="its report is too old: see that trivy-operator runs and that its database is new",
        )

    def _summary(
        self, namespace: str, images: Mapping[str, _Image], weak: Sequence[Finding], doubts: Sequence[Finding]
    ) -> str:
        if not images:
            return f"no Pod runs in namespace {namespace}: no image to look at"
        kind = "fixable weaknesses" if self.fixable_only else "weaknesses"
        affected = len({each.object for each in weak})
        said = f"{affected} of {len(images)} images in namespace {namespace} have {kind} of grade {self.severity}"
        said += "" if self.severity is Threshold.CRITICAL else " or worse"
        if not doubts:
            return said
        names = ", ".join(each.object for each in doubts[:_SHOWN]) + (" …" if doubts[_SHOWN:] else "")
        return f"{said}; {len(doubts)} have no report of the last {format_duration(self.max_age)}: {names}"


async def _running(view: View) -> dict[str, _Image]:
    """The images of Pods that have not ended, by the name that their containers have for them."""
    images: dict[str, _Image] = {}
    async for pod in view.each(PODS, namespace=view.namespace):
        if not ended(pod):
            for container in containers(pod["spec"]):
                images.setdefault(str(container["image"]), _Image()).containers += 1
    return images


def same_image(image: str, report: Object) -> bool:
    """Whether a report is on an image as a container names it: by its digest where that has one, else by its tag."""
    artifact, registry = report.get("artifact") or {}, report.get("registry") or {}
    scanned = _parts(str(registry.get("server") or ""), str(artifact.get("repository") or ""))
    name, _, digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "latest"
    server, slash, path = repository.partition("/")
    if not slash or not (server == "localhost" or "." in server or ":" in server):
        server, path = "", repository
    if not path or _parts(server, path) != scanned:
        return False
    if digest:
        return digest == artifact.get("digest")
    return tag == (artifact.get("tag") or "latest")


def _parts(server: str, repository: str) -> tuple[str, str]:
    """Registry and repository, with the names of Docker Hub made one."""
    if server in _HUB or not server:
        return "docker.io", repository if "/" in repository else f"library/{repository}"
    return server, repository


def _judged(name: str, image: _Image) -> Iterator[Finding]:
    if image.report is None:
        return
    for grade, weaknesses in image.report.counted.items():
        worst = sorted(weaknesses.values(), key=lambda each: (each.published is None, each.published, each.identity))
        published = [each.published for each in worst if each.published]
        said = ", ".join(str(each) for each in worst[:_SHOWN])
        more = f" and {len(worst) - _SHOWN} more" if worst[_SHOWN:] else ""
        fixable = any(each.fixed for each in worst)
        yield Finding(
            check_id=f"kubernetes.image.{grade}",
            severity=_SEVERITY[grade],
            object=readable(name),
            observed=len(worst),
            threshold=1,
            unit="weaknesses",
            recommendation=readable(f"{said}{more}: " + ("build it anew" if fixable else "limit what can reach it")),
            grade=grade,
            since=min(published, default=None),
        )


def _finding(check: str, severity: Severity, name: str, observed: int, unit: str, advice: str) -> Finding:
    return Finding(
        check_id=f"kubernetes.image.{check}",
        severity=severity,
        object=readable(name),
        observed=observed,
        threshold=1,
        unit=unit,
        recommendation=advice,
    )


def _instant(text: object) -> datetime | None:
    """An instant with a zone; None where there is none that can be read."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
