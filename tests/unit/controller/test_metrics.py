"""What Prometheus reads: the names that teams know, labels of what there is, and nothing of what is gone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest

from upkeep.cluster.cache import Cache
from upkeep.cluster.resources import BACKUPS, TASKS, WINDOWS, Resource
from upkeep.controller.metrics import Metrics

Object = dict[str, Any]
Samples = dict[str, float]

BEGAN: Final = "2026-03-02T02:30:00Z"
ENDED: Final = "2026-03-02T02:31:30Z"
ENDED_AT: Final = datetime(2026, 3, 2, 2, 31, 30, tzinfo=UTC).timestamp()
RAN: Final = {"ending": "Ran", "job": "nightly-1", "startTime": BEGAN, "completionTime": ENDED, "outcome": "ok"}
MAINTENANCE: Final = ("last_run", "duration_seconds", "status")
"""The three names that team B's dashboards ask for."""


def resource(status: object, *, name: str = "nightly", version: int = 1) -> Object:
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version)}, "status": status}


def scraped(*known: tuple[Resource, Object], prefix: str = "upkeep") -> Samples:
    cache = Cache()
    for kind, body in known:
        cache.put(kind, body)
    return samples(Metrics(prefix=prefix, cache=cache))


def samples(metrics: Metrics) -> Samples:
    text = generate_latest(metrics.registry).decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def of_task(metric: str, *, prefix: str = "upkeep", name: str = "nightly", **labels: str) -> str:
    extra = "".join(f',{key}="{value}"' for key, value in labels.items() if key < "task")
    return f'{prefix}_maintenance_{metric}{{namespace="shop"{extra},task="{name}"}}'


@pytest.mark.parametrize("prefix", ["upkeep", "shop"])
def test_a_run_is_told_under_the_names_that_teams_know(prefix: str) -> None:
    found = scraped((TASKS, resource({"lastRun": RAN})), prefix=prefix)

    assert found[of_task("last_run", prefix=prefix)] == ENDED_AT
    assert found[of_task("duration_seconds", prefix=prefix)] == 90
    assert found[of_task("status", prefix=prefix)] == 1
    assert all(name.startswith(f"{prefix}_") for name in found)


@pytest.mark.parametrize(
    ("outcome", "good"), [("ok", 1), ("changed", 1), ("skipped", 1), ("unknown", 0), ("failed", 0)]
)
def test_only_what_ended_well_counts_as_good(outcome: str, good: float) -> None:
    run = RAN | {"outcome": outcome}
    known = [(kind, resource({"lastRun": run})) for kind in (TASKS, WINDOWS, BACKUPS)]

    found = scraped(*known)

    assert found[of_task("status")] == good
    assert found['upkeep_window_status{name="nightly",namespace="shop"}'] == good
    assert found['upkeep_backup_status{name="nightly",namespace="shop"}'] == good


def test_findings_and_failures_in_a_row_are_counted() -> None:
    run = RAN | {"criticalFindings": 2, "warningFindings": 5}

    found = scraped((TASKS, resource({"lastRun": run, "consecutiveFailures": 3, "overdueFindings": 4})))

    assert found[of_task("findings", severity="critical")] == 2
    assert found[of_task("findings", severity="warning")] == 5
    assert found[of_task("overdue_findings")] == 4
    assert found[of_task("consecutive_failures")] == 3


@pytest.mark.parametrize(
    "before", [RAN, RAN | {"outcome": "failed"}], ids=["after a good run", "after one that failed"]
)
@pytest.mark.parametrize("kind", [TASKS, BACKUPS, WINDOWS], ids=lambda kind: kind.kind)
def test_while_a_run_is_under_way_the_last_one_that_ended_still_counts(kind: Resource, before: Object) -> None:
    """An alert on a failure must not end because the next run begins, nor one on absence fire meanwhile."""
    begun = {"ending": "Ran", "job": "nightly-2", "startTime": "2026-03-03T02:30:00Z"}
    missed = {"ending": "Missed", "reason": "OperatorDown", "scheduledTime": "2026-03-02T03:00:00Z"}
    ended = scraped((kind, resource({"lastRun": before, "history": [missed, before]})))

    found = scraped((kind, resource({"lastRun": begun, "history": [missed, before]})))

    told = {name: value for name, value in ended.items() if "nightly" in name and "_findings{" not in name}
    assert told.items() <= found.items()
    assert any("_status{" in name for name in told)
    assert not any("maintenance_findings" in name for name in found), "which is what the run under way will tell"


def test_before_its_first_run_a_task_has_neither_a_good_nor_a_bad_one() -> None:
    for status in (None, {}, {"lastRun": {"ending": "Ran", "job": "nightly-1", "startTime": BEGAN}}):
        found = scraped((TASKS, resource(status)))

        assert not {of_task(metric) for metric in MAINTENANCE} & found.keys()
        assert found[of_task("consecutive_failures")] == 0


def test_an_open_window_says_until_when_and_what_is_on_its_page() -> None:
    targets = [{"kind": "Ingress", "name": "shop", "state": "Maintenance"}, {"name": "api", "state": "Restored"}]
    open_now = {"occurrence": {"openedAt": BEGAN, "endTime": ENDED, "targets": targets}}
    labels = '{name="nightly",namespace="shop"}'

    found = scraped((WINDOWS, resource(open_now)))
    closed = {"occurrence": open_now["occurrence"] | {"closedAt": ENDED}, "nextScheduleTime": ENDED}
    later = scraped((WINDOWS, resource(closed)))

    assert found[f"upkeep_window_open{labels}"] == 1
    assert found[f"upkeep_window_end_time{labels}"] == ENDED_AT
    assert found[f"upkeep_window_targets_in_maintenance{labels}"] == 1
    assert later[f"upkeep_window_open{labels}"] == 0
    assert f"upkeep_window_end_time{labels}" not in later
    assert later[f"upkeep_window_next_start{labels}"] == ENDED_AT


def test_a_backup_says_when_it_last_succeeded_and_was_found_intact() -> None:
    labels = '{name="nightly",namespace="shop"}'

    found = scraped((BACKUPS, resource({"lastBackupTime": ENDED, "lastIntegrityCheckTime": BEGAN, "lastRun": RAN})))

    assert found[f"upkeep_backup_last_success{labels}"] == ENDED_AT
    assert found[f"upkeep_backup_last_integrity_check{labels}"] == ENDED_AT - 90
    assert found[f"upkeep_backup_duration_seconds{labels}"] == 90


def test_a_backup_that_was_verified_says_when_and_what_was_measured() -> None:
    labels = '{name="nightly",namespace="shop"}'
    verified = {"time": ENDED, "snapshotTime": BEGAN, "restoreSeconds": 12, "ageSeconds": 90, "snapshot": "1a2b3c4d"}

    found = scraped((BACKUPS, resource({"lastVerified": verified})))
    before = scraped((BACKUPS, resource({})))

    assert found[f"upkeep_backup_last_verified_timestamp_seconds{labels}"] == ENDED_AT
    assert found[f"upkeep_backup_verified_snapshot_timestamp_seconds{labels}"] == ENDED_AT - 90
    assert found[f"upkeep_backup_restore_seconds{labels}"] == 12
    assert found[f"upkeep_backup_restore_age_seconds{labels}"] == 90
    assert not [name for name in before if name.startswith(("upkeep_backup_last_verified", "upkeep_backup_restore"))]


def test_a_repository_says_how_large_it_is_and_what_was_removed_last() -> None:
    labels = '{name="nightly",namespace="shop"}'
    last = {"time": ENDED, "removed": 3, "kept": 7, "freedBytes": 4096}

    found = scraped((BACKUPS, resource({"lastPrune": last, "repositoryBytes": 123456})))
    before = scraped((BACKUPS, resource({})))

    assert found[f"upkeep_backup_last_prune_timestamp_seconds{labels}"] == ENDED_AT
    assert found[f"upkeep_backup_pruned_snapshots{labels}"] == 3
    assert found[f"upkeep_backup_kept_snapshots{labels}"] == 7
    assert found[f"upkeep_backup_freed_bytes{labels}"] == 4096
    assert found[f"upkeep_backup_repository_bytes{labels}"] == 123456
    assert not [name for name in before if "prune" in name or "bytes" in name]


def test_the_room_of_a_repository_is_shown_as_far_as_it_is_known() -> None:
    labels = '{name="nightly",namespace="shop"}'
    measured = [{"time": ENDED, "bytes": 1}]

    known = scraped(
        (BACKUPS, resource({"capacity": {"freeBytes": 9, "growthBytesPerDay": -3, "measurements": measured}}))
    )
    full = scraped((BACKUPS, resource({"capacity": {"fullTime": ENDED, "measurements": measured}})))

    assert known[f"upkeep_backup_repository_free_bytes{labels}"] == 9
    assert known[f"upkeep_backup_repository_growth_bytes_per_day{labels}"] == -3
    assert full[f"upkeep_backup_repository_full_timestamp_seconds{labels}"] == ENDED_AT
    assert not [name for name in known if "full_timestamp" in name]


def test_a_cold_copy_says_when_it_was_made_and_what_it_holds() -> None:
    labels = '{name="nightly",namespace="shop"}'
    copy = {"time": ENDED, "snapshots": 3, "bytes": 4096, "storageClass": "GLACIER", "verifiable": False}

    found = scraped((BACKUPS, resource({"coldCopy": copy})))

    assert found[f"upkeep_backup_cold_copy_timestamp_seconds{labels}"] == ENDED_AT
    assert found[f"upkeep_backup_cold_copy_bytes{labels}"] == 4096
    assert found[f"upkeep_backup_cold_copy_snapshots{labels}"] == 3
    assert not [name for name in found if "verified" in name]
    assert not [name for name in scraped((BACKUPS, resource({}))) if "cold_copy" in name]


@pytest.mark.parametrize("kind", [TASKS, WINDOWS, BACKUPS], ids=lambda kind: kind.kind)
def test_a_resource_that_is_gone_takes_its_series_along(kind: Resource) -> None:
    cache = Cache()
    metrics = Metrics(prefix="upkeep", cache=cache)
    before = samples(metrics)
    body = resource({"lastRun": RAN, "lastBackupTime": ENDED})
    cache.put(kind, body)
    assert samples(metrics).keys() > before.keys()

    cache.drop(kind, resource({}, version=2))

    assert samples(metrics).keys() == before.keys()


def test_what_the_operator_does_is_counted_by_kind() -> None:
    metrics = Metrics(prefix="upkeep", cache=Cache())
    metrics.run_started("MaintenanceTask")
    metrics.decided("maintenancetasks", "ok")
    metrics.decided("maintenancetasks", "conflict")
    metrics.conflicted()
    metrics.swept("HTTPRoute")

    found = samples(metrics)

    assert found['upkeep_runs_started_total{kind="MaintenanceTask"}'] == 1
    assert found['upkeep_reconcile_total{kind="maintenancetasks",result="ok"}'] == 1
    assert found['upkeep_reconcile_total{kind="maintenancetasks",result="conflict"}'] == 1
    assert found["upkeep_restore_conflicts_total"] == found['upkeep_swept_targets_total{kind="HTTPRoute"}'] == 1


WORDS: Final = "a text of a user"
scraps = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([WORDS, "ok", ENDED, "0001-01-01T00:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["outcome", "completionTime", "startTime", "state", "targets", "openedAt", WORDS]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
statuses = scraps | st.dictionaries(
    st.sampled_from(
        ["lastRun", "history", "consecutiveFailures", "occurrence", "nextScheduleTime", "lastBackupTime", "conditions"]
    ),
    scraps,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from([TASKS, WINDOWS, BACKUPS]), status=statuses)
def test_whatever_stands_in_one_status_the_others_are_told_and_no_text_becomes_a_label(
    kind: Resource, status: Mapping[str, Any]
) -> None:
    found = scraped((kind, resource(status, name="broken")), (TASKS, resource({"lastRun": RAN})))

    assert found[of_task("status")] == 1
    assert not [name for name in found if WORDS in name]
    assert len(found) < 100
