"""Which channels the platform has configured, under the names that resources use.

A channel's URL is a credential. It leaves this package in no message, log or exception; nor does anything that was read
from the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from upkeep.actions.fields import LabelName, Model


class ChannelsError(ValueError):
    """The file of channels cannot be used; the message says where and why, and never what stands there."""


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
        ChannelsError: the file cannot be read or is wrong.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text())
        entries = _FILE.validate_python(raw or {})
    except OSError as problem:
        msg = f"{path} cannot be read: {problem.strerror}"
        raise ChannelsError(msg) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        msg = f"{path} is not YAML"
        raise ChannelsError(msg) from None
    except ValidationError as problem:
        msg = f"{path}: {_explained(problem)}"
        raise ChannelsError(msg) from None
    return {
        name: Channel(
            name=name,
            url=entry.url,
            namespaces=None if entry.namespaces is None else frozenset(entry.namespaces),
        )
        for name, entry in entries.items()
    }


def _explained(problem: ValidationError) -> str:
    """Where it is wrong and how, without the value: that may be a secret."""
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"][:2]) or "the file"
    return f"{place}: {first['msg']}; write `name: {{url: …}}`"


_FILE: Final = TypeAdapter(dict[LabelName, _Entry])
