"""Amounts as Kubernetes writes them: `100m`, `1Gi`, `2.5e3`."""

import re
from typing import Final

_SUFFIXES: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)},
}
_FORM: Final = re.compile(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?|[+-]?[0-9]+\.)([numkMGTPE]|[KMGTPE]i)?")


def amount(text: object) -> float | None:
    """The number; None where there is none that can be read."""
    match = _FORM.fullmatch(str(text))
    return float(match[1]) * _SUFFIXES[match[2] or ""] if match else None
