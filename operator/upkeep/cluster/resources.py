"""The kinds of object that Upkeep talks about, and their places in the API."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from upkeep.api import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: `Resource("batch", "v1", "jobs", "Job")`."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


TASKS: Final = Resource(GROUP, VERSION, "maintenancetasks", "MaintenanceTask")
WINDOWS: Final = Resource(GROUP, VERSION, "maintenancewindows", "MaintenanceWindow")
BACKUPS: Final = Resource(GROUP, VERSION, "backuppolicies", "BackupPolicy")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
INGRESSES: Final = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
INGRESS_CLASSES: Final = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
INGRESS_ROUTES: Final = Resource("traefik.io", "v1alpha1", "ingressroutes", "IngressRoute")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENTS: Final = Resource("", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

OWNERS: Final = (TASKS, WINDOWS, BACKUPS)
"""The custom resources that are reconciled."""

ROUTES: Final = (HTTP_ROUTES, INGRESS_ROUTES)
"""What can be put into maintenance mode besides Ingresses; a cluster may not know these kinds."""

TARGETS: Final = {resource.kind: resource for resource in (INGRESSES, *ROUTES)}
"""What can be put into maintenance mode, by kind."""

BY_KIND: Final = {
    resource.kind: resource
    for resource in (TASKS, WINDOWS, BACKUPS, JOBS, PODS, INGRESSES, *ROUTES, DEPLOYMENTS, SERVICES, CONFIG_MAPS)
}
