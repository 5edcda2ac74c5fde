"""Finds every action by walking this package, so that adding one is adding one file.

The CRD, the runner, the documentation and the tests all read the registry; none of them lists actions itself.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import upkeep.actions
from upkeep.actions.contract import Action


@cache
def actions() -> Mapping[str, type[Action]]:
    """Every action by the key it has in a step, sorted by that key.

    Raises:
        RuntimeError: two actions share a key, or one has none.
    """
    prefix = f"{upkeep.actions.__name__}."
    for module in pkgutil.walk_packages(upkeep.actions.__path__, prefix):
        if not module.ispkg:
            importlib.import_module(module.name)
    found: dict[str, type[Action]] = {}
    for action in _subclasses(Action):
        if not action.action_name or action.action_name in found:
            msg = f"{action.__module__}.{action.__name__}: action_name {action.action_name!r} is empty or taken"
            raise RuntimeError(msg)
        found[action.action_name] = action
    return MappingProxyType(dict(sorted(found.items())))


def step_actions() -> Mapping[str, type[Action]]:
    """The actions that users can write in a step: all but the internal ones."""
    return {name: action for name, action in actions().items() if not action.internal}


def _subclasses(base: type[Action]) -> list[type[Action]]:
    found = []
    for action in base.__subclasses__():
        found += [*_subclasses(action)] if action.__subclasses__() else [action]
    return found
