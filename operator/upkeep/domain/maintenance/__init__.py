"""Maintenance mode on an Ingress or a route: what to write to send its users to a page, and to bring it back exactly.

Everything here is a pure function from an object, as read from the API server, to a JSON Patch. The object carries
its own undo record, so that whoever comes later (another replica, a sweep, a person with `kubectl upkeep restore`)
can bring it back without any other memory. What this package must never do: take a page for an original backend,
overwrite what somebody else changed meanwhile, or leave a record behind without its change, or a change without its
record. Each of its patches is therefore one write that the API server refuses as a whole when the object has moved on.
"""

from upkeep.api.window.maintenance import MODE_LABEL
from upkeep.domain.maintenance.backend import DEFAULT_KIND
from upkeep.domain.maintenance.bypass import bypass
from upkeep.domain.maintenance.companion import (
    BYPASS,
    OVERLAY,
    PURPOSES,
    Companion,
    companion_target,
    companion_window,
    is_companion,
    outlived,
)
from upkeep.domain.maintenance.comparison import semantically_equal
from upkeep.domain.maintenance.overlay import TRAEFIK, TRAEFIK_CLASS, overlays
from upkeep.domain.maintenance.ownership import forget_ownership
from upkeep.domain.maintenance.patch import Patch
from upkeep.domain.maintenance.record import (
    UNDO_ANNOTATION,
    UNTIL_ANNOTATION,
    WINDOW_ANNOTATION,
    Holder,
    UndoRecordError,
    holders,
)
from upkeep.domain.maintenance.refusal import Refusal, refusal
from upkeep.domain.maintenance.staleness import GRACE, stale_holders
from upkeep.domain.maintenance.swapping import Release, release, swap

__all__ = [
    "BYPASS",
    "DEFAULT_KIND",
    "GRACE",
    "MODE_LABEL",
    "OVERLAY",
    "PURPOSES",
    "TRAEFIK",
    "TRAEFIK_CLASS",
    "UNDO_ANNOTATION",
    "UNTIL_ANNOTATION",
    "WINDOW_ANNOTATION",
    "Companion",
    "Holder",
    "Patch",
    "Refusal",
    "Release",
    "UndoRecordError",
    "bypass",
    "companion_target",
    "companion_window",
    "forget_ownership",
    "holders",
    "is_companion",
    "outlived",
    "overlays",
    "refusal",
    "release",
    "semantically_equal",
    "stale_holders",
    "swap",
]
