"""A second copy of a policy's repository, in storage that has to be thawed before it can be read."""

from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.backup.cold import ColdClass
from upkeep.actions.backup.rate import Rate
from upkeep.actions.backup.s3 import S3Place
from upkeep.actions.fields import Duration, Model
from upkeep.api.scheduling import CronExpression, Timestamp

COLD_COPY: Final = "cold-copy"
"""Name under which it stands beside the schedules."""


class ColdCopy(Model):
    """A copy of the repository, file for file, where it is cheap to keep and has to be thawed before it can be read.

    Only what is new is copied. The copy is never verified: what is checked is that every file is there.
    """

    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    s3: S3Place
    """Where to: another bucket."""
    storage_class: ColdClass
    """Storage class of the data, GLACIER (Flexible Retrieval) or DEEP_ARCHIVE. Index, keys and list of snapshots go
    into the bucket's default class."""
    keep_for: Duration | None = None
    """How long that stays in the copy which the repository has no longer. Left out: for ever."""
    limit_upload: Rate | None = None
    """The most that is sent, in bytes a second. Left out: no limit."""


class LastColdCopy(Model):
    """The copy in cold storage, as the last good run left it."""

    time: Timestamp
    """When that run ended."""
    snapshot: str | None = None
    """The newest snapshot of this policy that it holds, by restic's short id."""
    snapshots: Annotated[int, Field(ge=0)]
    """How many snapshots it holds, of all policies that share the repository."""
    bytes: Annotated[int, Field(ge=0)]
    """Its size."""
    storage_class: str
    """Where its data is."""
    verifiable: bool
    """Always false: nothing can be read back before it is thawed."""
    thaw_time: str
    """How long it takes until it can be read."""
