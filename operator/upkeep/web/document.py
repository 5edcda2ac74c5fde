"""A page of one template, with the Content-Security-Policy that lets in what stands in it and nothing else."""

import base64
import hashlib
import re
from collections.abc import Iterable

from jinja2 import Environment, PackageLoader, StrictUndefined


class Document:
    """A template that is read once; whatever is filled in is escaped."""

    def __init__(self, template: str) -> None:
        loader = PackageLoader("upkeep.web")
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.get_template(template)
        source, _, _ = loader.get_source(environment, template)
        self._style, self._script = _element("style", source), _element("script", source)

    def render(self, **content: object) -> str:
        """The page with its content."""
        return self._template.render(**content)

    def policy(self, styles: Iterable[str] = ()) -> str:
        """The policy that the page needs: its own style and script, and these styles besides, by their hashes."""
        directives = {
            "default-src": "'none'",
            "style-src": _hashes([self._style, *styles]),
            "script-src": _hashes([self._script]),
            "img-src": "data:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in directives.items())


def _element(name: str, source: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", source, re.DOTALL)
    return found.group(1) if found else ""


def _hashes(texts: Iterable[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
