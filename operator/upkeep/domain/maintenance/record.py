"""The undo record: what an Ingress was like, who holds it in maintenance, and what was put in its place.

It is an annotation of the Ingress itself, written in the same patch as the change, so that both live and die together.
Anybody who may edit the Ingress can edit it as well; what cannot be read is therefore an error with a message for
people, never a crash and never a guess.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from upkeep.actions.fields import Model
from upkeep.domain.instants import write_instant
from upkeep.domain.maintenance.backend import DEFAULT_PLACE, Place, Slot, service_backend, titled

UNDO_ANNOTATION: Final = "upkeep.dev/undo"
"""The undo record, as JSON."""
WINDOW_ANNOTATION: Final = "upkeep.dev/maintenance-window"
"""Name of the window that comes last to an end."""
UNTIL_ANNOTATION: Final = "upkeep.dev/maintenance-until"
"""When that window ends, in RFC 3339."""
MODE_LABEL: Final = "upkeep.dev/maintenance-mode"
"""`on` while the Ingress is in maintenance mode."""
MODE_ON: Final = "on"
OUR_ANNOTATIONS: Final = frozenset({UNDO_ANNOTATION, WINDOW_ANNOTATION, UNTIL_ANNOTATION})
OUR_LABELS: Final = frozenset({MODE_LABEL})


class UndoRecordError(Exception):
    """The undo record of an Ingress cannot be read; the message says of which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A window that keeps an Ingress in maintenance mode.

    Attributes:
        uid: UID of the MaintenanceWindow.
        window: its name, for people.
        until: when it ends at the latest; time zone aware.
        service: name of its page's Service, in the namespace of the Ingress.
        port: port of that Service.
    """

    uid: str
    window: str
    until: datetime
    service: str
    port: int


def _utc_seconds(value: datetime) -> datetime:
    return value.astimezone(UTC).replace(microsecond=0)


class HolderEntry(Model):
    """A holder as it stands in the record; times in UTC and whole seconds, as Kubernetes writes them."""

    uid: Annotated[str, Field(min_length=1)]
    window: str
    until: Annotated[AwareDatetime, AfterValidator(_utc_seconds)]
    service: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]

    @classmethod
    def of(cls, holder: Holder) -> "HolderEntry":
        """The entry of a holder."""
        return cls(uid=holder.uid, window=holder.window, until=holder.until, service=holder.service, port=holder.port)

    @property
    def holder(self) -> Holder:
        """The holder that it stands for."""
        return Holder(uid=self.uid, window=self.window, until=self.until, service=self.service, port=self.port)

    @property
    def page(self) -> dict[str, Any]:
        """The backend that leads to its page."""
        return service_backend(self.service, self.port)


def _leads_somewhere(value: dict[str, Any]) -> dict[str, Any]:
    target = value.get("service", value.get("resource"))
    if len(value) != 1 or not isinstance(target, dict) or not isinstance(target.get("name"), str):
        msg = "a backend is a service or a resource with a name"
        raise ValueError(msg)
    return value


RecordedBackend = Annotated[dict[str, Any], AfterValidator(_leads_somewhere)]
"""An IngressBackend as the API server had it."""


class RecordedField(Model):
    """A backend that was swapped, named by what it serves; `default` stands for spec.defaultBackend."""

    host: str = ""
    path: str = ""
    path_type: str = ""
    default: bool = False
    original: RecordedBackend

    @classmethod
    def of(cls, slot: Slot) -> "RecordedField":
        """The record of a place as it is now."""
        return cls(**slot.place._asdict(), original=dict(slot.backend))

    @property
    def place(self) -> Place:
        """What the backend serves."""
        return DEFAULT_PLACE if self.default else Place(self.host, self.path, self.path_type)


class UndoRecord(Model):
    """All that is needed to bring an Ingress back."""

    version: Literal[1]
    """Of this format: a program that does not know it must not guess."""
    holders: Annotated[Sequence[HolderEntry], Field(min_length=1)]
    """Who keeps it in maintenance mode; the last to leave restores it."""
    applied: RecordedBackend
    """What every swapped backend was replaced with."""
    fields: Sequence[RecordedField]
    """What was swapped, in the order of the Ingress."""

    def encode(self) -> str:
        """Compact JSON, the value of `UNDO_ANNOTATION`."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @property
    def last(self) -> HolderEntry:
        """The holder that comes last to an end."""
        return max(self.holders, key=lambda entry: (entry.until, entry.uid))

    @property
    def annotations(self) -> dict[str, str]:
        """The record and what people read on the Ingress."""
        return {
            UNDO_ANNOTATION: self.encode(),
            WINDOW_ANNOTATION: self.last.window,
            UNTIL_ANNOTATION: write_instant(self.last.until),
        }


def read_record(ingress: Mapping[str, Any]) -> UndoRecord | None:
    """The undo record of an Ingress; None while it is not in maintenance mode.

    Raises:
        UndoRecordError: there is one, but it cannot be read.
    """
    text = (ingress["metadata"].get("annotations") or {}).get(UNDO_ANNOTATION)
    if text is None:
        return None
    try:
        return UndoRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole of it"
        msg = (
            f"the undo record of {titled(ingress)} cannot be read "
            f"({where}: {first['msg']}): put its backends back by hand or from Git, then remove the annotation "
            f"{UNDO_ANNOTATION} and the label {MODE_LABEL}"
        )
        raise UndoRecordError(msg) from error


def holders(ingress: Mapping[str, Any]) -> tuple[Holder, ...]:
    """Who keeps the Ingress in maintenance mode; empty when nobody does.

    Raises:
        UndoRecordError: its undo record cannot be read.
    """
    record = read_record(ingress)
    return tuple(entry.holder for entry in record.holders) if record else ()
