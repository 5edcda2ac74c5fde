"""What a gate answers while an opening has to wait; apart from the list of gates, so that each can import it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An opening has to wait.

    Attributes:
        reason: one CamelCase word.
        message: what it waits for, and what to do.
        wake_at: when to ask again; None: when something has changed.
    """

    reason: str
    message: str
    wake_at: datetime | None = None
