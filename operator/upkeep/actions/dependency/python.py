"""Lock files of Python: requirements with pins, poetry.lock, pdm.lock, uv.lock, pylock.toml and Pipfile.lock.

They are read as the text that they are. Nothing is installed, resolved or executed.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from upkeep.actions.dependency.package import Ecosystem, Locked, LockFileError, Package

_CONTINUED: Final = re.compile(r"\\\r?\n")
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_OPTIONS: Final = re.compile(r"\s--(hash|config-settings|global-option)\b.*$")
_PINNED: Final = re.compile(
    r"^(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*\(?\s*={2,3}\s*"
    r"(?P<version>[A-Za-z0-9!+._-]+)\s*\)?$"
)
_INCLUDED: Final = re.compile(r"^(?:-r|--requirement)[\s=]*(\S.*)$")
_NAMED: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_OWN: Final = (".", "/", "file:")
_LOCAL: Final = frozenset({"directory", "editable", "virtual"})
_ELSEWHERE: Final = frozenset({"git", "url", "vcs", "archive", "path", "file"})


def is_requirements(path: PurePosixPath) -> bool:
    """Whether a file is one of requirements, by its name or that of its directory."""
    if path.parent.name == "requirements" and path.suffix == ".txt":
        return True
    return path.name.startswith("requirements") and path.suffix in {".txt", ".lock"}


def read_requirements(text: str) -> Locked:
    """`name==version` a line, with or without hashes; a file that is included has to be one of its own.

    Raises:
        LockFileError: a line is no requirement.
    """
    found = Locked()
    for raw in _CONTINUED.sub(" ", text).splitlines():
        line = _OPTIONS.sub("", _COMMENT.sub("", raw)).strip()
        if match := _INCLUDED.match(line):
            if not is_requirements(PurePosixPath(match[1])):
                found.doubtful.add(match[1])
            continue
        if not line or line.startswith(("-", *_OWN)):
            continue
        requirement = line.partition(";")[0].strip()
        if match := _PINNED.match(requirement):
            found.packages.add(_package(match["name"], match["version"]))
        elif match := _NAMED.match(requirement):
            found.doubtful.add(match[0])
        else:
            msg = f"it has a line that is no requirement: {line[:80]!r}"
            raise LockFileError(msg)
    return found


def read_toml(text: str) -> Locked:
    """Of Poetry, PDM, uv, and the standard pylock.toml.

    Raises:
        LockFileError: it is no TOML, or has no list of packages.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"it is no TOML: {error}"
        raise LockFileError(msg) from None
    listed = content.get("package", content.get("packages"))
    if listed is None and {"metadata", "version", "lock-version"} & content.keys():
        listed = []
    if not isinstance(listed, list):
        msg = "it has no list of packages"
        raise LockFileError(msg)
    found = Locked()
    for each in listed:
        _take(found, each)
    return found


def read_pipfile(text: str) -> Locked:
    """Pipfile.lock.

    Raises:
        LockFileError: it is no JSON, or has no lists of packages.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"it is no JSON: {error}"
        raise LockFileError(msg) from None
    groups = [value for key, value in content.items() if key != "_meta"] if isinstance(content, dict) else []
    if not groups or not all(isinstance(group, dict) for group in groups):
        msg = "it has no lists of packages"
        raise LockFileError(msg)
    found = Locked()
    for group in groups:
        for name, each in group.items():
            version = each.get("version") if isinstance(each, dict) else None
            if isinstance(version, str) and version.startswith("=="):
                found.packages.add(_package(name, version.removeprefix("==")))
            elif not (isinstance(each, dict) and (_LOCAL | {"path"}) & each.keys()):
                found.doubtful.add(str(name))
    return found


def _take(found: Locked, each: object) -> None:
    match each:
        case {"name": str(name), "version": str(version), **rest}:
            origin = _origin(rest)
            if origin == "registry":
                found.packages.add(_package(name, version))
            elif origin == "elsewhere":
                found.doubtful.add(name)
        case {"name": str(name), **rest}:
            if _origin(rest) != "local":
                found.doubtful.add(name)
        case _:
            msg = "it lists a package without a name"
            raise LockFileError(msg)


def _origin(package: Mapping[Any, Any]) -> str:
    """`registry`, `local` for the application's own code, or `elsewhere`."""
    source = package.get("source")
    kinds = set(package) & (_LOCAL | _ELSEWHERE)
    if isinstance(source, dict):
        kinds |= {str(source["type"])} if "type" in source else set(map(str, source))
    if kinds & _LOCAL:
        return "local"
    return "elsewhere" if kinds & _ELSEWHERE else "registry"


def _package(name: str, version: str) -> Package:
    """By its normalised name, as PyPI compares them; a local version is that of its public one."""
    return Package(Ecosystem.PYPI, re.sub(r"[-_.]+", "-", name).lower(), version.partition("+")[0])
