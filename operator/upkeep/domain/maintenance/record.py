"""The undo record: what an object was like, who holds it in maintenance, and what was put in its place.

It is an annotation of the object itself, written in the same patch as the change, so that both live and die together.
Anybody who may edit the object can edit it as well; what cannot be read is therefore an error with a message for
people, never a crash and never a guess.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError, model_validator

from upkeep.actions.fields import Model
from upkeep.api.window.maintenance import MODE_LABEL
from upkeep.domain.instants import write_instant
from upkeep.domain.maintenance.backend import DEFAULT_PLACE, Backend, Place, Slot, titled
from upkeep.domain.maintenance.dialects import page_backend

UNDO_ANNOTATION: Final = "upkeep.dev/undo"
"""The undo record, as JSON."""
WINDOW_ANNOTATION: Final = "upkeep.dev/maintenance-window"
"""Name of the window that comes last to an end."""
UNTIL_ANNOTATION: Final = "upkeep.dev/maintenance-until"
"""When that window ends, in RFC 3339."""
MODE_ON: Final = "on"
OUR_ANNOTATIONS: Final = frozenset({UNDO_ANNOTATION, WINDOW_ANNOTATION, UNTIL_ANNOTATION})
OUR_LABELS: Final = frozenset({MODE_LABEL})


class UndoRecordError(Exception):
    """The undo record of an object cannot be read; the message says of which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A window that keeps an object in maintenance mode.

    Attributes:
        uid: UID of the MaintenanceWindow.
        window: its name, for people.
        until: when it ends at the latest; time zone aware.
        service: name of its page's Service, in the namespace of the object.
        port: port of that Service.
        redirects: whether that is no page, but a Service of somebody else.
    """

    uid: str
    window: str
    until: datetime
    service: str
    port: int
    redirects: bool = False


def _utc_seconds(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)


class HolderEntry(Model):
    """A holder as it stands in the record; times in UTC and whole seconds, as Kubernetes writes them."""

    uid: Annotated[str, Field(min_length=1)]
    window: str
    until: Annotated[AwareDatetime, AfterValidator(_utc_seconds)]
    service: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    redirects: bool = False

    @classmethod
    def of(cls, holder: Holder) -> "HolderEntry":
        """The entry of a holder."""
        return cls(**asdict(holder))

    @property
    def holder(self) -> Holder:
        """The holder that it stands for."""
        return Holder(**dict(self))

    def page(self, item: Mapping[str, Any]) -> Backend:
        """The backend by which an object leads to its page."""
        return page_backend(item, self.service, self.port)


def _leads_somewhere(value: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    targets = value if isinstance(value, list) else [value.get("service", value.get("resource"))]
    named = all(isinstance(target, dict) and isinstance(target.get("name"), str) for target in targets)
    if not targets or not named or (isinstance(value, dict) and len(value) != 1):
        msg = "a backend is a service or a resource with a name, or a list of them"
        raise ValueError(msg)
    return value


RecordedBackend = Annotated[dict[str, Any] | list[dict[str, Any]], AfterValidator(_leads_somewhere)]
"""A backend as the API server had it: of an Ingress, or the list of a route's rule."""


class RecordedField(Model):
    """A backend that was swapped, named by what it serves; `default` stands for spec.defaultBackend."""

    host: str = ""
    path: str = ""
    path_type: str = ""
    default: bool = False
    match: str = ""
    original: RecordedBackend

    @classmethod
    def of(cls, slot: Slot) -> "RecordedField":
        """The record of a place as it is now."""
        return cls(**slot.place._asdict(), original=slot.backend)

    @property
    def place(self) -> Place:
        """What the backend serves."""
        return DEFAULT_PLACE if self.default else Place(self.host, self.path, self.path_type, match=self.match)


class RecordedAnnotation(Model):
    """An annotation that was set."""

    key: str
    applied: str
    original: str | None = None
    """What it was; None where it was not there."""


class UndoRecord(Model):
    """All that is needed to bring an object back."""

    version: Literal[1]
    """Of this format: a program that does not know it must not guess."""
    holders: Annotated[Sequence[HolderEntry], Field(min_length=1)]
    """Who keeps it in maintenance mode; the last to leave restores it."""
    applied: RecordedBackend | None = None
    """What every swapped backend was replaced with; None where none was."""
    fields: Sequence[RecordedField] = ()
    """What was swapped, in the order of the object."""
    annotations: Sequence[RecordedAnnotation] = ()
    """What was set, by the strategy Annotations."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.applied is None) != (not self.fields) or not (self.fields or self.annotations):
            msg = "a record says what was swapped and for what, or which annotations were set"
            raise ValueError(msg)
        return self

    def encode(self) -> str:
        """Compact JSON, the value of `UNDO_ANNOTATION`."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @property
    def last(self) -> HolderEntry:
        """The holder that comes last to an end."""
        return max(self.holders, key=lambda entry: (entry.until, entry.uid))

    @property
    def on_object(self) -> dict[str, str]:
        """The record and what people read on the object."""
        return {
            UNDO_ANNOTATION: self.encode(),
            WINDOW_ANNOTATION: self.last.window,
            UNTIL_ANNOTATION: write_instant(self.last.until),
        }


def read_record(item: Mapping[str, Any]) -> UndoRecord | None:
    """The undo record of an object; None while it is not in maintenance mode.

    Raises:
        UndoRecordError: there is one, but it cannot be read.
    """
    text = (item["metadata"].get("annotations") or {}).get(UNDO_ANNOTATION)
    if text is None:
        return None
    try:
        return UndoRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole of it"
        msg = (
            f"the undo record of {titled(item)} cannot be read "
            f"({where}: {first['msg']}): put its backends back by hand or from Git, then remove the annotation "
            f"{UNDO_ANNOTATION} and the label {MODE_LABEL}"
        )
        raise UndoRecordError(msg) from error


def holders(item: Mapping[str, Any]) -> tuple[Holder, ...]:
    """Who keeps the object in maintenance mode; empty when nobody does.

    Raises:
        UndoRecordError: its undo record cannot be read.
    """
    record = read_record(item)
    return tuple(entry.holder for entry in record.holders) if record else ()
