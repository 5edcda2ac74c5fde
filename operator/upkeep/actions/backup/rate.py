"""How many bytes a second may travel to a repository and from it."""

from typing import Annotated, Final

from pydantic import Field

Rate = Annotated[str, Field(max_length=16, pattern=r"^[1-9][0-9]{0,8}[KMG]i$")]
"""Bytes a second, for example `10Mi`."""

_KIB: Final = {"K": 1, "M": 1024, "G": 1024 * 1024}


def rate_in_kib(rate: str) -> int:
    """The same in KiB a second, as restic takes it."""
    return int(rate[:-2]) * _KIB[rate[-2]]
