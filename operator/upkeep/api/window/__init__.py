"""MaintenanceWindow: when, for whom, and what happens then."""

from upkeep.api.window.bypass import Bypass, PassCookie, PassHeader
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
from upkeep.api.window.health import Verification, VerifyFailure, Watch
from upkeep.api.window.maintenance import MaintenanceMode, ServiceBackend, Strategy, Target
from upkeep.api.window.page import Branding, Page, Translation
from upkeep.api.window.plan import Overrun, Plan, PlanFailure, PlannedTask
from upkeep.api.window.publication import StatusPage
from upkeep.api.window.sharing import EVERY_NAMESPACE, WindowKind
from upkeep.api.window.spec import Urgency, WindowSpec
from upkeep.api.window.status import (
    CancelledOpening,
    HandledRequests,
    Intervention,
    PlannedTaskStatus,
    Request,
    RollbackStatus,
    TargetState,
    TargetStatus,
    TaskState,
    UpcomingOpening,
    UpcomingState,
    WatchedAlert,
    WatchStatus,
    WindowOccurrence,
    WindowPhase,
    WindowStatus,
)

__all__ = [
    "EVERY_NAMESPACE",
    "Approval",
    "ApprovalStatus",
    "Branding",
    "Bypass",
    "CancelledOpening",
    "Change",
    "Checklist",
    "ChecklistItem",
    "ChecklistItemStatus",
    "HandledRequests",
    "Intervention",
    "MaintenanceMode",
    "Moment",
    "Overrun",
    "Page",
    "PassCookie",
    "PassHeader",
    "Plan",
    "PlanFailure",
    "PlannedTask",
    "PlannedTaskStatus",
    "Request",
    "Risk",
    "RollbackStatus",
    "ServiceBackend",
    "StatusPage",
    "Strategy",
    "Target",
    "TargetState",
    "TargetStatus",
    "TaskState",
    "Translation",
    "UpcomingOpening",
    "UpcomingState",
    "Urgency",
    "Verification",
    "VerifyFailure",
    "Watch",
    "WatchStatus",
    "WatchedAlert",
    "WindowKind",
    "WindowOccurrence",
    "WindowPhase",
    "WindowSpec",
    "WindowStatus",
]
