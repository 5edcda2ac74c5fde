"""Who holds an object without a right to it any more: the net below everything that can go wrong elsewhere."""

from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from upkeep.domain.maintenance.record import Holder, holders

GRACE: Final = timedelta(seconds=60)
"""How long after its end a window may still be at work on restoring by itself."""


def stale_holders(item: Mapping[str, Any], *, now: datetime, live: Container[str]) -> tuple[Holder, ...]:
    """Holders whose window is not among the UIDs of `live`, or whose end is more than `GRACE` ago.

    Raises:
        UndoRecordError: the undo record cannot be read.
    """
    return tuple(holder for holder in holders(item) if holder.uid not in live or holder.until + GRACE < now)
