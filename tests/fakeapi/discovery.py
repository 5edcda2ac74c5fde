"""What the server says about itself: version, groups and resources.

It exists because clients look before they list. It must never offer what the handlers do not serve.
"""

from fakeapi.objects import Json
from fakeapi.resources import Catalogue, ResourceType

VERSION: Json = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.4",
    "gitCommit": "fake",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})


def document(catalogue: Catalogue, path: str) -> Json | str | None:
    """Return what a path outside the resources holds: JSON, plain text, or None for nothing.

    Args:
        catalogue: the kinds that the server offers.
        path: path of the URL.
    """
    if path in _HEALTH:
        return "ok"
    match path.strip("/").split("/"):
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = [_group(catalogue, name) for name in _groups(catalogue)]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in _groups(catalogue):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(catalogue, group)}
        case ["api", version]:
            return _resources(catalogue, "", version)
        case ["apis", group, version]:
            return _resources(catalogue, group, version)
        case _:
            return None


def definitions(catalogue: Catalogue) -> list[Json]:
    """Return the CustomResourceDefinitions of the custom kinds, without their schemas."""
    return [_definition(resource) for resource in catalogue.types if resource.custom]


def _groups(catalogue: Catalogue) -> list[str]:
    return list(dict.fromkeys(resource.group for resource in catalogue.types if resource.group))


def _group(catalogue: Catalogue, name: str) -> Json:
    versions = dict.fromkeys(resource.version for resource in catalogue.types if resource.group == name)
    known = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": known, "preferredVersion": known[0]}


def _resources(catalogue: Catalogue, group: str, version: str) -> Json | None:
    found = [kind for kind in catalogue.types if (kind.group, kind.version) == (group, version)]
    if not found:
        return None
    entries = [entry for resource in found for entry in _entries(resource)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entries(resource: ResourceType) -> list[Json]:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    status = {
        "name": f"{resource.plural}/status",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["get", "patch", "update"],
    }
    return [entry, status] if resource.status and not resource.read_only else [entry]


def _definition(resource: ResourceType) -> Json:
    names = {
        "plural": resource.plural,
        "singular": resource.kind.lower(),
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    version = {"name": resource.version, "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "metadata": {"name": resource.qualified},
        "spec": {"group": resource.group, "names": names, "scope": "Namespaced", "versions": [version]},
        "status": {
            "acceptedNames": names,
            "storedVersions": [resource.version],
            "conditions": [
                {"type": kind, "status": "True", "reason": reason, "message": ""}
                for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
            ],
        },
    }
