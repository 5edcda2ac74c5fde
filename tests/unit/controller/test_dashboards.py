"""The dashboards of the chart ask for metrics that there are."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from upkeep.cluster.cache import Cache
from upkeep.controller.metrics import Metrics

DASHBOARDS: Final = Path(__file__).parents[3] / "charts" / "upkeep" / "files" / "dashboards"


@pytest.mark.parametrize("path", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_every_metric_of_a_dashboard_is_there(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    there = {metric.name for metric in Metrics(prefix="upkeep", cache=Cache()).registry.collect()}

    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"upkeep_\w+", target["expr"])
    }

    assert asked
    assert asked <= there
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
