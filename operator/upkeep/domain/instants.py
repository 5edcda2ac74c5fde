"""Instants as Kubernetes writes them: RFC 3339 in UTC, whole seconds."""

from datetime import UTC, datetime

from upkeep.api.instants import read_instant

__all__ = ["read_instant", "read_optional", "write_instant", "write_optional"]


def read_optional(text: str | None) -> datetime | None:
    """The instant, or None where there is no text."""
    return read_instant(text) if text else None


def write_instant(instant: datetime) -> str:
    """`2026-12-01T02:00:00Z`."""
    return instant.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def write_optional(instant: datetime | None) -> str | None:
    """The text, or None where there is no instant."""
    return write_instant(instant) if instant else None
