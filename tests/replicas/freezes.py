"""Stories about freezes: what is due meanwhile is left out, what comes after takes place, whatever happens."""

from typing import Final

from replicas.runs import NAME
from replicas.stage import Stage, in_seconds, resource
from replicas.story import Story
from replicas.windows import WINDOW, furnish, window_spec

FREEZE: Final = "no-changes"
AFTER: Final = "morning"
LASTS: Final = 20
"""Seconds: long enough for an operator that is killed in it to be back before its end."""


def set_up(stage: Stage) -> None:
    """A freeze that begins now, and two windows with a plan: one that is due in it, and one afterwards."""
    furnish(stage)
    freeze = {"kind": "Freeze", "startAt": in_seconds(0), "duration": f"{LASTS}s", "reason": "the sale"}
    stage.cluster.create(resource("MaintenanceWindow", FREEZE, freeze))
    for name, start in ((WINDOW, 2), (AFTER, LASTS + 2)):
        spec = window_spec(startAt=in_seconds(start), maintenanceMode=None, verify=None)
        stage.cluster.create(resource("MaintenanceWindow", name, spec))


def all_is_over(stage: Stage) -> bool:
    """Whether all has ended, and nothing is open."""
    phases = {name: stage.status("MaintenanceWindow", name).get("phase") for name in (FREEZE, WINDOW, AFTER)}
    return phases == {FREEZE: "Completed", WINDOW: "Skipped", AFTER: "Completed"}


def nothing_began_meanwhile(stage: Stage) -> None:
    """Assert that each is accounted for once, and that nothing was started before the end of the freeze."""
    freeze, frozen, after = (stage.status("MaintenanceWindow", name) for name in (FREEZE, WINDOW, AFTER))
    assert [record["ending"] for record in freeze["history"]] == ["Ran"]
    assert [(record["ending"], record["reason"]) for record in frozen["history"]] == [("Skipped", "Frozen")]
    assert [record["ending"] for record in after["history"]] == ["Ran"]
    assert after["occurrence"]["openedAt"] >= freeze["occurrence"]["endTime"]
    (task,) = after["occurrence"]["tasks"]
    assert (task["name"], task["state"]) == (NAME, "Succeeded")


LEFT_OUT: Final = Story(
    name="a freeze, a window that is due in it, and one afterwards",
    begin=set_up,
    over=all_is_over,
    jobs=1,
    check=nothing_began_meanwhile,
    within=120.0,
    at_once=24,
)
