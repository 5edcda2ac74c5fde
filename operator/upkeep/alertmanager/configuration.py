"""Which Alertmanagers the platform has configured, under the names that resources use.

Credentials are files beside the configuration. They are read anew for every request, so that rotated ones count at
once, and never stand in a message.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, TypeAdapter, model_validator

from upkeep.actions.fields import LabelName, Model
from upkeep.configuration import ConfigurationError, read_entries

_LABEL: Final = r"^([a-zA-Z_][a-zA-Z0-9_]*)?$"


class _BasicAuth(Model):
    """A user name and a file with the password."""

    username: Annotated[str, Field(min_length=1)]
    """The user."""
    password_file: Annotated[str, Field(min_length=1)]
    """File with the password."""


class _Entry(Model):
    """An Alertmanager as it is written down."""

    url: Annotated[str, Field(pattern=r"^https?://[^\t-\r /?#@]+(/[^\t-\r ?#]*)?$")]
    """Where it answers, with its path prefix if it has one."""
    basic_auth: _BasicAuth | None = None
    """Log in by user name and password."""
    bearer_token_file: str | None = None
    """Log in by the token in this file."""
    ca_file: str | None = None
    """Certificates that its own is checked against; left out: those of the system."""
    namespace_label: Annotated[str, Field(pattern=_LABEL)] = "namespace"
    """Silences of a namespace reach only alerts that have it in this label; empty: they reach any alert."""

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if self.basic_auth is not None and self.bearer_token_file is not None:
            msg = "basicAuth and bearerTokenFile exclude each other"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How an Alertmanager is reached.

    Attributes:
        name: as resources name it.
        url: where it answers.
        username, password: user name and file of the password; None where it wants none.
        token: file of the bearer token; None where it wants none.
        tls: what its certificate is checked against.
        namespace_label: label that ties silences to the namespace they were asked for in; empty: nothing does.
    """

    name: str
    url: str
    username: str | None = None
    password: Path | None = None
    token: Path | None = None
    tls: ssl.SSLContext
    namespace_label: str = ""


def read_endpoints(path: Path) -> Mapping[str, Endpoint]:
    """The Alertmanagers of a YAML file, by name; none where there is no file.

    Files that it names are relative to its directory.

    Raises:
        ConfigurationError: the file, or one that it names, cannot be read or is wrong.
    """
    try:
        entries = read_entries(path, _FILE, form="name: {url: …}")
    except FileNotFoundError:
        return {}
    return {name: _endpoint(path.parent, name, entry) for name, entry in entries.items()}


def _endpoint(directory: Path, name: str, entry: _Entry) -> Endpoint:
    login = entry.basic_auth
    files = {
        "passwordFile": directory / login.password_file if login else None,
        "bearerTokenFile": directory / entry.bearer_token_file if entry.bearer_token_file else None,
        "caFile": directory / entry.ca_file if entry.ca_file else None,
    }
    for field, file in files.items():
        if file is not None and not file.is_file():
            msg = f"{field} of Alertmanager {name!r}: {file} does not exist"
            raise ConfigurationError(msg)
    try:
        tls = ssl.create_default_context(cafile=files["caFile"])
    except ssl.SSLError as problem:
        msg = f"caFile of Alertmanager {name!r}: {files['caFile']} has no certificate that can be read"
        raise ConfigurationError(msg) from problem
    return Endpoint(
        name=name,
        url=entry.url.rstrip("/"),
        username=login.username if login else None,
        password=files["passwordFile"],
        token=files["bearerTokenFile"],
        tls=tls,
        namespace_label=entry.namespace_label,
    )


_FILE: Final = TypeAdapter(dict[LabelName, _Entry])
