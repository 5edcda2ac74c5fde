"""What users say is meant to be as it is, so that a review tells only what is new to them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import Field

_LONGEST: Final = 512

Allowed = Annotated[list[Annotated[str, Field(min_length=1, max_length=_LONGEST)]], Field(max_length=64)]
"""Patterns of names; `*` is any text."""


def allows(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns is for the name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
