"""Maintenance mode of a window: what is put on a page, and what the page says."""

from typing import Annotated, Literal

from pydantic import Field

from upkeep.actions.fields import Model, ObjectName


class Target(Model):
    """What is put into maintenance mode."""

    kind: Literal["Ingress"] = "Ingress"
    """Kind of the object."""
    name: ObjectName
    """Its name, in the namespace of the window."""


class Page(Model):
    """What users see meanwhile."""

    title: Annotated[str, Field(min_length=1, max_length=200)] = "Down for maintenance"
    """Heading of the page."""
    message: Annotated[str, Field(max_length=2000)] = "We are working on it and will be back soon."
    """What the page says, as plain text; blank lines separate paragraphs."""


class MaintenanceMode(Model):
    """Ingresses that answer 503 with a page while the window is active, and go back exactly as they were."""

    targets: Annotated[list[Target], Field(min_length=1, max_length=1000)]
    """The Ingresses."""
    page: Page = Page()
    """What users see meanwhile."""
