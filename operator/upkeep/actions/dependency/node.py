"""Lock files of Node: package-lock.json, npm-shrinkwrap.json, yarn.lock (classic and later) and pnpm-lock.yaml.

They are read as the text that they are. Nothing is installed, resolved or executed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from upkeep.actions.dependency.package import Ecosystem, Locked, LockFileError, Package

_MODULES: Final = "node_modules/"
_PNPM: Final = re.compile(
    r"^/?(?P<name>(?:@[^/]+/)?[^/@]+)(?:/(?P<old>\d+\.\d+\.\d+[^_(/]*)|@(?P<version>[^(]+))(?:[_(].*)?$"
)
_VERSION: Final = re.compile(r"^\d+\.\d+\.\d+")
_ENTRY: Final = re.compile(r"^(?P<specifiers>[^\s#].*):\s*$")
_RESOLVED: Final = re.compile(r'^\s+version:?\s+"?(?P<version>[^"\s]+)"?\s*$')
_ALIAS: Final = "npm:"
_OWN: Final = ("workspace:", "link:", "file:", "portal:", "patch:")
_ELSEWHERE: Final = ("git", "http:", "https:", "github:")


def read_npm(text: str) -> Locked:
    """package-lock.json of any version, and npm-shrinkwrap.json.

    Raises:
        LockFileError: it is no JSON, or has no list of packages.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"it is no JSON: {error}"
        raise LockFileError(msg) from None
    match content:
        case {"packages": {} as packages}:
            entries = _of_packages(packages)
        case {"dependencies": {} as dependencies}:
            entries = _of_dependencies(dependencies)
        case {"lockfileVersion": _}:
            entries = iter(())
        case _:
            msg = "it has no list of packages"
            raise LockFileError(msg)
    found = Locked()
    for name, each in entries:
        _take(found, name, str(each.get("version", "")), str(each.get("resolved") or ""))
    return found


def read_yarn(text: str) -> Locked:
    """yarn.lock of any version: entries begin at the margin, their fields are indented.

    Raises:
        LockFileError: there is neither an entry nor the head of such a file.
    """
    if "yarn lockfile" not in text and "__metadata:" not in text:
        msg = "it does not begin as a yarn.lock does"
        raise LockFileError(msg)
    found = Locked()
    specifier = ""
    for line in text.splitlines():
        if match := _ENTRY.match(line):
            specifier = match["specifiers"].partition(",")[0].strip().strip('"')
        elif specifier and (match := _RESOLVED.match(line)):
            name, wanted = _split(specifier)
            if specifier != "__metadata" and not wanted.startswith(_OWN):
                aliased = wanted.startswith(_ALIAS) and _split(wanted.removeprefix(_ALIAS))
                _take(found, aliased[0] if aliased and aliased[1] else name, match["version"], wanted)
            specifier = ""
    return found


def read_pnpm(text: str) -> Locked:
    """pnpm-lock.yaml of any version: the keys of its packages.

    Raises:
        LockFileError: it is no YAML, or not of pnpm.
    """
    import yaml  # noqa: PLC0415 - only where there is such a file

    try:
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        msg = f"it is no YAML: {str(error).splitlines()[0]}"
        raise LockFileError(msg) from None
    if not isinstance(content, dict) or "lockfileVersion" not in content:
        msg = "it does not say its lockfileVersion"
        raise LockFileError(msg)
    found = Locked()
    packages = content.get("packages") or {}
    for key in packages if isinstance(packages, dict) else ():
        if match := _PNPM.match(str(key)):
            _take(found, match["name"], match["old"] or match["version"], "")
        else:
            found.doubtful.add(str(key))
    return found


def _of_packages(packages: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, each in packages.items():
        if _MODULES in path and isinstance(each, dict) and not each.get("link"):
            yield str(each.get("name") or path.rpartition(_MODULES)[2]), each


def _of_dependencies(dependencies: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """As npm 6 and before wrote them, each within those that brought it."""
    pending = [dependencies]
    while pending:
        for name, each in pending.pop().items():
            if isinstance(each, dict):
                version = str(each.get("version", ""))
                alias, number = _split(version.removeprefix(_ALIAS)) if version.startswith(_ALIAS) else (name, version)
                yield alias, {**each, "version": number}
                if isinstance(each.get("dependencies"), dict):
                    pending.append(each["dependencies"])


def _split(specifier: str) -> tuple[str, str]:
    """Name and version of `@scope/name@version`."""
    name, _, version = specifier[1:].partition("@")
    return specifier[:1] + name, version


def _take(found: Locked, name: str, version: str, origin: str) -> None:
    if version.startswith(_OWN):
        return
    if _VERSION.match(version) and not origin.startswith(("git", "github:")):
        found.packages.add(Package(Ecosystem.NPM, name, version.partition("+")[0]))
    elif version or origin:
        found.doubtful.add(name)
