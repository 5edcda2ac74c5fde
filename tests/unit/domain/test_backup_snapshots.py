"""A policy lists the backups that it made and still has, and what the next one must not be much smaller than."""

import json
from typing import Any, Final

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import BAD, at, minutes
from upkeep.domain.order import RunOrder

DAILY: Final = {"name": "hourly", "schedule": "0 * * * *"}


def report(action: str, outcome: str, *, facts: dict[str, str], metrics: dict[str, float]) -> str:
    step = {"name": "it", "action": action, "outcome": outcome, "message": "done", "facts": facts, "metrics": metrics}
    return json.dumps({"outcome": outcome, "message": "done", "steps": [step]})


def backed_up(snapshot: str, time: str, size: float = 1000) -> str:
    facts = {"snapshot": snapshot, "snapshot_time": time}
    return report("backupPostgres", "changed", facts=facts, metrics={"bytes": size})


def names(world: BackupWorld) -> list[str]:
    return [each["snapshot"] for each in world.status.get("snapshots", [])]


def test_each_good_backup_is_listed_newest_first() -> None:
    world = BackupWorld(now=at("00:50"))
    world.says["hourly"] = backed_up("aaaaaaaa", "2026-03-02T01:00:02.5+00:00")
    world.wait(minutes(60))
    world.says["hourly"] = backed_up("bbbbbbbb", "2026-03-02T02:00:02+00:00", 2000)
    world.wait(minutes(60))

    assert world.status["snapshots"] == [
        {"snapshot": "bbbbbbbb", "schedule": "hourly", "time": "2026-03-02T02:00:02Z", "bytes": 2000},
        {"snapshot": "aaaaaaaa", "schedule": "hourly", "time": "2026-03-02T01:00:02Z", "bytes": 1000},
    ]


def test_no_more_than_twenty_are_listed() -> None:
    world = BackupWorld(now=at("00:50"))
    for number in range(25):
        world.says["hourly"] = backed_up(
            f"{number:08d}", f"2026-03-{2 + (number + 1) // 24:02d}T{(number + 1) % 24:02d}:00:01Z"
        )
        world.wait(minutes(60))

    assert names(world) == [f"{number:08d}" for number in range(24, 4, -1)]


def test_one_that_fails_or_does_not_say_what_it_made_is_not() -> None:
    world = BackupWorld(now=at("00:50"), says={"hourly": BAD})
    world.wait(minutes(60))
    broken: list[dict[str, Any]] = [
        {"facts": {}, "metrics": {"bytes": 1.0}},
        {"facts": {"snapshot": "a", "snapshot_time": "yesterday"}, "metrics": {"bytes": 1.0}},
        {"facts": {"snapshot": "a", "snapshot_time": "2026-03-02T01:00:00Z"}, "metrics": {}},
    ]
    for parts in broken:
        world.says["hourly"] = report("backupPostgres", "changed", **parts)
        world.wait(minutes(60))

    assert names(world) == []


def test_what_was_proven_is_marked_and_what_was_removed_goes() -> None:
    spec = {"verify": {"restoreTest": {"schedule": "30 2 * * *"}}, "prune": {"schedule": "40 2 * * *"}}
    world = BackupWorld(now=at("00:50"), spec=spec)
    world.says["hourly"] = backed_up("aaaaaaaa", "2026-03-02T01:00:02Z")
    world.wait(minutes(60))
    world.says["hourly"] = backed_up("bbbbbbbb", "2026-03-02T02:00:02Z")
    facts = {"snapshot": "bbbbbbbb", "snapshot_time": "2026-03-02T02:00:02Z"}
    world.says["restore-test"] = report(
        "backupRestoreTest", "ok", facts=facts, metrics={"restore_seconds": 1, "age_seconds": 2}
    )
    removal = {"removed": 1.0, "kept": 1.0, "freed_bytes": 7.0}
    world.says["prune"] = report("backupPrune", "changed", facts={"kept_snapshots": "bbbbbbbb"}, metrics=removal)
    world.wait(minutes(60))

    assert [(each["snapshot"], each.get("verifiedTime")) for each in world.status["snapshots"]] == [
        ("bbbbbbbb", "2026-03-02T02:30:10Z")
    ]


def test_the_next_backup_is_told_of_the_last_good_one() -> None:
    world = BackupWorld(now=at("00:50"), spec={"sanity": {"minSize": "1Mi", "maxShrink": "30%"}})
    world.says["hourly"] = backed_up("aaaaaaaa", "2026-03-02T01:00:02Z", 123456)
    world.wait(minutes(60))
    world.says["hourly"] = BAD
    world.wait(minutes(120))

    told = []
    for _, start in world.started:
        assert isinstance(start.work.content, RunOrder)
        told.append(start.work.content.model_dump(by_alias=True)["steps"][0]["action"])
    assert [each["previous"] for each in told] == [None, *[{"snapshot": "aaaaaaaa", "bytes": 123456}] * 2]
    assert {each["sanity"]["maxShrink"] for each in told} == {"30%"}


def test_a_full_restore_proves_the_backup_too_and_one_that_fails_takes_that_away() -> None:
    # given a policy with a full restore alone
    facts = {"snapshot": "aaaaaaaa", "snapshot_time": "2026-03-02T01:00:02Z"}
    metrics = {"restore_seconds": 1.0, "age_seconds": 2.0}
    world = BackupWorld(now=at("00:50"), spec={"verify": {"fullRestore": {"schedule": "30 * * * *"}}})
    world.says["hourly"] = backed_up("aaaaaaaa", "2026-03-02T01:00:02Z")
    world.says["full-restore"] = report("backupRestoreTest", "ok", facts=facts, metrics=metrics)
    # when it is passed
    world.wait(minutes(60))
    # then the backup is verified
    assert world.status["lastFullRestore"] == world.status["lastVerified"]
    assert world.status["snapshots"][0]["verifiedTime"] == "2026-03-02T01:30:10Z"
    assert _verdict(world) == ("True", "FullRestorePassed")
    # and its Job can only read the repository, and compares everything
    (work,) = {
        start.occasion.schedule: start.work for _, start in world.started if start.occasion.schedule != "hourly"
    }.values()
    assert isinstance(work.content, RunOrder)
    assert work.only_reads
    assert work.scratch == "40Gi"
    assert set(work.secrets) == {"repository"}
    assert work.content.model_dump(by_alias=True)["steps"][0]["action"]["full"] is True
    # when one fails
    world.says["full-restore"] = BAD
    world.wait(minutes(60))
    # then what was proven stays, and the condition tells
    assert world.status["lastFullRestore"]["time"] == "2026-03-02T01:30:10Z"
    assert _verdict(world) == ("False", "FullRestoreFailed")


def _verdict(world: BackupWorld) -> tuple[str, str]:
    (found,) = (each for each in world.status["conditions"] if each["type"] == "Verified")
    return found["status"], found["reason"]
