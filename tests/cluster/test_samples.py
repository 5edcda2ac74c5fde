"""A real API server takes every sample, and answers every bad example with what helps."""

from pathlib import Path
from typing import Final

import pytest

from cluster.kubectl import Kubectl, Object, moved, parse, pod_of, read

MANIFESTS: Final = Path(__file__).parents[2] / "manifests"
BAD: Final = sorted((Path(__file__).parent / "bad").glob("*.yaml"))

pytestmark = pytest.mark.usefixtures("definitions")


@pytest.mark.parametrize("path", sorted((MANIFESTS / "samples").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sample_is_accepted_as_it_is(kubectl: Kubectl, empty_namespace: str, path: Path) -> None:
    objects = [moved(found, empty_namespace) for found in read(path)]

    done = kubectl.dry_run(objects)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(objects)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_example_is_refused_with_what_helps(kubectl: Kubectl, empty_namespace: str, path: Path) -> None:
    remarks = dict.fromkeys(line for line in path.read_text().splitlines() if line.startswith("# "))
    expected = [line.removeprefix("# expect: ") for line in remarks if line.startswith("# expect: ")]
    options = ["--validate=ignore"] if "# validate: ignore" in remarks else []
    (bad,) = read(path)
    bad["metadata"]["namespace"] = empty_namespace

    done = kubectl.dry_run([bad], *options)

    assert done.returncode != 0
    for fragment in expected:
        assert fragment in done.stderr


def test_the_largest_plan_is_still_within_the_cost_limit_of_rules(kubectl: Kubectl, empty_namespace: str) -> None:
    names = [f"task-{number:02}-{'x' * 240}" for number in range(64)]
    tasks = [
        {"name": name, "dependsOn": [names[(number + step) % 64] for step in range(1, 33)]}
        for number, name in enumerate(names)
    ]
    window = {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": "MaintenanceWindow",
        "metadata": {"name": "large", "namespace": empty_namespace},
        "spec": {"schedule": "0 2 * * SUN", "duration": "2h", "plan": {"tasks": tasks}},
    }

    done = kubectl.dry_run([window], "--server-side")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("variant", ["shop", "home-built"])
def test_the_demo_is_accepted_and_its_pods_are_restricted(kubectl: Kubectl, empty_namespace: str, variant: str) -> None:
    built = parse(kubectl.run("kustomize", str(MANIFESTS / "demo" / variant)))
    workloads = [found for found in built if found["kind"] in {"Deployment", "StatefulSet"}]
    objects = [_apart(found, empty_namespace) for found in built]

    done = kubectl.dry_run([*objects, *(pod_of(found, empty_namespace) for found in workloads)])

    assert len(workloads) == 3
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def _apart(found: Object, namespace: str) -> Object:
    """The object beside a demo that may be running: in the test's namespace, or under a name of its own."""
    if "namespace" in found["metadata"]:
        return moved(found, namespace)
    return {**found, "metadata": {**found["metadata"], "name": f"{namespace}-{found['metadata']['name']}"}}
