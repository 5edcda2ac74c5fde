"""Where backups are kept, as the Job of a run is told: a directory of a volume, a bucket, or a REST server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.backup.rate import Rate
from upkeep.actions.backup.rest import RestLocation, RestServer
from upkeep.actions.backup.s3 import Bucket, S3Location
from upkeep.actions.backup.storage import Storage, Volume
from upkeep.actions.connections import SecretReference
from upkeep.actions.contract import Context
from upkeep.actions.fields import OneOf

CREDENTIALS_NAME: Final = "repository"
"""The sub-directory of the credentials in which the repository's Secret is mounted."""
REPOSITORY_BYTES: Final = "repository_bytes"
"""What those who write to it measure: its size afterwards."""
FREE_BYTES: Final = "free_bytes"
"""And the room that is left, where that is known."""
MAX_DEPARTED: Final = 32


class Repository(OneOf):
    """Where backups are kept."""

    path: Annotated[str | None, Field(max_length=4096, pattern=r"^/")] = None
    """Directory of the repository on a mounted volume."""
    s3: S3Location | None = None
    """A bucket."""
    rest: RestLocation | None = None
    """A REST server."""
    password_secret_ref: SecretReference | None = None
    """The Secret whose key `password` is mounted, named in messages."""
    limit_upload: Rate | None = None
    """The most bytes a second that are sent to it."""
    limit_download: Rate | None = None
    """The most bytes a second that are read from it."""
    departed: Annotated[list[str], Field(max_length=MAX_DEPARTED)] = Field(default_factory=list)
    """Jobs whose Pods are gone: locks that they left may be removed."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """Where it is."""
        return ("path", "s3", "rest")

    def storage(self, context: Context) -> Storage:
        """The place, with its credentials.

        Raises:
            ActionError: they are missing.
        """
        if self.s3:
            return Bucket(self.s3, context)
        return RestServer(self.rest, context) if self.rest else Volume(Path(self.path or "/"))
