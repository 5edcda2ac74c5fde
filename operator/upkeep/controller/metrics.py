"""What Prometheus reads. Labels are bounded by the number of resources; user text never becomes a label."""

import contextlib
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from upkeep.cluster.cache import Cache
from upkeep.cluster.resources import BACKUPS, TASKS, WINDOWS
from upkeep.domain.instants import read_instant
from upkeep.domain.overdue import OVERDUE

_GOOD: Final = frozenset({"ok", "changed", "skipped"})
_OWNER: Final = ("namespace", "name")
_UNREADABLE: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What a status that somebody else wrote can lead to; it must not hide all the others."""


class Metrics:
    """The operator's own counters, and what the statuses of all resources say."""

    def __init__(self, *, prefix: str, cache: Cache) -> None:
        self.registry = CollectorRegistry()
        self._runs = Counter(f"{prefix}_runs_started", "Jobs created.", ("kind",), registry=self.registry)
        self._decisions = Counter(
            f"{prefix}_reconcile", "Decisions, by kind and result.", ("kind", "result"), registry=self.registry
        )
        self.delay = Histogram(
            f"{prefix}_start_delay_seconds",
            "From the time of an occurrence to the creation of its Job.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.leader = Gauge(f"{prefix}_leader", "1 while this replica acts.", registry=self.registry)
        self.queue = Gauge(f"{prefix}_queue_length", "Resources that wait for a decision.", registry=self.registry)
        self._conflicts = Counter(
            f"{prefix}_restore_conflicts", "Backends that others had changed meanwhile.", registry=self.registry
        )
        self._swept = Counter(
            f"{prefix}_swept_targets",
            "Ingresses and routes restored because nobody held them.",
            ("kind",),
            registry=self.registry,
        )
        self._notifications = Counter(
            f"{prefix}_notifications",
            "Attempts to send a message to people, by channel and result.",
            ("channel", "result"),
            registry=self.registry,
        )
        self.registry.register(_StatusCollector(prefix=prefix, cache=cache))

    def run_started(self, kind: str) -> None:
        """A Job was created for a resource of this kind."""
        self._runs.labels(kind).inc()

    def decided(self, kind: str, result: str) -> None:
        """A decision was carried out (`ok`) or not (`error`, `conflict`)."""
        self._decisions.labels(kind, result).inc()

    def conflicted(self) -> None:
        """A restore met something that was not ours."""
        self._conflicts.inc()

    def notified(self, channel: str, result: str) -> None:
        """A message was `sent` on a configured channel, `refused` by it, or nobody knows (`unknown`)."""
        self._notifications.labels(channel, result).inc()

    def swept(self, kind: str) -> None:
        """The sweep let go of an Ingress or a route for windows that had no right to it any more."""
        self._swept.labels(kind).inc()


class _StatusCollector(Collector):
    """Reads the statuses at every scrape, so that a restart loses nothing and both replicas say the same."""

    def __init__(self, *, prefix: str, cache: Cache) -> None:
        self._prefix = prefix
        self._cache = cache

    def collect(self) -> list[Metric]:
        return [*self._tasks(), *self._windows(), *self._backups()]

    def _tasks(self) -> list[Metric]:
        prefix = f"{self._prefix}_maintenance"
        label = ("task", "namespace")
        last_run = GaugeMetricFamily(f"{prefix}_last_run", "When the last run ended, in Unix seconds.", labels=label)
        duration = GaugeMetricFamily(f"{prefix}_duration_seconds", "How long the last run took.", labels=label)
        status = GaugeMetricFamily(f"{prefix}_status", "1: the last run ended well, 0: it did not.", labels=label)
        findings = GaugeMetricFamily(f"{prefix}_findings", "Findings of the last run.", labels=(*label, "severity"))
        overdue = GaugeMetricFamily(
            f"{prefix}_overdue_findings", "Findings that are past their patch deadline.", labels=label
        )
        failures = GaugeMetricFamily(
            f"{prefix}_consecutive_failures", "Failed runs since the last good one.", labels=label
        )
        for resource in self._all(TASKS.plural):
            with contextlib.suppress(*_UNREADABLE):
                names = [resource["metadata"]["name"], resource["metadata"]["namespace"]]
                state = resource.get("status") or {}
                failures.add_metric(names, float(state.get("consecutiveFailures", 0)))
                overdue.add_metric(names, float(state.get("overdueFindings", 0)))
                run = _ended_run(state)
                if run is not None:
                    _add_run(run, names, last_run=last_run, duration=duration, status=status)
                last = state.get("lastRun") or {}
                if _has_ended(last):  # the history keeps no findings
                    findings.add_metric([*names, "critical"], float(last.get("criticalFindings", 0)))
                    findings.add_metric([*names, "warning"], float(last.get("warningFindings", 0)))
        return [last_run, duration, status, findings, overdue, failures]

    def _windows(self) -> list[Metric]:
        prefix = f"{self._prefix}_window"
        active = GaugeMetricFamily(f"{prefix}_open", "1 while the window is open.", labels=_OWNER)
        end = GaugeMetricFamily(f"{prefix}_end_time", "When the open window ends, in Unix seconds.", labels=_OWNER)
        next_start = GaugeMetricFamily(f"{prefix}_next_start", "When it opens next, in Unix seconds.", labels=_OWNER)
        targets = GaugeMetricFamily(f"{prefix}_targets_in_maintenance", "Targets on the page.", labels=_OWNER)
        good = GaugeMetricFamily(f"{prefix}_status", "1: the last opening went well, 0: it did not.", labels=_OWNER)
        for resource in self._all(WINDOWS.plural):
            with contextlib.suppress(*_UNREADABLE):
                names = [resource["metadata"]["namespace"], resource["metadata"]["name"]]
                state = resource.get("status") or {}
                occurrence = state.get("occurrence") or {}
                is_open = "openedAt" in occurrence and "closedAt" not in occurrence
                active.add_metric(names, float(is_open))
                if is_open:
                    end.add_metric(names, _seconds(occurrence["endTime"]))
                held = [target for target in occurrence.get("targets", ()) if target["state"] == "Maintenance"]
                targets.add_metric(names, len(held))
                if "nextScheduleTime" in state:
                    next_start.add_metric(names, _seconds(state["nextScheduleTime"]))
                run = _ended_run(state)
                if run is not None:
                    good.add_metric(names, float(run["outcome"] in _GOOD))
        return [active, end, next_start, targets, good]

    def _backups(self) -> list[Metric]:
        prefix = f"{self._prefix}_backup"
        last = GaugeMetricFamily(
            f"{prefix}_last_success", "When a backup last succeeded, in Unix seconds.", labels=_OWNER
        )
        checked = GaugeMetricFamily(f"{prefix}_last_integrity_check", "When it was last found intact.", labels=_OWNER)
        verified = [
            GaugeMetricFamily(f"{prefix}_{name}", text, labels=_OWNER)
            for name, text in (
                ("last_verified_timestamp_seconds", "When a restore test was last passed, in Unix seconds."),
                ("verified_snapshot_timestamp_seconds", "When the backup was made that was verified last."),
                ("restore_seconds", "How long the restore took in that test (recovery time)."),
                ("restore_age_seconds", "How old the backup was in that test (recovery point)."),
            )
        ]
        pruned = [
            GaugeMetricFamily(f"{prefix}_{name}", text, labels=_OWNER)
            for name, text in (
                ("last_prune_timestamp_seconds", "When old backups were last removed, in Unix seconds."),
                ("pruned_snapshots", "How many were removed then."),
                ("kept_snapshots", "How many were left then."),
                ("freed_bytes", "By how much the repository got smaller then."),
            )
        ]
        room = {
            field: GaugeMetricFamily(f"{prefix}_repository_{name}", text, labels=_OWNER)
            for field, name, text in (
                ("freeBytes", "free_bytes", "What was left on its volume then."),
                ("growthBytesPerDay", "growth_bytes_per_day", "By how much it grows a day."),
                ("fullTime", "full_timestamp_seconds", "When it will be full if it grows on like that."),
            )
        }
        size = GaugeMetricFamily(
            f"{prefix}_repository_bytes", "Size of the repository after the last backup or removal.", labels=_OWNER
        )
        status = GaugeMetricFamily(f"{prefix}_status", "1: the last run ended well, 0: it did not.", labels=_OWNER)
        duration = GaugeMetricFamily(f"{prefix}_duration_seconds", "How long the last run took.", labels=_OWNER)
        full = GaugeMetricFamily(
            f"{prefix}_last_full_restore_timestamp_seconds",
            "When a full restore was last passed, in Unix seconds.",
            labels=_OWNER,
        )
        cold = [
            GaugeMetricFamily(f"{prefix}_{name}", text, labels=_OWNER)
            for name, text in (
                ("cold_copy_timestamp_seconds", "When the cold copy was last made whole, in Unix seconds."),
                ("cold_copy_bytes", "Its size."),
                ("cold_copy_snapshots", "How many snapshots it holds."),
            )
        ]
        overdue = GaugeMetricFamily(
            f"{prefix}_overdue", "1: something that was due has not ended well in its time, 0: nothing.", labels=_OWNER
        )
        for resource in self._all(BACKUPS.plural):
            with contextlib.suppress(*_UNREADABLE):
                names = [resource["metadata"]["namespace"], resource["metadata"]["name"]]
                state = resource.get("status") or {}
                if "lastBackupTime" in state:
                    last.add_metric(names, _seconds(state["lastBackupTime"]))
                if "lastIntegrityCheckTime" in state:
                    checked.add_metric(names, _seconds(state["lastIntegrityCheckTime"]))
                _add(verified, _proof(state), names)
                _add(pruned, _removal(state), names)
                _add(cold, _copy(state), names)
                if "lastFullRestore" in state:
                    full.add_metric(names, _seconds(state["lastFullRestore"]["time"]))
                if (late := _condition(state, OVERDUE)) is not None:
                    overdue.add_metric(names, float(late == "True"))
                if "repositoryBytes" in state:
                    size.add_metric(names, float(state["repositoryBytes"]))
                for field, value in (state.get("capacity") or {}).items():
                    if field in room:
                        room[field].add_metric(names, _seconds(value) if field == "fullTime" else float(value))
                run = _ended_run(state)
                if run is not None:
                    _add_run(run, names, last_run=None, duration=duration, status=status)
        return [last, checked, *verified, *pruned, *cold, size, *room.values(), status, duration, full, overdue]

    def _all(self, plural: str) -> list[dict[str, Any]]:
        kinds = {resource.plural: resource for resource in (TASKS, WINDOWS, BACKUPS)}
        found = (self._cache.get(key) for key in self._cache.keys(kinds[plural]))
        return [resource for resource in found if resource]


def _condition(state: dict[str, Any], type_: str) -> str | None:
    """The status of a condition; None where there is no such."""
    return next((str(each["status"]) for each in state.get("conditions") or () if each["type"] == type_), None)


def _add(families: list[GaugeMetricFamily], values: list[float], names: list[str]) -> None:
    """One value for each of the families; nothing where there are no values."""
    for family, value in zip(families, values, strict=False):
        family.add_metric(names, value)


def _proof(state: dict[str, Any]) -> list[float]:
    """Of the last restore test that was passed: when, of which backup, how long it took, and how old that was."""
    proof = state.get("lastVerified")
    if not proof:
        return []
    times = [_seconds(proof["time"]), _seconds(proof["snapshotTime"])]
    return [*times, float(proof["restoreSeconds"]), float(proof["ageSeconds"])]


def _removal(state: dict[str, Any]) -> list[float]:
    """Of the last removal of old backups: when, how many it removed and left, and how much room it freed."""
    last = state.get("lastPrune")
    if not last:
        return []
    return [_seconds(last["time"]), *(float(last[name]) for name in ("removed", "kept", "freedBytes"))]


def _copy(state: dict[str, Any]) -> list[float]:
    """Of the cold copy: when it was last made whole, its size, and how many snapshots it holds."""
    last = state.get("coldCopy")
    if not last:
        return []
    return [_seconds(last["time"]), *(float(last[name]) for name in ("bytes", "snapshots"))]


def _ended_run(state: dict[str, Any]) -> dict[str, Any] | None:
    """The last run that has ended, also while the next one is under way: an alert must not end because that begins."""
    last = state.get("lastRun") or {}
    if _has_ended(last):
        ended: dict[str, Any] = last
        return ended
    return next((run for run in state.get("history") or () if _has_ended(run)), None)


def _has_ended(run: dict[str, Any]) -> bool:
    return "outcome" in run and "completionTime" in run


def _add_run(
    run: dict[str, Any],
    names: list[str],
    *,
    last_run: GaugeMetricFamily | None,
    duration: GaugeMetricFamily,
    status: GaugeMetricFamily,
) -> None:
    ended = _seconds(run["completionTime"])
    if last_run is not None:
        last_run.add_metric(names, ended)
    duration.add_metric(names, max(0.0, ended - _seconds(run.get("startTime", run["completionTime"]))))
    status.add_metric(names, float(run["outcome"] in _GOOD))


def _seconds(instant: str) -> float:
    return read_instant(instant).timestamp()
