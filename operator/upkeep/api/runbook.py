"""What people have to know of a task, at three in the morning."""

from typing import Annotated

from pydantic import Field

from upkeep.actions.fields import Duration, Model

Text = Annotated[str, Field(max_length=1000)]
Line = Annotated[str, Field(min_length=1, max_length=1000)]


class Runbook(Model):
    """What it is for, and what to do by hand: `kubectl upkeep runbook NAME` prints it."""

    purpose: Text = ""
    """Why the task is there, and what happens when it does not run."""
    prerequisites: Annotated[list[Line], Field(max_length=20)] = Field(default_factory=list)
    """What must be so before it runs."""
    procedure: Annotated[list[Line], Field(max_length=30)] = Field(default_factory=list)
    """What to do by hand when it has failed, step by step. Without a url, messages about a failure tell the first."""
    expected_outcome: Text = ""
    """How to see that all is well afterwards."""
    rollback: Annotated[list[Line], Field(max_length=30)] = Field(default_factory=list)
    """How to go back by hand, step by step; for what the task itself undoes see spec.rollback."""
    estimate: Duration | None = None
    """How long it takes. In a window it counts where the plan has no estimate of its own."""
    url: Annotated[str, Field(max_length=200, pattern=r"^(https?://[!-~]+)?$")] = ""
    """Where more of it stands. Messages about a failure tell it."""
