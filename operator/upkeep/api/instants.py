"""Reads instants as Kubernetes writes them, RFC 3339; what cannot be read is an error that says how to write it."""

from datetime import UTC, datetime


def read_instant(text: str) -> datetime:
    """An aware UTC datetime.

    Raises:
        ValueError: the text is no RFC 3339 instant, has no zone, or lies outside of the years 1 to 9999.
    """
    advice = "write for example 2026-12-01T02:00:00Z"
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{text[:64]!r} is no instant: {advice}"
        raise ValueError(msg) from None
    msg = f"{text[:64]!r} has no time zone: {advice}"
    raise ValueError(msg)
