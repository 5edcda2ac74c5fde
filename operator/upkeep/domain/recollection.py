"""Reads a status back, also one that another version or a person has written.

A status is memory. What cannot be read of it is given up piece by piece: a record of a list, or one field, never the
whole. It must never become a reason to do something a second time: where it is not known any more up to when
occurrences are accounted for, everything up to now counts as accounted for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from upkeep.api.status import ResourceStatus
from upkeep.domain.decision import Announce, EventType

Status = TypeVar("Status", bound=ResourceStatus)

_MARKS: Final = frozenset({"lastScheduleTime", "scheduleAnchor", "schedules"})
"""Fields that hold up to when occurrences are accounted for."""
_TOKEN: Final = "lastManualRun"  # noqa: S105 - the name of a field, not a secret
_UNKNOWN: Final = "extra_forbidden"
_TOO_LONG: Final = "too_long"

_Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection(Generic[Status]):
    """What a status says, as far as it can be read.

    Attributes:
        status: what can be read.
        lost: fields of the status, as written, of which something could not be read. What this version does not know
            is left out without being missed.
    """

    status: Status
    lost: frozenset[str]

    @property
    def remembers_token(self) -> bool:
        """Whether it is known which manual run was the last; if not, none may be started."""
        return _TOKEN not in self.lost

    def horizon(self, now: datetime) -> datetime | None:
        """Up to when occurrences count as accounted for because nobody knows better; None where the status says it."""
        return now if self.lost & _MARKS else None

    @property
    def complaint(self) -> tuple[Announce, ...]:
        """What to tell people about it."""
        if not self.lost:
            return ()
        message = f"could not be read and was left out: {', '.join(sorted(self.lost))}"
        if self.lost & _MARKS:
            message += "; what was due until now counts as accounted for"
        return (Announce(type=EventType.WARNING, reason="StatusUnreadable", message=message),)


def recall(model: type[Status], raw: object) -> Recollection[Status]:
    """Read a status as it stands in a resource; `raw` is None where there is none yet."""
    if raw is None:
        return Recollection(status=model(), lost=frozenset())
    lost: set[str] = set()
    tree = _copied(raw)
    while isinstance(tree, dict):
        try:
            return Recollection(status=model.model_validate(tree), lost=frozenset(lost))
        except ValidationError as problem:
            errors = problem.errors(include_url=False)
        lost |= {str(error["loc"][0]) for error in errors if error["type"] != _UNKNOWN}
        # From behind, so that what is removed from a list does not move what is still to be removed.
        changes = [_cut(tree, path) for path in sorted({_unreadable(error) for error in errors}, key=_order)[::-1]]
        changes += [_shorten(tree, error) for error in errors if error["type"] == _TOO_LONG]
        if not any(changes):
            break
    return Recollection(status=model(), lost=frozenset(field.alias or "" for field in model.model_fields.values()))


def _copied(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _unreadable(error: ErrorDetails) -> _Path:
    """What has to go for one error: the item of a list that it is in, else the field of the status."""
    path = tuple(error["loc"])
    if error["type"] == _UNKNOWN:
        return path
    if error["type"] == _TOO_LONG:
        return ()
    items = [index for index, part in enumerate(path) if isinstance(part, int)]
    return path[: items[-1] + 1] if items else path[:1]


def _order(path: _Path) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in path]


def _cut(tree: Any, path: _Path) -> bool:  # noqa: ANN401 - any JSON value
    """Remove what is at a path; False where nothing is."""
    if not path:
        return False
    place, last = _at(tree, path[:-1]), path[-1]
    if isinstance(place, dict) and last in place:
        del place[last]
        return True
    if isinstance(place, list) and isinstance(last, int) and last < len(place):
        del place[last]
        return True
    return False


def _shorten(tree: Any, error: ErrorDetails) -> bool:  # noqa: ANN401 - any JSON value
    place = _at(tree, tuple(error["loc"]))
    if not isinstance(place, list):
        return False
    del place[int(error["ctx"]["max_length"]) :]
    return True


def _at(tree: Any, path: _Path) -> Any:  # noqa: ANN401 - any JSON value
    place = tree
    for part in path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return None
    return place
