"""Finds every action by walking this package, so that adding one is adding one file.

The CRD, the runner, the documentation and the tests all read the registry; none of them lists actions itself.
A key names its module (`postgresVacuum` is `postgres/vacuum.py`, and as import is a word of the language,
`firestoreImport` is `firestore/import_.py`), so that a Job loads the one that it runs and its start does not get
slower with every action that is added.
"""

import importlib
import importlib.util
import keyword
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import upkeep.actions
from upkeep.actions.contract import Action


@cache
def actions() -> Mapping[str, type[Action]]:
    """Every action by the key it has in a step, sorted by that key.

    Raises:
        RuntimeError: two actions share a key, or a key does not name its module.
    """
    prefix = f"{upkeep.actions.__name__}."
    for module in pkgutil.walk_packages(upkeep.actions.__path__, prefix):
        if not module.ispkg:
            importlib.import_module(module.name)
    found: dict[str, type[Action]] = {}
    for action in _defined():
        if action.action_name in found or action.__module__ != _module_name(action.action_name):
            msg = (
                f"{action.__module__}.{action.__name__}: action_name {action.action_name!r} is taken "
                f"or belongs into {_module_name(action.action_name)}"
            )
            raise RuntimeError(msg)
        found[action.action_name] = action
    return MappingProxyType(dict(sorted(found.items())))


def find(name: str) -> type[Action]:
    """The action with this key, loading no other.

    Raises:
        ValueError: there is none; says which there are.
    """
    module = _module_name(name)
    if module and _exists(module):
        importlib.import_module(module)
        for action in _defined():
            if action.action_name == name:
                return action
    msg = f"there is no action {name!r}: use one of {', '.join(step_actions())}"
    raise ValueError(msg)


def step_actions() -> Mapping[str, type[Action]]:
    """The actions that users can write in a step: all but the internal ones."""
    return {name: action for name, action in actions().items() if not action.internal}


def check_actions() -> Mapping[str, type[Action]]:
    """Those of them that only look."""
    return {name: action for name, action in step_actions().items() if action.check}


def _module_name(name: str) -> str:
    match = re.fullmatch(r"([a-z]+)([A-Z][A-Za-z]*)", name)
    if not match:
        return ""
    noun = match[2].lower()
    return f"{upkeep.actions.__name__}.{match[1]}.{noun}{'_' if keyword.iskeyword(noun) else ''}"


def _exists(module: str) -> bool:
    folder = module.rpartition(".")[0]
    return importlib.util.find_spec(folder) is not None and importlib.util.find_spec(module) is not None


def _defined() -> list[type[Action]]:
    """The classes without subclasses of their own in the modules of this package that were loaded so far."""
    found, pending = [], Action.__subclasses__()
    while pending:
        candidate = pending.pop()
        pending += candidate.__subclasses__()
        if not candidate.__subclasses__() and candidate.__module__.startswith(f"{upkeep.actions.__name__}."):
            found.append(candidate)
    return found
