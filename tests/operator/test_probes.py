"""What Kubernetes and Prometheus see of an operator."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from lab.port import free_port
from replicas import runs
from replicas.probe import fetched
from replicas.replica import ROOT, operator_settings
from replicas.stage import TEAM, Stage
from upkeep.domain.instants import read_instant

PATIENCE: Final = 30.0
OURS: Final = "upkeep/"
"""How the user agent of the operator's own client begins; Kopf's watches have another."""


async def test_it_is_ready_when_it_knows_the_cluster_and_not_before(stage: Stage) -> None:
    stage.cluster.faults.on("list", "jobs", user_agent=OURS, times=1).delay(2.0)
    port = free_port()
    await stage.household.operator(port=port)

    before = await fetched(port, "/readyz")
    after = await fetched(port, "/readyz", until=lambda status: status == 200)

    assert before == (503, "not synced yet")
    assert after == (200, "leading")
    assert await fetched(port, "/healthz") == (200, "ok")


async def test_who_waits_for_the_lease_is_ready_too(stage: Stage) -> None:
    leading, waiting = free_port(), free_port()
    await stage.household.operator("upkeep-0", port=leading)
    await stage.watched()

    await stage.household.operator("upkeep-1", port=waiting)

    assert await fetched(waiting, "/readyz", until=lambda status: status == 200) == (200, "standing by")
    assert await fetched(leading, "/readyz") == (200, "leading")
    assert "upkeep_leader 0.0" in (await fetched(waiting, "/metrics"))[1]
    assert "upkeep_leader 1.0" in (await fetched(leading, "/metrics"))[1]


@pytest.mark.parametrize(("settings", "prefix"), [({}, "upkeep"), ({"UPKEEP_METRICS_PREFIX": "shop"}, "shop")])
async def test_a_run_is_in_the_metrics_under_the_names_that_teams_know(
    settings: dict[str, str], prefix: str, stage: Stage
) -> None:
    port = free_port()
    await stage.household.operator(port=port, settings=settings)
    runs.ONCE.begin(stage)
    await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
    await stage.cluster.until(lambda: stage.events(runs.NAME)[1:], within=PATIENCE)

    status, text = await fetched(port, "/metrics")

    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    labels = f'{{namespace="{TEAM}",task="{runs.NAME}"}}'
    ended = stage.status("MaintenanceTask", runs.NAME)["lastRun"]["completionTime"]
    assert status == 200
    assert float(found[f"{prefix}_maintenance_last_run{labels}"]) == read_instant(ended).timestamp()
    assert 0 <= float(found[f"{prefix}_maintenance_duration_seconds{labels}"]) <= 2
    assert float(found[f"{prefix}_maintenance_status{labels}"]) == 1
    assert float(found[f'{prefix}_runs_started_total{{kind="MaintenanceTask"}}']) == 1
    assert float(found[f"{prefix}_start_delay_seconds_count"]) == 1


async def test_a_setting_that_is_missing_or_wrong_is_named(stage: Stage) -> None:
    missing = await stage.household.run("operator")
    wrong = await stage.household.operator(settings={"UPKEEP_LEASE_DURATION": "3"})

    assert await missing.end() == 2
    assert "UPKEEP_IMAGE is not set: set it to the image" in missing.log
    assert await wrong.end() == 2
    assert "UPKEEP_LEASE_*: lease duration (3s) > renew deadline (10s)" in wrong.log
    assert "Traceback" not in missing.log + wrong.log


async def test_the_command_of_the_image_does_all_this_too(stage: Stage, tmp_path: Path) -> None:
    """Given a process that was started from scratch, not by fork as the others here."""
    port = free_port()
    environment = {
        **operator_settings("upkeep-0", port),
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "PYTHONPATH": "operator",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "upkeep", "operator", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert await fetched(port, "/readyz", until=lambda status: status == 200) == (200, "leading")
        runs.ONCE.begin(stage)
        await stage.cluster.until(lambda: runs.ONCE.over(stage), within=PATIENCE)
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()

    assert process.returncode == 0
    assert b"Stopped." in said
    assert b"Traceback" not in said
    assert b"Warning" not in said
