"""kubectl against the test cluster: what a person would type, so that tests see the same answers.

It never uses the caller's current context, only the one that the lab says may be touched.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """A kubectl that is bound to one cluster.

    Attributes:
        program: the executable.
        kubeconfig: file with the cluster's address and credentials.
        context: the context in it.
    """

    program: Path
    kubeconfig: Path
    context: str

    def attempt(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run it and return what it said, whether it succeeded or not."""
        command: list[str | Path] = [
            self.program,
            "--kubeconfig",
            self.kubeconfig,
            "--context",
            self.context,
            *arguments,
        ]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it and return its output; the test fails where it fails."""
        done = self.attempt(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def dry_run(self, objects: Iterable[Object], *options: str) -> "subprocess.CompletedProcess[str]":
        """Let the server check objects as `kubectl apply` would, without keeping them."""
        return self.attempt("apply", "--dry-run=server", "-f", "-", *options, stdin=yaml.safe_dump_all(objects))


def read(*paths: Path) -> list[Object]:
    """The objects of YAML files."""
    return parse("\n---\n".join(path.read_text() for path in paths))


def parse(text: str) -> list[Object]:
    """The objects of a YAML stream."""
    return [found for found in yaml.safe_load_all(text) if found]


def moved(found: Object, namespace: str) -> Object:
    """The same object in a namespace of the test's own, where it has one."""
    if "namespace" not in found["metadata"]:
        return found
    return {**found, "metadata": {**found["metadata"], "namespace": namespace}}


def pod_of(workload: Object, namespace: str) -> Object:
    """The Pod that a Deployment or StatefulSet would make, for the admission that only looks at Pods."""
    template = workload["spec"]["template"]
    metadata = {**template["metadata"], "name": workload["metadata"]["name"], "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
