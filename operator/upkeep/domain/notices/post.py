"""What a decision knows about the delivery of messages, and how it asks for it.

A message goes through three hands: a decision claims it in the status, the operator sends it after that was written,
and a later decision records what came of it. Nothing here knows what a channel is made of: only names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from upkeep.api.window.notices import Notice, NoticeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeKey:
    """What tells one message of a window from all others: no two are sent for the same key."""

    occurrence: str
    kind: NoticeKind
    lead: timedelta | None
    round: int
    channel: str

    @classmethod
    def of(cls, notice: Notice) -> "NoticeKey":
        """The key of a message."""
        return cls(
            occurrence=notice.occurrence,
            kind=notice.kind,
            lead=notice.lead,
            round=notice.round,
            channel=notice.channel,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to send a message: its key, and the claim under which it was made."""

    key: NoticeKey
    claim: str


class Receipt(StrEnum):
    """What a channel answered."""

    SENT = "sent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an attempt. The message never contains anything of the channel's address."""

    receipt: Receipt
    message: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What people read: plain text."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """The delivery of messages as one decision about a window sees it.

    Attributes:
        sender: this process; its claims begin with it.
        claim: under which this decision may claim messages.
        channels: names of the channels that the namespace of the window may use.
        turns: channels on which it is this window's turn to send one message.
        in_flight: attempts of this process that are under way.
        deliveries: what came of attempts of this process, as long as it is not recorded.
        begun: messages that this process has begun to send, as far back as it remembers.
    """

    sender: str = ""
    claim: str = ""
    channels: frozenset[str] = frozenset()
    turns: frozenset[str] = frozenset()
    in_flight: frozenset[Attempt] = frozenset()
    deliveries: Mapping[Attempt, Delivery] = field(default_factory=dict)
    begun: frozenset[NoticeKey] = frozenset()

    def claimed(self, claim: str | None) -> bool:
        """Whether a claim was made by this process."""
        return bool(claim) and bool(self.sender) and str(claim).startswith(f"{self.sender}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitTurn:
    """Ask for a turn to send a message on a channel."""

    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNotice:
    """Send a message that was claimed in the status."""

    attempt: Attempt
    message: Message
