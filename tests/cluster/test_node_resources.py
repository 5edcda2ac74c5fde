"""What nodes and Pods use, from a real metrics-server that asks a real kubelet."""

from collections.abc import Callable, Iterator

import pytest

from cluster.account import Accounts, granted_by_the_chart
from cluster.conftest import RunSample, See
from cluster.manifests import pod
from cluster.space import Space
from cluster.waiting import until
from lab import metrics, state
from lab.access import ClusterAccess
from lab.home import Home
from lab.node import NAME
from lab.report import Report
from upkeep.actions.contract import Finding, Result
from upkeep.actions.kubernetes.noderesources import CPUThresholds, KubernetesNodeResources, MemoryThresholds

pytestmark = [pytest.mark.home_built, pytest.mark.longest]

NODE = f"Node/{NAME}"
NEVER = CPUThresholds(warning_percent=100, critical_percent=100)
AT_ONCE = MemoryThresholds(warning_percent=0.01, critical_percent=0.02)
HOG = "x = bytearray(44 << 20); print('full', flush=True); import time; time.sleep(600)"
"""Uses most of 64 MiB."""


@pytest.fixture
def start_metrics() -> Iterator[Callable[[], None]]:
    """Brings the metrics API, for as long as the test lasts."""
    home = Home.from_environment()

    def started() -> None:
        recorded = state.load(home)
        assert recorded is not None
        with Report() as report, state.alone(home, report):
            metrics.up(home, recorded, report)

    yield started
    recorded = state.load(home)
    assert recorded is not None
    metrics.down(home, recorded)


def _of(result: Result, check: str) -> dict[str, Finding]:
    return {each.object: each for each in result.findings if each.check_id.endswith(check)}


def test_what_nodes_and_pods_use_is_compared_with_what_they_have(
    see: See,
    accounts: Accounts,
    place: Space,
    access: ClusterAccess,
    start_metrics: Callable[[], None],
    run_sample: RunSample,
) -> None:
    both = KubernetesNodeResources(pods=True, cpu=NEVER)
    # given nobody who measures
    early = accounts.make("early")
    with accounts.granted(early, granted_by_the_chart(both), everywhere=True):
        early.refusal(both, "this cluster has no metrics API: install metrics-server")

    # and then metrics-server, a Pod that uses most of its memory, and one that uses more than it requests
    small = {"resources": {"requests": {"cpu": "10m", "memory": "4Mi"}, "limits": {"memory": "64Mi"}}}
    image = {"image": access.shop_image, "imagePullPolicy": "IfNotPresent"}
    place.make(pod("hog", {"name": "main", **image, **small, "command": ["python3", "-c", HOG]}))
    modest = {"requests": {"memory": "4Mi"}}
    sleeper = "import time; time.sleep(600)"
    place.make(pod("modest", {"name": "main", **image, "resources": modest, "command": ["python3", "-c", sleeper]}))
    for name in ("hog", "modest"):
        place.ready(name)
    start_metrics()

    # when their figures are there
    low = MemoryThresholds(warning_percent=50, critical_percent=60)
    pods = KubernetesNodeResources(nodes=False, pods=True, cpu=NEVER, memory=low)
    measured = until(
        lambda: see(pods),
        lambda found: len(_of(found, "pod-memory")) > 1,
        what="both are measured",
        seconds=60,
        every=1,
    )

    # then both are found, one as a warning because nothing limits it
    found = _of(measured, "pod-memory")
    assert {name: each.severity.value for name, each in found.items()} == {
        "Pod/hog container main": "critical",
        "Pod/modest container main": "warning",
    }
    assert 60 <= found["Pod/hog container main"].observed <= 100
    assert measured.outcome == "ok"
    # and nodes are measured as well, with nothing to find at the defaults of memory, and all at tiny ones
    calm = see(KubernetesNodeResources(cpu=NEVER))
    assert (calm.outcome, _of(calm, "node-memory"), _of(calm, "no-figures")) == ("ok", {}, {})
    assert 0 < calm.metrics["worst_memory_percent"] < 100
    busy = see(KubernetesNodeResources(cpu=NEVER, memory=AT_ONCE))
    assert _of(busy, "node-memory")[NODE].severity == "critical"
    # and the sample looks at all of it
    run = run_sample("node-resources")
    assert run["outcome"] == "ok", run
    assert "figures compared, the worst: " in run["steps"][0]["message"]
    # and each right of the role is needed
    accounts.need_each_right(both, everywhere=True)
