"""MaintenanceWindow: when, for whom, and what happens then."""

from upkeep.api.window.change import (
    Approval,
    ApprovalStatus,
    Change,
    Checklist,
    ChecklistItem,
    ChecklistItemStatus,
    Moment,
    Risk,
)
from upkeep.api.window.maintenance import MaintenanceMode, Page, Target
from upkeep.api.window.plan import Overrun, Plan, PlanFailure, PlannedTask
from upkeep.api.window.sharing import EVERY_NAMESPACE, WindowKind
from upkeep.api.window.spec import Urgency, Verification, WindowSpec
from upkeep.api.window.status import (
    PlannedTaskStatus,
    TargetState,
    TargetStatus,
    TaskState,
    UpcomingOpening,
    UpcomingState,
    WindowOccurrence,
    WindowPhase,
    WindowStatus,
)

__all__ = [
    "EVERY_NAMESPACE",
    "Approval",
    "ApprovalStatus",
    "Change",
    "Checklist",
    "ChecklistItem",
    "ChecklistItemStatus",
    "MaintenanceMode",
    "Moment",
    "Overrun",
    "Page",
    "Plan",
    "PlanFailure",
    "PlannedTask",
    "PlannedTaskStatus",
    "Risk",
    "Target",
    "TargetState",
    "TargetStatus",
    "TaskState",
    "UpcomingOpening",
    "UpcomingState",
    "Urgency",
    "Verification",
    "WindowKind",
    "WindowOccurrence",
    "WindowPhase",
    "WindowSpec",
    "WindowStatus",
]
