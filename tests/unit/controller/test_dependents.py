"""Who looks at a window is asked to decide when that changes what he may do, in whichever namespace he is."""

from typing import Any, Final

import pytest

from unit.controller.test_observer import Object, Watcher, job_of, thing
from upkeep.cluster.cache import Cache
from upkeep.cluster.resources import BACKUPS, JOBS, TASKS, WINDOWS
from upkeep.controller.references import terms_of

NIGHT: Final = {"schedule": "0 2 * * *", "duration": "1h", "sharedWith": ["shop"]}
FREEZE: Final = {**NIGHT, "kind": "Freeze"}


def watcher(*found: tuple[Any, Object]) -> Watcher:
    made = Watcher(cache=Cache(terms=terms_of))
    for resource, body in found:
        made.observer.seen(resource, body)
    return made


def bound(name: str, *windows: str) -> Object:
    return thing(name, 1, spec={"windows": list(windows)})


def window(version: int, *, spec: Object = NIGHT, generation: int = 1, **status: Any) -> Object:  # noqa: ANN401
    return thing("night", version, generation=generation, namespace="platform", spec=spec, status=status)


async def settled(*found: tuple[Any, Object]) -> Watcher:
    made = watcher(*found)
    await made.asked()
    return made


async def test_what_names_a_window_of_another_namespace_is_asked_when_that_comes_changes_or_goes() -> None:
    seen = await settled((TASKS, bound("clean", "platform/night")), (BACKUPS, bound("keep", "platform/night")))
    asked = []
    for version, generation, deleted in ((2, 1, False), (3, 2, False), (4, 2, True)):
        seen.observer.seen(WINDOWS, window(version, generation=generation), deleted=deleted)
        asked.append(await seen.asked())

    assert asked == [["clean", "keep", "night"]] * 3


async def test_what_names_another_window_of_that_name_is_left_alone() -> None:
    seen = await settled((TASKS, bound("own", "night")), (TASKS, bound("other", "bank/night")))

    seen.observer.seen(WINDOWS, window(2))

    assert await seen.asked() == ["night"]


async def test_a_task_that_no_longer_names_it_is_left_alone() -> None:
    seen = await settled((TASKS, bound("clean", "platform/night")))
    edited = bound("clean", "platform/day")
    edited["metadata"]["resourceVersion"] = "2"
    seen.observer.seen(TASKS, edited)
    await seen.asked()

    seen.observer.seen(WINDOWS, window(3))

    assert await seen.asked() == ["night"]


async def test_what_waits_is_asked_when_the_window_opens_and_not_at_each_of_its_steps() -> None:
    seen = await settled((TASKS, bound("clean", "platform/night")), (WINDOWS, window(2)))
    opening = {"startTime": "2026-03-02T02:00:00Z", "endTime": "2026-03-02T03:00:00Z"}
    asked = []
    for version, more in enumerate(({}, {"openedAt": "2026-03-02T02:00:01Z"}), start=3):
        opening |= more
        seen.observer.wrote(WINDOWS, window(version, occurrence=dict(opening)))
        asked.append(await seen.asked())
    seen.observer.wrote(WINDOWS, window(5, occurrence=dict(opening), phase="Verifying", history=[{}]))
    asked.append(await seen.asked())

    assert asked == [["clean"], ["clean"], []]


async def test_a_freeze_asks_the_windows_of_the_namespaces_in_which_it_forbids() -> None:
    windows = [(WINDOWS, thing(f"of-{name}", 1, namespace=name)) for name in ("shop", "bank", "platform")]
    seen = await settled(*windows)
    asked = []
    for version, spec in enumerate((FREEZE, {**FREEZE, "sharedWith": ["*"]}, {**FREEZE, "sharedWith": []}), start=2):
        seen.observer.seen(WINDOWS, window(version, spec=spec, generation=version))
        asked.append(await seen.asked())
    seen.observer.seen(WINDOWS, window(9, spec={**FREEZE, "sharedWith": []}, generation=4), deleted=True)
    asked.append(await seen.asked())

    everywhere = ["night", "of-bank", "of-platform", "of-shop"]
    assert asked == [["night", "of-platform", "of-shop"], everywhere, everywhere, ["night", "of-platform"]]


async def test_a_task_that_comes_goes_or_is_labelled_asks_the_windows_that_choose_by_labels() -> None:
    chooses = {**NIGHT, "plan": {"tasks": [{"name": "all", "selector": {"matchLabels": {"tier": "db"}}}]}}
    seen = await settled(
        (WINDOWS, thing("chooses", 1, spec=chooses)),
        (WINDOWS, thing("names", 1, spec={**NIGHT, "plan": {"tasks": [{"name": "other"}]}})),
        (WINDOWS, thing("elsewhere", 1, namespace="bank", spec=chooses)),
    )
    asked = []
    for version, marks, deleted in ((2, {}, False), (3, {"tier": "db"}, False), (4, {"tier": "db"}, True)):
        task = thing("vacuum", version)
        task["metadata"]["labels"] = marks
        seen.observer.seen(TASKS, task, deleted=deleted)
        asked.append(await seen.asked())
    seen.observer.seen(TASKS, thing("vacuum", 5))
    await seen.asked()
    seen.observer.seen(TASKS, thing("vacuum", 6, status={"active": ["vacuum-1"]}))

    assert asked == [["chooses", "vacuum"]] * 3
    assert await seen.asked() == ["vacuum"], "its status concerns nobody else"


@pytest.mark.parametrize("ending", ["Complete", "Failed", "deleted"])
async def test_windows_that_plan_a_task_are_asked_when_a_run_of_it_ends_that_is_none_of_theirs(ending: str) -> None:
    # given a run of the task for a window that is gone
    night = {**NIGHT, "plan": {"tasks": [{"name": "clean"}]}}
    day = {**NIGHT, "plan": {"tasks": [{"name": "other"}]}}
    windows = [(WINDOWS, thing(name, 1, spec=spec)) for name, spec in (("night", night), ("day", day))]
    seen = await settled((TASKS, thing("clean", 1)), *windows)
    labels = {"upkeep.dev/window-uid": "gone"}
    seen.observer.seen(JOBS, job_of("clean", 2, **labels))
    begun = await seen.asked()
    # when it ends
    over = job_of("clean", 3, **labels)
    over["status"] = {"conditions": [{"type": ending, "status": "True"}]} if ending != "deleted" else {}
    seen.observer.seen(JOBS, over, deleted=ending == "deleted")

    assert begun == ["clean"]
    assert await seen.asked() == ["clean", "night"]


async def test_a_window_without_sense_asks_nobody_and_stops_nothing() -> None:
    seen = await settled((TASKS, thing("odd", 1, spec={"windows": [5, None, "platform/night"]})))

    for version, spec in enumerate(([], "x", {"kind": "Freeze", "sharedWith": 5}, {"kind": 7}), start=2):
        seen.observer.seen(WINDOWS, window(version, spec=spec, generation=version))  # type: ignore[arg-type] # on purpose

    assert await seen.asked() == ["night", "odd"]


async def test_a_window_is_asked_when_a_backup_that_it_requires_is_proven_or_refuted_and_not_at_each_backup() -> None:
    wanting = {**NIGHT, "requires": {"verifiedBackups": [{"name": "shop-db", "maxAge": "1d"}]}}
    seen = await settled(
        (WINDOWS, thing("night", 1, spec=wanting)),
        (WINDOWS, thing("other", 1, spec=NIGHT)),
        (WINDOWS, thing("elsewhere", 1, namespace="bank", spec=wanting)),
        (BACKUPS, thing("shop-db", 2, status={})),
    )
    proven = {"lastVerified": {"time": "2026-03-02T02:00:00Z", "snapshotTime": "2026-03-02T01:00:00Z"}}
    asked = []
    for version, status in enumerate(
        (
            {"lastBackup": "snapshot 1a2b3c4d"},
            proven,
            {**proven, "phase": "Running"},
            {**proven, "conditions": [{"type": "Ready"}, {"type": "Verified", "status": "False"}]},
        ),
        start=3,
    ):
        seen.observer.wrote(BACKUPS, thing("shop-db", version, status=status))
        asked.append(await seen.asked())
    seen.observer.seen(BACKUPS, thing("shop-db", 9, generation=2, status=proven), deleted=True)
    asked.append(await seen.asked())

    assert asked == [[], ["night"], [], ["night"], ["night", "shop-db"]]


@pytest.mark.parametrize("action", ["backupRestore", "backupRestoreFiles"])
async def test_a_task_that_restores_is_asked_when_its_policy_comes_is_proven_or_goes(action: str) -> None:
    steps = [{"name": "restore", action: {"connection": "db", "policy": "shop-db"}}]
    seen = await settled((TASKS, thing("recover", 1, spec={"steps": steps})), (TASKS, thing("other", 1, spec={})))
    proof = {"lastVerified": {"time": "2026-03-01T05:00:00Z", "snapshot": "5d3fdd52"}}
    asked = []
    for version, status, deleted in ((2, {}, False), (3, proof, False), (4, proof, False), (5, proof, True)):
        seen.observer.seen(BACKUPS, thing("shop-db", version, spec={}, status=status), deleted=deleted)
        asked.append(await seen.asked())

    assert asked == [["recover", "shop-db"], ["recover", "shop-db"], ["shop-db"], ["recover", "shop-db"]]
