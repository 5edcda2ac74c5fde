"""Announcements and notifications of a window: who is told what, and what became of each message."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from upkeep.actions.fields import Duration, LabelName, Model, Rule
from upkeep.api.scheduling import Timestamp

MAX_CHANNELS: Final = 8
MAX_LEADS: Final = 10
MAX_NOTICES: Final = 40
_SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}

_TELLING: Final[Rule] = {
    "rule": "self.all(lead, lead.matches('[1-9]'))",
    "message": "an announcement must come before the opening, for example 24h",
}
ANNOUNCED_TO_SOMEBODY: Final[Rule] = {
    "rule": "!has(self.announcements) || self.announcements.size() == 0 || has(self.notify)",
    "message": "announcements need notify.channels: the names of the channels on which they are made",
}

Announcements = Annotated[
    list[Duration], Field(max_length=MAX_LEADS, json_schema_extra={**_SET, "x-kubernetes-validations": [_TELLING]})
]
"""How long before an opening people are told of it; 24h and 1d are the same."""


class Notify(Model):
    """Where the messages of a window go."""

    channels: Annotated[list[LabelName], Field(min_length=1, max_length=MAX_CHANNELS, json_schema_extra=_SET)]
    """Names of channels that the platform has configured for Upkeep, for example ops-slack."""


class NoticeKind(StrEnum):
    """What a message is about."""

    ANNOUNCEMENT = "Announcement"
    WITHDRAWN = "Withdrawn"
    CHANGED = "Changed"
    OPENED = "Opened"
    COMPLETED = "Completed"
    FAILED = "Failed"
    NOT_OPENED = "NotOpened"
    UNHEALTHY = "Unhealthy"
    RECOVERED = "Recovered"
    ALERTS = "Alerts"
    RESOLVED = "Resolved"


class NoticeState(StrEnum):
    """Where a message stands."""

    PENDING = "Pending"
    SENDING = "Sending"
    SENT = "Sent"
    FAILED = "Failed"
    UNKNOWN = "Unknown"
    SKIPPED = "Skipped"

    @property
    def final(self) -> bool:
        """Whether nothing more will be done about it."""
        return self not in {NoticeState.PENDING, NoticeState.SENDING}


class Notice(Model):
    """A message on one channel: it is sent at most once."""

    occurrence: Timestamp
    """The start of the opening that it is about."""
    kind: NoticeKind
    """Announcement, Withdrawn (it was announced and will not take place then), Changed (its end), Opened, Completed,
    Failed, NotOpened, Unhealthy (a check after the window failed), Recovered, Alerts (some came to fire) or
    Resolved."""
    lead: Duration | None = None
    """Of an Announcement: how long before the start it was due."""
    round: int = 0
    """How often this opening had been withdrawn before; what takes place after all is announced anew. Of
    Unhealthy and Recovered: the number of the check; of Alerts and Resolved: of the alert; of Changed: of the
    change."""
    channel: str = ""
    """Name of the channel; empty where the message was skipped on all of them."""
    state: NoticeState
    """Pending, Sending, Sent, Failed (nobody took it until it was too late), Unknown (nobody knows whether it arrived;
    it is not sent again) or Skipped."""
    time: Timestamp
    """When it came into this state."""
    attempts: int = 0
    """How often the channel refused it."""
    end: Timestamp | None = None
    """When the opening ends at the latest, as it says."""
    text: Annotated[str, Field(max_length=300)] = ""
    """Of a result, or of a correction: the sentence that it tells; of Changed: the end that people knew."""
    message: Annotated[str, Field(max_length=300)] = ""
    """What went wrong, or why it was skipped."""
    claim: str | None = None
    """While it is Sending: which attempt of which replica does it."""


class Announced(Model):
    """Up to when announcements are accounted for."""

    until: Timestamp
    """Every announcement that was due up to here is accounted for."""
    plan: str
    """Fingerprint of the schedule, announcements and channels that they follow from."""


Notices = Annotated[Sequence[Notice], Field(max_length=MAX_NOTICES)]


def leads_of(announcements: Sequence[timedelta]) -> list[timedelta]:
    """The different times before an opening at which it is announced, longest first."""
    return sorted(set(announcements), reverse=True)


def check_announcements(announcements: Sequence[timedelta], notify: Notify | None) -> None:
    """Refuse what the rules of the CRD refuse.

    Raises:
        ValueError: an announcement is due at the opening itself, or nobody would be told.
    """
    if not all(announcements):
        raise ValueError(_TELLING["message"])
    if announcements and notify is None:
        raise ValueError(ANNOUNCED_TO_SOMEBODY["message"])
