"""Maintenance mode of a window: what is put on a page, and what the page says."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Model, ObjectName, OneOf, Rule
from upkeep.api import GROUP
from upkeep.api.selector import LabelSelector
from upkeep.api.window.page import Page

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


class MaintenanceMode(Model):
    """Ingresses and routes that answer 503 with a page while the window is active, and go back exactly as they were."""

    targets: Annotated[list[Target], Field(min_length=1, max_length=1000)]
    """The Ingresses and routes."""
    page: Page = Page()
    """What users see meanwhile."""
