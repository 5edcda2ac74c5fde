"""Maintenance mode of a window: what is put on a page, and what the page says."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Model, ObjectName, OneOf, Rule
from upkeep.api import GROUP
from upkeep.api.selector import LabelSelector
from upkeep.api.window.bypass import Bypass
from upkeep.api.window.page import Page

AnnotationKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
AnnotationValue = Annotated[str, Field(max_length=4096)]

ServiceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]

MODE_LABEL: Final = f"{GROUP}/maintenance-mode"
"""`on` while an object is in maintenance mode."""


class Target(OneOf):
    """What is put into maintenance mode: one object by its name, or all that have certain labels."""

    kind: Literal["Ingress", "HTTPRoute", "IngressRoute"] = "Ingress"
    """Kind of the object: Ingress, HTTPRoute (Gateway API) or IngressRoute (Traefik)."""
    name: ObjectName | None = None
    """Its name, in the namespace of the window."""
    selector: LabelSelector | None = None
    """Labels of the objects, in the namespace of the window. They are looked for when the window opens; what comes to
    match while it is open joins, and what is in stays in until the end."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """One object, or many."""
        return ("name", "selector")

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What a target alone can show to be wrong."""
        return (*super().rules(), _NOT_OURS)

    @model_validator(mode="after")
    def _looks_at_labels_of_others(self) -> Self:
        if self.selector and MODE_LABEL in self.selector.keys:
            raise ValueError(_NOT_OURS["message"])
        return self

    def __str__(self) -> str:
        if self.selector is None:
            return f"{self.kind} {self.name!r}"
        return f"{self.kind} with the labels {self.selector.query!r}" if self.selector.keys else f"{self.kind} at all"


_NOT_OURS: Final[Rule] = {
    "rule": f"!has(self.selector) || ((!has(self.selector.matchLabels) || !('{MODE_LABEL}' in "
    "self.selector.matchLabels)) && (!has(self.selector.matchExpressions) || "
    f"self.selector.matchExpressions.all(each, each.key != '{MODE_LABEL}')))",
    "message": f"a selector must not look at {MODE_LABEL}, which maintenance mode itself sets",
}


class Strategy(StrEnum):
    """How a target is put into maintenance mode."""

    BACKEND_SWAP = "BackendSwap"
    OVERLAY = "Overlay"
    ANNOTATIONS = "Annotations"


class ServiceBackend(Model):
    """Where users are sent."""

    service: ServiceName
    """Name of a Service in the namespace of the window."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Its port, as a number."""

    def __str__(self) -> str:
        return f"Service {self.service}:{self.port}"


class MaintenanceMode(Model):
    """Ingresses and routes that answer 503 with a page while the window is active, and go back exactly as they were."""

    targets: Annotated[list[Target], Field(min_length=1, max_length=1000)]
    """The Ingresses and routes."""
    strategy: Strategy = Strategy.BACKEND_SWAP
    """BackendSwap: every backend is replaced by the page, which works with every controller. Overlay: a route of
    Upkeep's own comes first and leads to the page, and the targets are not touched, for Traefik. Annotations: only the
    annotations below are set, for controllers that have a maintenance mode of their own."""
    annotations: Annotated[dict[AnnotationKey, AnnotationValue], Field(max_length=16)] = Field(default_factory=dict)
    """What the strategy Annotations sets on every target; afterwards they are what they were."""
    bypass: Bypass | None = None
    """Who reaches the application all the same: testers, where the targets are HTTPRoutes or IngressRoutes."""
    page: Page | None = None
    """What users see meanwhile; without it, a page in general words."""
    backend: ServiceBackend | None = None
    """Where users are sent instead of to a page, for example a standby or a read-only copy. The window does not open
    before the Service is there and has a ready endpoint; no page is made."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Annotations belong to their strategy, and must not smuggle in a configuration; a page or a backend."""
        return (_WITH_ANNOTATIONS, _NO_SNIPPETS, _PAGE_OR_BACKEND, _PASSES, _PASSES_ROUTES, _OVERLAYS)

    @model_validator(mode="after")
    def _sets_what_it_may(self) -> Self:
        if (self.strategy is Strategy.ANNOTATIONS) != bool(self.annotations):
            raise ValueError(_WITH_ANNOTATIONS["message"])
        if any("snippet" in key or key.startswith(f"{GROUP}/") for key in self.annotations):
            raise ValueError(_NO_SNIPPETS["message"])
        if self.backend and (self.page or self.strategy is not Strategy.BACKEND_SWAP):
            raise ValueError(_PAGE_OR_BACKEND["message"])
        return self

    @model_validator(mode="after")
    def _tells_testers_from_users_where_it_can(self) -> Self:
        if self.bypass and self.strategy is Strategy.ANNOTATIONS:
            raise ValueError(_PASSES["message"])
        if self.bypass and any(target.kind == "Ingress" for target in self.targets):
            raise ValueError(_PASSES_ROUTES["message"])
        return self

    @model_validator(mode="after")
    def _lies_over_what_has_a_priority(self) -> Self:
        if self.strategy is Strategy.OVERLAY and any(target.kind == "HTTPRoute" for target in self.targets):
            raise ValueError(_OVERLAYS["message"])
        return self


_WITH_ANNOTATIONS: Final[Rule] = {
    "rule": "(self.strategy == 'Annotations') == (has(self.annotations) && size(self.annotations) > 0)",
    "message": "annotations are set by the strategy Annotations, and by no other",
}
_NO_SNIPPETS: Final[Rule] = {
    # Who may write a window may not therefore write the configuration of the controller.
    "rule": "!has(self.annotations) || "
    f"!self.annotations.exists(key, key.contains('snippet') || key.startsWith('{GROUP}/'))",
    "message": f"annotations must neither hold snippets of configuration nor be Upkeep's own ({GROUP}/…)",
}
_PAGE_OR_BACKEND: Final[Rule] = {
    "rule": "!has(self.backend) || (!has(self.page) && self.strategy == 'BackendSwap')",
    "message": "with a backend users see no page: remove page or backend; a backend needs the strategy BackendSwap",
}
_PASSES: Final[Rule] = {
    "rule": "!has(self.bypass) || self.strategy != 'Annotations'",
    "message": "Upkeep shows no page that testers could pass by, with the strategy Annotations: leave out bypass",
}
_PASSES_ROUTES: Final[Rule] = {
    "rule": "!has(self.bypass) || self.targets.all(each, has(each.kind) && each.kind != 'Ingress')",
    "message": "an Ingress cannot tell testers from users, for it matches no headers: leave out bypass, or lead to the "
    "application by an HTTPRoute or an IngressRoute and name that",
}
_OVERLAYS: Final[Rule] = {
    "rule": "self.strategy != 'Overlay' || self.targets.all(each, !has(each.kind) || each.kind != 'HTTPRoute')",
    "message": "an HTTPRoute has no priority by which a page could lie over it: use the strategy BackendSwap for it",
}
