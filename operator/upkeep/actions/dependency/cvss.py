"""Grades a weakness: by the word of its database, or else by its CVSS vector.

Source of the formula and of the grades: FIRST, CVSS v3.1, Specification Document, sections 5, 7.1, 7.4 and A.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from upkeep.actions.contract import Grade

FLOOR: Final = {Grade.CRITICAL: 9.0, Grade.HIGH: 7.0, Grade.MEDIUM: 4.0, Grade.LOW: 0.1}
"""From which score on a weakness is of this grade."""

_WORDS: Final = {
    "CRITICAL": Grade.CRITICAL,
    "HIGH": Grade.HIGH,
    "MODERATE": Grade.MEDIUM,
    "MEDIUM": Grade.MEDIUM,
    "LOW": Grade.LOW,
}
_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES: Final[Mapping[str, Mapping[str, float]]] = {
    "U": {"N": 0.85, "L": 0.62, "H": 0.27},
    "C": {"N": 0.85, "L": 0.68, "H": 0.5},
}


def grade(advisory: Mapping[str, Any]) -> tuple[Grade | None, float]:
    """Grade and score of an advisory of the OSV schema; None and 0 where neither can be told."""
    scores = [score for each in _list(advisory.get("severity")) if (score := _score(each)) is not None]
    score = max(scores, default=0.0)
    own = advisory.get("database_specific")
    word = str(own.get("severity", "")).upper() if isinstance(own, dict) else ""
    if word in _WORDS:
        return _WORDS[word], score or FLOOR[_WORDS[word]]
    return next((each for each in Grade if score >= FLOOR[each]), None), score


def score_of(vector: str) -> float | None:
    """The base score of a vector of CVSS 3; None where it is none."""
    head, *parts = vector.split("/")
    if head not in {"CVSS:3.0", "CVSS:3.1"}:
        return None
    said = dict(part.partition(":")[::2] for part in parts)
    try:
        scope = said["S"]
        weight = {metric: values[said[metric]] for metric, values in _WEIGHTS.items()}
        privileges = _PRIVILEGES[scope][said["PR"]]
    except KeyError:
        return None
    loss = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    changed = scope == "C"
    impact = 7.52 * (loss - 0.029) - 3.25 * (loss - 0.02) ** 15 if changed else 6.42 * loss
    if impact <= 0:
        return 0.0
    ease = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    return _rounded_up(min((1.08 if changed else 1.0) * (impact + ease), 10.0))


def _rounded_up(value: float) -> float:
    """To one digit, upwards, without what floating point adds."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10


def _score(each: object) -> float | None:
    return score_of(str(each.get("score", ""))) if isinstance(each, dict) else None


def _list(found: object) -> Sequence[Any]:
    return found if isinstance(found, list) else ()
