"""Log files on a PersistentVolumeClaim that a Pod of another user wrote are read, rotated and put away by steps."""

import pytest

from cluster.manifests import script, task
from cluster.space import Space
from cluster.volume import claimed
from lab.access import ClusterAccess

_WRITE = (
    "mkdir -p /logs/web /logs/tmp && cd /logs && yes line | head -c 3000000 > web/app.log"
    ' && for n in 1 2 3; do echo "error: order $n is lost, took=0.$n"; done > web/error.log'
    ' && for n in 1 2 3; do echo "Failed password for root from 192.0.2.7 port $n ssh2"; done > auth.log'
    " && echo line > web/app.log.1 && echo line > tmp/x.tmp && touch -t 202001010000 web/app.log.1 tmp/x.tmp"
)
_LOOK = (
    "cd /logs && test ! -s web/app.log && gzip -dc web/app.log-*.gz | tail -1 | grep -q line"
    " && test ! -s auth.log && echo more >> auth.log && grep -q Failed auth.log-*Z"
    " && test ! -e web/app.log.1 && gzip -dc web/archive/app.log.1.gz | grep -q line && test ! -e tmp/x.tmp"
)
_CLAIM = "shop-logs"
_SECONDS = 90
"""A volume is bound to its claim first, and each run is a Pod of its own."""


@pytest.fixture
def volume() -> dict[str, object]:
    return {
        "name": "logs",
        "mountPath": "/logs",
        "readOnly": False,
        "persistentVolumeClaim": {"claimName": _CLAIM},
    }


def test_logs_of_another_user_are_read_and_looked_after(
    space: Space, access: ClusterAccess, volume: dict[str, object]
) -> None:
    limits = {"maxMebibytes": 2, "warningPercent": 100, "criticalPercent": 100}
    took = {"pattern": "took=(?P<value>[0-9.]+)", "warningAbove": 0.2}
    small = {"minMebibytes": 0}
    care = [
        {"name": "size", "logsSize": {"connection": "logs", **limits}},
        {"name": "errors", "logsErrorReport": {"connection": "logs", "warningCount": 3}},
        {"name": "durations", "logsPerformanceReport": {"connection": "logs", **took}},
        {"name": "log-ins", "logsFailedLogins": {"connection": "logs", "warningCount": 3}},
        {"name": "rotate", "logsRotate": {"connection": "logs", "path": "web"}},
        {"name": "rename", "logsRotate": {"connection": "logs", "files": ["auth.log"], "method": "Rename", **small}},
        {"name": "archive", "logsRetention": {"connection": "logs", "archiveAfter": "30d", "dryRun": False}},
        {"name": "clean", "logsCleanTemp": {"connection": "logs", "path": "tmp", "dryRun": False}},
    ]
    connections = [{"name": "logs", "volume": {"claimName": _CLAIM}}]
    with claimed(space, access, _CLAIM):
        space.make(task("writer", job=script(access.shop_image, _WRITE, volumes=[volume])))
        assert space.ended_run("writer", seconds=_SECONDS)["lastRun"]["outcome"] == "ok"

        space.make(task("care", *care, connections=connections))
        run = space.ended_run("care", seconds=_SECONDS)["lastRun"]

        assert run["outcome"] == "changed", run
        assert {finding["object"] for finding in run["findings"]} == {
            "logs web",
            "logs error: order <n> is lost, took=<n>",
            "logs took=(?P<value>[0-9.]+)",
            "logs source 192.0.2.7",
            "logs user root",
        }
        space.make(task("reader", job=script(access.shop_image, _LOOK, volumes=[volume])))
        assert space.ended_run("reader", seconds=_SECONDS)["lastRun"]["outcome"] == "ok"
