"""What is removed: never the newest backup, never the one that was verified last, never what restic would keep."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from unit.domain.backupworld import BackupWorld
from unit.domain.cluster import BAD, GOOD, at, minutes
from unit.domain.test_backup import BACKED_UP, RESTORED, TEST
from upkeep.actions.backup.chain import built_on, chain
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.retention import Choice, Retention, choose, unbroken
from upkeep.actions.backup.snapshot import Stored
from upkeep.api.backup import BackupSpec
from upkeep.domain.order import RunOrder

DAILY: Final[dict[str, Any]] = {"name": "daily", "schedule": "30 2 * * *", "retention": {"keepDaily": 30}}
KEPT: Final[dict[str, Any]] = {"schedules": [DAILY], "prune": {"schedule": "0 4 * * *"}}
PRUNED: Final = (
    '{"outcome":"changed","message":"1 step","steps":[{"name":"prune","action":"backupPrune","outcome":"changed",'
    '"message":"removed 3 of 10","metrics":{"removed":3,"kept":7,"freed_bytes":4096,"repository_bytes":123456}}]}'
)
NEWER: Final = RESTORED.replace("1a2b3c4d", "5e6f7a8b")

identifiers = st.text("0123456789abcdef", min_size=64, max_size=64)
snapshots = st.builds(
    Stored,
    identifier=identifiers,
    time=st.integers(0, 5).map(lambda days: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=days)),
    original=identifiers | st.just(""),
)


@given(
    stored=st.lists(snapshots, max_size=12, unique_by=lambda each: each.identifier),
    foreign=st.sets(identifiers, max_size=3),
    data=st.data(),
)
def test_whatever_restic_proposes_the_newest_and_the_verified_one_stay(
    stored: list[Stored], foreign: set[str], data: st.DataObject
) -> None:
    ours = [each.identifier for each in stored]
    proposed = data.draw(st.sets(st.sampled_from(ours)) if ours else st.just(set[str]()))
    known = [each.original or each.identifier for each in stored]
    verified = data.draw(st.sampled_from([*(name[:8] for name in known), "00000000", None]))

    choice = choose(stored, proposed | foreign.difference(ours), verified=verified)

    removed = {each.identifier for each in choice.removed}
    assert removed <= proposed, "nothing that restic keeps"
    assert sorted([*removed, *(each.identifier for each in choice.kept)]) == sorted(ours), "each goes or stays"
    assert {each.identifier for each in choice.pinned} == proposed - removed
    if stored:
        assert max(stored, key=lambda each: each.time).identifier not in removed
    assert not [each for each in choice.removed if verified and each.goes_by(verified)]


@given(proposed=st.booleans())
def test_what_is_proposed_goes_where_nothing_holds_it(*, proposed: bool) -> None:
    day = datetime(2020, 1, 1, tzinfo=UTC)
    old, new = (Stored(identifier=each * 64, time=day + timedelta(days=int(each))) for each in "12")

    choice = choose([new, old], {old.identifier} if proposed else set(), verified=None)

    assert choice.removed == ([old] if proposed else [])
    assert choice.kept == ([new] if proposed else [old, new])


@pytest.mark.parametrize(
    ("declared", "options"),
    [
        ({"keepLast": 3, "keepYearly": 10}, ["--keep-last=3", "--keep-yearly=10"]),
        (
            {"keepHourly": 1, "keepDaily": 2, "keepWeekly": 3, "keepMonthly": 4},
            ["--keep-hourly=1", "--keep-daily=2", "--keep-weekly=3", "--keep-monthly=4"],
        ),
        ({"keepWithin": "30d"}, ["--keep-within=30d0h"]),
        ({"keepWithin": "2w12h"}, ["--keep-within=14d12h"]),
        ({"keepWithin": "5m"}, ["--keep-within=0d1h"]),  # restic's m is a month
    ],
)
def test_restic_is_told_what_users_wrote(declared: Mapping[str, Any], options: list[str]) -> None:
    assert Retention.model_validate(declared).options() == options


@pytest.mark.parametrize("declared", [{}, {"keepLast": 0}, {"keepWithin": "0d"}, {"keepDaily": -1}, {"keepTag": "x"}])
def test_a_retention_that_keeps_nothing_is_refused(declared: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate(declared)


def test_a_retention_that_nobody_enforces_is_refused() -> None:
    spec = BackupWorld(now=at("00:10"), spec=KEPT).policy["spec"]
    assert BackupSpec.model_validate(spec).prune

    with pytest.raises(ValidationError, match=r"prune\.schedule"):
        BackupSpec.model_validate({**spec, "prune": None})


class TestRemoval:
    def test_it_runs_in_its_time_with_nothing_but_the_repository(self) -> None:
        world = BackupWorld(now=at("03:50"), spec=KEPT)

        world.wait(minutes(20))

        assert world.order == [("prune", "04:00:00")]
        ((_, start),) = world.started
        assert (start.work.secrets, start.work.only_reads) == ({"repository": "repository"}, False)
        action = removal(world)
        assert action.policy == "shop/shop"
        assert [(each.schedule, each.retention.keep_daily) for each in action.retentions] == [("daily", 30)]
        assert (action.verified, action.tested, action.dry_run) == (None, False, False)

    def test_without_it_nothing_is_ever_removed(self) -> None:
        world = BackupWorld(now=at("00:10"))

        world.wait(minutes(60 * 24))

        assert {schedule for schedule, _ in world.order} == {"hourly"}

    def test_schedules_without_retention_are_none_of_its_business(self) -> None:
        world = BackupWorld(
            now=at("03:50"), spec={**KEPT, "schedules": [DAILY, {"name": "m", "schedule": "0 1 1 * *"}]}
        )

        world.wait(minutes(20))

        assert [each.schedule for each in removal(world).retentions] == ["daily"]

    def test_it_says_what_it_did_and_that_was_no_backup(self) -> None:
        world = BackupWorld(now=at("03:50"), spec=KEPT, says={"prune": PRUNED})

        world.wait(minutes(20))

        assert world.status["lastPrune"] == {
            "time": "2026-03-02T04:00:10Z",
            "removed": 3,
            "kept": 7,
            "freedBytes": 4096,
        }
        assert world.status["repositoryBytes"] == 123456
        assert "lastBackupTime" not in world.status

    @pytest.mark.parametrize(
        "message", [BAD, GOOD, '{"outcome":"skipped"}', PRUNED.replace("4096", "Infinity"), PRUNED.replace("3", "-3")]
    )
    def test_what_did_nothing_or_does_not_say_what_leaves_the_last_one(self, message: str) -> None:
        world = BackupWorld(now=at("03:50"), spec=KEPT, says={"prune": message})

        world.wait(minutes(20))

        assert "lastPrune" not in world.status

    def test_a_backup_says_how_large_the_repository_is(self) -> None:
        said = BACKED_UP.replace('"message":"snapshot', '"metrics":{"repository_bytes":777},"message":"snapshot')
        world = BackupWorld(now=at("00:50"), says={"hourly": said})

        world.wait(minutes(20))

        assert world.status["repositoryBytes"] == 777

    def test_a_schedule_cannot_have_its_name(self) -> None:
        world = BackupWorld(now=at("00:10"), spec={"schedules": [{"name": "prune", "schedule": "0 1 * * *"}]})

        world.wait(minutes(1))

        assert world.status["phase"] == "Invalid"
        assert "the name 'prune' is taken by spec.prune" in world.status["conditions"][0]["message"]


class TestVerified:
    def test_it_is_told_which_one_was_verified_last(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={**KEPT, **TEST}, says={"restore-test": RESTORED})

        world.wait(minutes(90))

        assert world.order == [("restore-test", "03:00:00"), ("prune", "04:00:00")]
        assert (removal(world).verified, removal(world).tested) == ("1a2b3c4d", True)

    def test_one_that_was_verified_is_kept_also_after_tests_failed_or_are_not_made_any_more(self) -> None:
        world = BackupWorld(now=at("02:50"), spec={**KEPT, **TEST}, says={"restore-test": RESTORED})
        world.wait(minutes(20))
        world.says["restore-test"] = BAD
        world.ask("restore-test/1")
        world.wait(minutes(5))
        world.edit(verify=None)

        world.wait(minutes(60))

        assert (removal(world).verified, removal(world).tested) == ("1a2b3c4d", False)

    def test_it_waits_for_what_a_test_says_that_has_ended(self) -> None:
        # given a second test that has passed, of which the last words are not known yet when the removal is due
        world = BackupWorld(now=at("02:50"), spec={**KEPT, **TEST}, says={"restore-test": RESTORED})
        world.wait(minutes(20))
        world.takes["restore-test"] = None
        world.now = at("03:59")
        world.ask("restore-test/1")
        world.act()
        (name,) = world.jobs.active
        world.now = at("04:00") + timedelta(seconds=1)
        world.jobs.end(name, world.now, message=NEWER, seen=False)
        # when they are decided on
        world.act()
        assert [schedule for schedule, _ in world.order] == ["restore-test", "restore-test"]
        world.jobs.end(name, world.now, message=NEWER)
        world.act()
        # then the removal keeps that one
        assert removal(world).verified == "5e6f7a8b"

    @pytest.mark.parametrize("snapshot", ["", "latest", "x" * 300, "\x00"])
    def test_a_status_that_somebody_else_wrote_breaks_nothing(self, snapshot: str) -> None:
        world = BackupWorld(now=at("02:50"), spec={**KEPT, **TEST}, says={"restore-test": RESTORED})
        world.wait(minutes(20))
        world.status["lastVerified"]["snapshot"] = snapshot

        world.wait(minutes(60))

        assert removal(world).verified == snapshot


def removal(world: BackupWorld) -> BackupPrune:
    """What the removal that was started last is told."""
    content = next(start.work.content for _, start in reversed(world.started) if start.occasion.schedule == "prune")
    assert isinstance(content, RunOrder)
    action = RunOrder.decode(content.encode()).steps[0].action
    assert isinstance(action, BackupPrune)
    return action


@given(data=st.data(), links=st.lists(st.integers(0, 9), min_size=1, max_size=10))
def test_what_a_kept_snapshot_builds_on_stays_whatever_any_retention_says(
    data: st.DataObject, links: list[int]
) -> None:
    # given snapshots of two schedules, each of which builds on an earlier one or on none
    day = datetime(2020, 1, 1, tzinfo=UTC)
    stored: list[Stored] = []
    for number, link in enumerate(links):
        tags = frozenset({built_on(stored[link])}) if link < number else frozenset[str]()
        stored.append(Stored(identifier=f"{number:064x}", time=day + timedelta(days=number), tags=tags))
    schedules = {"full": stored[::2], "changes": stored[1::2]}
    proposed = {each.identifier for each in stored if data.draw(st.booleans())}
    alone = {name: choose(of, proposed, verified=None) for name, of in schedules.items()}

    choices = unbroken(stored, alone)

    left = [each for choice in choices.values() for each in choice.kept]
    assert sorted(each.identifier for each in (*left, *_removed(choices))) == [each.identifier for each in stored]
    assert [chain(left, each)[-1] for each in left] == left, "all that stays can be restored"
    needless = set(_removed(alone)) - set(_removed(choices))
    assert needless <= {link for each in left for link in chain(left, each)[:-1]}, "and nothing stays without need"
    assert all(each in choice.pinned for choice in choices.values() for each in needless if each in choice.kept)


def test_snapshots_that_build_on_each_other_in_a_circle_are_no_backup() -> None:
    one, two = "1" * 64, "2" * 64
    stored = [
        Stored(identifier=one, time=datetime(2020, 1, 1, tzinfo=UTC), tags=frozenset({f"base={two}"})),
        Stored(identifier=two, time=datetime(2020, 1, 2, tzinfo=UTC), tags=frozenset({f"base={one}"})),
    ]
    with pytest.raises(DamagedError, match="which is not in the repository any more: make a full backup"):
        chain(stored, stored[0])


def _removed(choices: Mapping[str, Choice]) -> list[Stored]:
    return [each for choice in choices.values() for each in choice.removed]
