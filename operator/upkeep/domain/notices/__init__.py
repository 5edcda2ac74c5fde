"""Who is told what about a window, exactly once: announcements, corrections, results, and their delivery."""

from upkeep.domain.notices.post import (
    Attempt,
    AwaitTurn,
    Delivery,
    Message,
    NoticeKey,
    Post,
    Receipt,
    SendNotice,
)

__all__ = ["Attempt", "AwaitTurn", "Delivery", "Message", "NoticeKey", "Post", "Receipt", "SendNotice"]
