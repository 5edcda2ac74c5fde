"""Files in which the platform names what the operator talks to: YAML of entries by name.

What stands in such a file may be a credential, also where it stands in the wrong place. It is never part of a message.
"""

import re
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

Entry = TypeVar("Entry")

_NAME: Final = re.compile(r"[\w .-]{1,63}")
"""What may be a name of something; a URL that somebody wrote in place of one is not."""


class ConfigurationError(ValueError):
    """A file of the platform cannot be used; the message says where and why, and never what stands there."""


def read_entries(path: Path, expected: TypeAdapter[dict[str, Entry]], *, form: str) -> dict[str, Entry]:
    """The entries of a YAML file, by name; none where the file is empty.

    Args:
        path: the file.
        expected: what an entry must be.
        form: how an entry is written, for messages, such as ``name: {url: …}``.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigurationError: it cannot be read or is wrong.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text())
        return expected.validate_python(raw or {})
    except FileNotFoundError:
        raise
    except OSError as problem:
        msg = f"{path} cannot be read: {problem.strerror}"
        raise ConfigurationError(msg) from None
    except (UnicodeDecodeError, yaml.YAMLError):
        msg = f"{path} is not YAML"
        raise ConfigurationError(msg) from None
    except ValidationError as problem:
        msg = f"{path}: {_explained(problem)}; write `{form}`"
        raise ConfigurationError(msg) from None


def _explained(problem: ValidationError) -> str:
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    parts = (str(part) for part in first["loc"] if part != "[key]")
    place = ".".join(part if _NAME.fullmatch(part) else "…" for part in parts) or "the file"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
