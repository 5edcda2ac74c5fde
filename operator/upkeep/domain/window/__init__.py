"""What a MaintenanceWindow needs now: when it opens, what runs in it, and how it is brought to its end."""

from upkeep.domain.window.lifecycle import decide
from upkeep.domain.window.snapshot import TargetRef, WindowSnapshot

__all__ = ["TargetRef", "WindowSnapshot", "decide"]
