"""Whether a label selector of an object, as the API server shows it, chooses an object with certain labels."""

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether it does; an empty selector chooses everything."""
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_meets(demand, labels) for demand in selector.get("matchExpressions") or ())


def _meets(demand: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, listed = labels.get(demand["key"]), demand.get("values") or ()
    match demand["operator"]:
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case _:
            return value is None
