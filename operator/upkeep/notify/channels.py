"""Which channels the platform has configured, under the names that resources use.

A channel's URL is a credential. It leaves this package in no message, log or exception; nor does anything that was read
from the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from upkeep.actions.fields import LabelName, Model
from upkeep.configuration import read_entries


class _Entry(Model):
    """A channel as it is written down."""

    url: Annotated[str, Field(min_length=3, max_length=4096, pattern=r"^[a-zA-Z][a-zA-Z0-9+.-]*://")]
    """Where messages go, as Apprise writes it, for example slack://…, mailtos://… or json://…"""
    namespaces: list[LabelName] | None = None
    """Whose windows may use it; left out: those of all namespaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A way to people.

    Attributes:
        name: as resources name it.
        url: where messages go; never shown.
        namespaces: whose windows may use it; None: all.
    """

    name: str
    url: str = field(repr=False)
    namespaces: frozenset[str] | None = None

    def serves(self, namespace: str) -> bool:
        """Whether windows of a namespace may use it."""
        return self.namespaces is None or namespace in self.namespaces


def read_channels(path: Path) -> Mapping[str, Channel]:
    """The channels of a YAML file, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: it cannot be read or is wrong.
    """
    return {
        name: Channel(
            name=name,
            url=entry.url,
            namespaces=None if entry.namespaces is None else frozenset(entry.namespaces),
        )
        for name, entry in read_entries(path, _FILE, form="name: {url: …}").items()
    }


_FILE: Final = TypeAdapter(dict[LabelName, _Entry])
