"""Weaknesses of running images, from reports as trivy-operator makes them, on a real API server."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from cluster import trivy
from cluster.account import Accounts, granted_by_the_chart
from cluster.conftest import Give, RunSample, See
from cluster.kubectl import Kubectl, Object
from cluster.manifests import idle_pod
from upkeep.actions.contract import Finding, Grade
from upkeep.actions.kubernetes.imagevulnerabilities import KubernetesImageVulnerabilities, Threshold

pytestmark = pytest.mark.home_built

HOSTILE = 'CVE-0"; DROP \u202e\x07' + "l" * 300


@pytest.fixture
def install(kubectl: Kubectl) -> Iterator[Callable[[], None]]:
    """Brings trivy-operator's kind of report."""
    text = json.dumps(trivy.definition())

    def installed() -> None:
        kubectl.run("apply", "--filename=-", stdin=text)
        kubectl.run("wait", "--for=condition=Established", f"crd/{trivy.NAME}", "--timeout=30s")

    yield installed
    kubectl.run("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=text)


def _graded(findings: Sequence[Finding]) -> set[tuple[str, str, float]]:
    return {(each.object, each.check_id.rpartition(".")[2], each.observed) for each in findings}


def test_images_are_judged_by_the_newest_report_on_them(
    give: Give, see: See, install: Callable[[], None], accounts: Accounts, run_sample: RunSample
) -> None:
    # given Pods, and nobody who scans their images
    def pod(name: str, image: str) -> None:
        give("v1", "Pod", name, spec=idle_pod(container={"image": image}))

    def scanned(name: str, report: Object) -> None:
        api = f"{trivy.GROUP}/v1alpha1"
        labels = {"trivy-operator.container.name": "main", "trivy-operator.resource.name": name}
        give(api, "VulnerabilityReport", f"pod-{name}-main", labels=labels, report=report)

    pod("web", "nginx:1.27")
    look = KubernetesImageVulnerabilities()
    early = accounts.make("early")
    with accounts.granted(early, granted_by_the_chart(look), everywhere=False):
        early.refusal(look, "there are no VulnerabilityReports in this cluster: install trivy-operator")

    # when it is installed, but has not scanned yet
    install()
    waiting = see(look)
    assert waiting.outcome == "unknown"
    assert _graded(waiting.findings) == {("nginx:1.27", "unscanned", 1)}

    # and when all images have reports, good and bad, and one is of a time before
    pod("api", "registry.example.com:5000/team/api:2.1@sha256:" + "0" * 64)
    pod("job", "ghcr.io/team/job:v1")
    old = trivy.weakness("CVE-2025-1", "HIGH", published="2026-10-01T00:00:00Z")
    unfixed = trivy.weakness("CVE-2025-4", "CRITICAL", fixed="")
    web = (trivy.weakness("CVE-2025-2", "HIGH"), trivy.weakness(HOSTILE, "CRITICAL"), old, unfixed)
    scanned("web", trivy.report("library/nginx", "1.27", *web, trivy.weakness("CVE-2025-3", "LOW")))
    gone = trivy.report("library/nginx", "1.9", trivy.weakness("CVE-2020-1", "CRITICAL"))
    scanned("gone", gone)
    api = trivy.report("team/api", "2.1", server="registry.example.com:5000")
    api["artifact"]["digest"] = "sha256:" + "0" * 64
    scanned("api", api)
    scanned("job", trivy.report("team/job", "v1", server="ghcr.io", days=1))

    found = see(look)

    assert found.outcome == "ok"
    assert _graded(found.findings) == {("nginx:1.27", "critical", 1), ("nginx:1.27", "high", 2)}
    assert found.message.startswith("1 of 3 images in namespace")
    high = next(each for each in found.findings if each.grade is Grade.HIGH)
    assert high.since == datetime(2026, 10, 1, tzinfo=UTC)
    assert high.recommendation.startswith("CVE-2025-1 (openssl 1.0 to 2.0), CVE-2025-2")
    assert all(each.recommendation.isprintable() for each in found.findings)
    # and by other thresholds
    assert _graded(see(KubernetesImageVulnerabilities(severity=Threshold.CRITICAL)).findings) == {
        ("nginx:1.27", "critical", 1)
    }
    every = see(KubernetesImageVulnerabilities(severity=Threshold.LOW, fixable_only=False, fails=True))
    assert every.outcome == "failed"
    assert _graded(every.findings) == {
        ("nginx:1.27", "critical", 2),
        ("nginx:1.27", "high", 2),
        ("nginx:1.27", "low", 1),
    }
    outdated = see(KubernetesImageVulnerabilities(max_age=timedelta(hours=12), allowed=["CVE*"], fails=True))
    assert outdated.outcome == "unknown"
    assert _graded(outdated.findings) == {("ghcr.io/team/job:v1", "outdated", 1.0)}

    # and the sample, whose own Pod nobody has scanned, tells what it found, with a deadline
    run = run_sample("image-vulnerabilities")
    assert run["outcome"] == "unknown", run
    known = {each["checkId"]: each for each in run["findings"]}
    assert known["kubernetes.image.critical"]["object"] == "nginx:1.27"
    assert known["kubernetes.image.high"]["due"] == "2026-10-08T00:00:00Z"
    assert "kubernetes.image.unscanned" in known
    # and each right of the role is needed
    accounts.need_each_right(look, everywhere=False)
