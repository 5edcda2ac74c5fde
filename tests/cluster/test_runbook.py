"""A task fails on a real cluster: whatever says so says where it stands what to do, and the command line prints it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from cluster.kubectl import Kubectl, read
from cluster.space import Space
from lab.access import ClusterAccess
from lab.home import TREE

SAMPLE: Final = TREE / "manifests" / "samples" / "task-runbook.yaml"
NAME: Final = "delivery-import"
WIKI: Final = "https://wiki.example.com/delivery-import"


def test_a_failure_leads_to_the_runbook(space: Space, kubectl: Kubectl, access: ClusterAccess) -> None:
    """Given the sample, where the service that it asks is not there."""
    (sample,) = read(SAMPLE)
    space.make(sample)
    space.run_now(NAME, "now")

    status = space.ended_run(NAME, token="now")  # noqa: S106 - a token of run-now, not a password

    assert status["lastRun"]["outcome"] == "failed"
    assert space.said(NAME, "RunFailed").endswith(f"; runbook: {WIKI}")
    assert space.condition(NAME, "LastRunSucceeded", "False")["message"].endswith(f"; runbook: {WIKI}")
    described = kubectl.run("describe", "mt", NAME, f"--namespace={space.name}")
    assert "Expected Outcome:" in described
    printed = _upkeep(access.kubeconfig, "runbook", NAME, "-n", space.name)
    assert (printed.returncode, printed.stderr) == (0, "")
    for text in ("Last run", "failed", "When it has failed", "1. Look at the import's own page", WIKI):
        assert text in printed.stdout
    missing = _upkeep(access.kubeconfig, "runbook", "other", "-n", space.name)
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"there is no MaintenanceTask 'other' in namespace {space.name}")


def _upkeep(config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "KUBECONFIG": str(config), "PYTHONPATH": str(TREE / "operator")}
    command = [sys.executable, "-m", "upkeep", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
