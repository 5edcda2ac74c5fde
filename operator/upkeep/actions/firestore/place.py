"""Where exports are in Cloud Storage, and which collections they are about."""

from typing import Annotated, Final

from pydantic import Field

_BUCKET: Final = r"^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
_PART: Final = r"/[A-Za-z0-9_=-][A-Za-z0-9._=-]*"

Prefix = Annotated[str, Field(max_length=512, pattern=f"{_BUCKET}({_PART})*$")]
"""A bucket, with a path in it or without."""
Export = Annotated[str, Field(max_length=600, pattern=f"{_BUCKET}({_PART})+$")]
"""One export in a bucket."""
Collections = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1500, pattern=r"^[^/]+$")]], Field(min_length=1, max_length=100)
]
"""Ids of collection groups."""
