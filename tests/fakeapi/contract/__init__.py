"""What an API server must do for Upkeep, as checks that run against the fake and against a real server.

It exists so that the fake cannot drift from the truth: a check that passes here and fails there is a lie of the
fake. The classes hold tests and are collected where a test module derives from them; every one takes an `api`
fixture, see `fakeapi.contract.api`.
"""

import pytest

_MODULES = (
    "api",
    "defaulting",
    "deletion",
    "discovery",
    "lists",
    "managers",
    "objects",
    "patches",
    "watches",
    "work",
)

pytest.register_assert_rewrite(*(f"fakeapi.contract.{module}" for module in _MODULES))
