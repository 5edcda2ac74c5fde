"""MaintenanceWindow: when, for whom, and what happens then."""

from upkeep.api.window.maintenance import MaintenanceMode, Page, Target
from upkeep.api.window.plan import Overrun, Plan, PlanFailure, PlannedTask
from upkeep.api.window.spec import Urgency, Verification, WindowSpec
from upkeep.api.window.status import (
    PlannedTaskStatus,
    TargetState,
    TargetStatus,
    TaskState,
    WindowOccurrence,
    WindowPhase,
    WindowStatus,
)

__all__ = [
    "MaintenanceMode",
    "Overrun",
    "Page",
    "Plan",
    "PlanFailure",
    "PlannedTask",
    "PlannedTaskStatus",
    "Target",
    "TargetState",
    "TargetStatus",
    "TaskState",
    "Urgency",
    "Verification",
    "WindowOccurrence",
    "WindowPhase",
    "WindowSpec",
    "WindowStatus",
]
