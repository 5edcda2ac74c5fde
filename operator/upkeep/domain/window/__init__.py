"""What a MaintenanceWindow needs now: when it opens, what runs in it, and how it is brought to its end."""

from upkeep.domain.decision import Decision
from upkeep.domain.window import lifecycle
from upkeep.domain.window.noticing import with_notices
from upkeep.domain.window.snapshot import TargetRef, WindowSnapshot

__all__ = ["TargetRef", "WindowSnapshot", "decide"]


def decide(snapshot: WindowSnapshot) -> Decision:
    """What should happen now."""
    return with_notices(snapshot, lifecycle.decide(snapshot))
