"""Refusals, in the words and codes of the real API server.

It exists so that clients under test meet the same Status objects here as there. It must never decide whether a
request is refused.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class NoSuchKindError(LookupError):
    """A test asked for a kind that this fake was not configured to serve."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"the fake API server does not serve {name!r}; it serves {', '.join(known)}. "
            "Pass its ResourceType to FakeCluster(resources=…)."
        )


class Named(Protocol):
    """What error messages need to know about a kind."""

    @property
    def group(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def qualified(self) -> str: ...
    @property
    def qualified_kind(self) -> str: ...


class StatusError(Exception):
    """A request that the server refuses.

    Attributes:
        code: HTTP status.
        reason: machine-readable reason of the Status object, empty where the real server gives none.
        message: sentence for people.
        details: `details` of the Status object, None to leave it out.
        continue_token: token that goes on with an inconsistent list (410 answers to paged lists).
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        continue_token: str = "",
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.continue_token = continue_token

    def status(self) -> dict[str, Any]:
        """Return the Status object that goes to the client."""
        metadata = {"continue": self.continue_token} if self.continue_token else {}
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def _details(resource: Named, name: str, *, kind: str = "") -> dict[str, Any]:
    details = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": kind or resource.plural}


def not_found(resource: Named, name: str) -> StatusError:
    """No such object."""
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def already_exists(resource: Named, name: str) -> StatusError:
    """The name is taken."""
    return StatusError(
        409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', details=_details(resource, name)
    )


def conflict(resource: Named, name: str, why: str = "") -> StatusError:
    """Somebody else was faster."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        details=_details(resource, name),
    )


def precondition_failed(resource: Named, name: str, *, field: str, wanted: str, found: str) -> StatusError:
    """The object is not the one that a DELETE meant.

    Args:
        resource: its kind.
        name: its name.
        field: `UID` or `ResourceVersion`.
        wanted: value in the precondition.
        found: value in the object.
    """
    hint = "deleted and then recreated" if field == "UID" else "modified"
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": the {field} in the precondition '
        f"({wanted}) does not match the {field} in record ({found}). The object might have been {hint}",
        details=_details(resource, name, kind=resource.kind),
    )


def invalid(resource: Named, name: str, *, field: str, why: str, cause: str = "FieldValueInvalid") -> StatusError:
    """A value that no retry makes right."""
    details = _details(resource, name, kind=resource.kind)
    details["causes"] = [{"reason": cause, "message": why, "field": field}]
    return StatusError(
        422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {field}: {why}', details=details
    )


def version_required(resource: Named, name: str) -> StatusError:
    """A PUT without resourceVersion of a kind that insists on one."""
    field, why = "metadata.resourceVersion", "Invalid value: 0: must be specified for an update"
    details = _details(resource, name)
    details["causes"] = [{"reason": "FieldValueInvalid", "message": why, "field": field}]
    return StatusError(422, "Invalid", f'{resource.qualified} "{name}" is invalid: {field}: {why}', details=details)


def unprocessable_patch() -> StatusError:
    """A JSON patch whose `test` failed or whose path does not exist; the real server says no more than this."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def manager_required() -> StatusError:
    """A server-side apply that does not say who applies."""
    why = "Required value: is required for apply patch"
    cause = {"reason": "FieldValueRequired", "message": why, "field": "fieldManager"}
    return StatusError(
        422,
        "Invalid",
        f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {why}',
        details={"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]},
    )


def bad_request(message: str) -> StatusError:
    """A request that cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """A patch of a type that the kind does not take."""
    return StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted),
    )


def method_not_allowed() -> StatusError:
    """A verb that the path does not have."""
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        details={},
    )


def namespace_terminating(resource: Named, name: str, namespace: str) -> StatusError:
    """Nothing new may be made in a namespace that is going."""
    details = _details(resource, name)
    details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return StatusError(
        403,
        "Forbidden",
        f'{resource.qualified} "{name}" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated",
        details=details,
    )


def too_old(version: int, oldest: int) -> StatusError:
    """The history no longer reaches back to where a watch wants to start."""
    return StatusError(410, "Expired", f"too old resource version: {version} ({oldest})")


def continue_expired(token: str) -> StatusError:
    """The history no longer reaches back to the first page of a paged list."""
    return StatusError(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new "
        "list without the continue parameter, or use the continue token in this response to retrieve the "
        "remainder of the results. Continuing with the provided token results in an inconsistent list - "
        "objects that were created, modified, or deleted between the time the first chunk was returned and "
        "now may show up in the list.",
        continue_token=token,
    )


def too_large(version: int, current: int) -> StatusError:
    """A version from the future, as after a restore of etcd."""
    return StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {version}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
