"""What the API server can answer instead of doing what was asked, as exceptions that say so."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API server refused or failed.

    Attributes:
        status: HTTP status code; 0 where no answer came at all.
        reason: the Status object's reason, for example `AlreadyExists`.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, *, status: int, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.status in {0, 408, 429} or self.status >= 500  # noqa: PLR2004 - HTTP's own classes


class NotFoundError(ApiError):
    """404: the object, or its kind, is not there."""


class AlreadyExistsError(ApiError):
    """409 on a create: an object of that name is there."""


class ConflictError(ApiError):
    """409 or a failed `test` of a JSON Patch: the object changed since it was read."""


class ForbiddenError(ApiError):
    """401 or 403: the operator may not do this."""


def error_from(call: str, status: int, body: Mapping[str, Any], retry_after: float | None) -> ApiError:
    """The exception for an answer; `call` says what was being done, for example `PATCH /apis/…`."""
    reason = str(body.get("reason", ""))
    text = f"{call}: {status} {reason}: {body.get('message', '')}".rstrip(": ")
    kind: type[ApiError] = ApiError
    match status, reason:
        case (404, _):
            kind = NotFoundError
        case (409, "AlreadyExists"):
            kind = AlreadyExistsError
        case (409, _):
            kind = ConflictError
        case (422, _) if _failed_test(body):
            kind = ConflictError
        case ((401 | 403), _):
            kind = ForbiddenError
    return kind(text, status=status, reason=reason, retry_after=retry_after)


def _failed_test(body: Mapping[str, Any]) -> bool:
    """Whether a JSON Patch failed in a `test`.

    The API server answers 422 to that as to an invalid object, but only the latter names the fields at fault.
    """
    return not (body.get("details") or {}).get("causes")
