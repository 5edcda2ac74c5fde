"""A healthy task beside whatever a test breaks: it must not notice."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from cluster.manifests import script, task
from cluster.space import Space
from cluster.waiting import until
from upkeep.cluster.resources import TASKS

NAME: Final = "canary"
PROMPT: Final = timedelta(seconds=5)
"""How late a run may start, on a machine that is busy with the tests."""


@dataclass(slots=True)
class Canary:
    """The task, in the namespace of a test."""

    space: Space
    image: str
    _tokens: "count[int]" = field(default_factory=count)

    def settle(self) -> None:
        """Make it, and see that all is well to begin with."""
        self.space.make(task(NAME, run_now="", job=script(self.image, "true"), successfulRunsHistoryLimit=1))
        self.sing()

    def sing(self) -> None:
        """Ask for a run, as somebody would by annotation: it is started at once, and goes well."""
        token = f"song-{next(self._tokens)}"
        self.space.run_now(NAME, token)
        until(
            lambda: self.space.status(TASKS, NAME).get("lastManualRun"),
            lambda known: known == token,
            what=f"run-now {token} is noticed",
            seconds=PROMPT.total_seconds(),
        )
        status = self.space.ended_run(NAME, token=token)
        assert status["lastRun"]["outcome"] == "ok", status["lastRun"]


def lateness(due: str, created: str) -> timedelta:
    """From when a run was due until its Job was there."""
    return datetime.fromisoformat(created) - datetime.fromisoformat(due)
