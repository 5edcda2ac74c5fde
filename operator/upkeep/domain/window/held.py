"""What a gate answers while an opening has to wait; apart from the list of gates, so that each can import it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from upkeep.domain.decision import StartRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An opening has to wait.

    Attributes:
        reason: one CamelCase word.
        message: what it waits for, and what to do.
        wake_at: when to ask again; None: when something has changed.
        starts: runs that find out what it waits for.
    """

    reason: str
    message: str
    wake_at: datetime | None = None
    starts: Sequence[StartRun] = ()
