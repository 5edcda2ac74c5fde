"""The kinds that the fake serves and how the real server's storage strategy treats each of them.

It exists so that every deviation between kinds is one word in one table. It must never hold objects.
"""

from dataclasses import dataclass
from enum import Enum

from fakeapi.errors import NoSuchKindError


class Generation(Enum):
    """Which changes raise `metadata.generation`, by kind as in the real server."""

    NONE = "the kind has no generation"
    SPEC = "any change outside metadata and status"
    SPEC_AND_ANNOTATIONS = "as SPEC, and annotations (Deployments)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """One kind of object that the server offers.

    Attributes:
        group: API group, empty for the core group.
        version: API version inside the group.
        plural: name in URLs.
        kind: name in objects.
        namespaced: whether objects live in namespaces.
        short_names: short names shown by discovery.
        categories: categories shown by discovery.
        status: whether there is a `/status` subresource; the main endpoint then ignores `status`.
        generation: which changes raise `metadata.generation`.
        unconditional_update: whether PUT without a resourceVersion overwrites (else it is refused with 422).
        create_on_update: whether PUT of a name that does not exist creates it.
        orphans_dependents: whether DELETE without a propagation policy leaves dependents alone (batch/v1 Jobs).
        returns_deleted: whether DELETE answers with the object instead of a Status.
        custom: whether the kind comes from a CRD: lists carry the type of each item, strategic merge is refused.
        read_only: whether HTTP clients may only get, list and watch it.
        selectable: field selectors offered besides `metadata.name` and `metadata.namespace`.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    generation: Generation = Generation.NONE
    unconditional_update: bool = True
    create_on_update: bool = False
    orphans_dependents: bool = False
    returns_deleted: bool = False
    custom: bool = False
    read_only: bool = False
    selectable: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The `apiVersion` of objects of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with its group, as error messages name it: `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """The kind with its group, as validation messages name it: `Job.batch`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def verbs(self) -> list[str]:
        """What discovery says that a client may do."""
        if self.read_only:
            return ["get", "list", "watch"]
        collection = ["deletecollection"] if self.namespaced else []
        return ["create", "delete", *collection, "get", "list", "patch", "update", "watch"]


def custom(
    *,
    group: str,
    version: str,
    plural: str,
    kind: str,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
) -> ResourceType:
    """Describe a namespaced custom resource with a status subresource, as a CRD would.

    Args:
        group: API group.
        version: API version.
        plural: name in URLs.
        kind: name in objects.
        short_names: short names shown by discovery.
        categories: categories shown by discovery.
    """
    return ResourceType(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        short_names=short_names,
        categories=categories,
        status=True,
        generation=Generation.SPEC,
        unconditional_update=False,
        custom=True,
    )


NAMESPACES = ResourceType(
    plural="namespaces", kind="Namespace", namespaced=False, short_names=("ns",), status=True, returns_deleted=True
)
PODS = ResourceType(
    plural="pods",
    kind="Pod",
    short_names=("po",),
    categories=("all",),
    status=True,
    generation=Generation.SPEC,
    returns_deleted=True,
    selectable=("spec.nodeName", "status.phase"),
)
SERVICES = ResourceType(
    plural="services",
    kind="Service",
    short_names=("svc",),
    categories=("all",),
    status=True,
    create_on_update=True,
    returns_deleted=True,
)
EVENTS = ResourceType(
    plural="events",
    kind="Event",
    short_names=("ev",),
    create_on_update=True,
    selectable=(
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "reason",
        "type",
    ),
)
JOBS = ResourceType(
    group="batch",
    plural="jobs",
    kind="Job",
    categories=("all",),
    status=True,
    generation=Generation.SPEC,
    orphans_dependents=True,
)
DEPLOYMENTS = ResourceType(
    group="apps",
    plural="deployments",
    kind="Deployment",
    short_names=("deploy",),
    categories=("all",),
    status=True,
    generation=Generation.SPEC_AND_ANNOTATIONS,
)
ENDPOINT_SLICES = ResourceType(
    group="discovery.k8s.io", plural="endpointslices", kind="EndpointSlice", generation=Generation.SPEC
)
CRDS = ResourceType(
    group="apiextensions.k8s.io",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    status=True,
    generation=Generation.SPEC,
    read_only=True,
)

KUBERNETES: tuple[ResourceType, ...] = (
    NAMESPACES,
    PODS,
    SERVICES,
    ResourceType(plural="configmaps", kind="ConfigMap", short_names=("cm",)),
    EVENTS,
    ResourceType(
        plural="persistentvolumeclaims",
        kind="PersistentVolumeClaim",
        short_names=("pvc",),
        status=True,
        returns_deleted=True,
    ),
    JOBS,
    DEPLOYMENTS,
    ResourceType(
        group="networking.k8s.io",
        plural="ingresses",
        kind="Ingress",
        short_names=("ing",),
        status=True,
        generation=Generation.SPEC,
    ),
    ResourceType(
        group="networking.k8s.io",
        plural="ingressclasses",
        kind="IngressClass",
        namespaced=False,
        generation=Generation.SPEC,
    ),
    ENDPOINT_SLICES,
    ResourceType(
        group="coordination.k8s.io",
        plural="leases",
        kind="Lease",
        unconditional_update=False,
        create_on_update=True,
    ),
    CRDS,
)
"""What a Kubernetes server offers of itself, as far as Upkeep uses it."""

UPKEEP: tuple[ResourceType, ...] = tuple(
    custom(
        group="upkeep.dev",
        version="v1alpha1",
        plural=f"{kind.lower()}s" if not kind.endswith("y") else f"{kind.lower()[:-1]}ies",
        kind=kind,
        short_names=(short,),
        categories=("upkeep",),
    )
    for kind, short in (("MaintenanceTask", "mt"), ("MaintenanceWindow", "mw"), ("BackupPolicy", "bp"))
)
"""Upkeep's own resources."""


ROUTES: tuple[ResourceType, ...] = (
    custom(group="gateway.networking.k8s.io", version="v1", plural="httproutes", kind="HTTPRoute"),
    custom(group="traefik.io", version="v1alpha1", plural="ingressroutes", kind="IngressRoute"),
)
"""What others than Upkeep may add, and often do not."""


class Catalogue:
    """The kinds that one server offers, found by URL or by name.

    Args:
        types: the kinds; no two may share group, version and plural. Namespaces are always among them.
    """

    def __init__(self, types: tuple[ResourceType, ...]) -> None:
        self.types = types if NAMESPACES in types else (NAMESPACES, *types)
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self.types}
        self._by_name: dict[str, ResourceType] = {}
        for kind in self.types:
            for name in (kind.kind, kind.plural, kind.qualified, kind.qualified_kind):
                self._by_name.setdefault(name, kind)

    def at(self, group: str, version: str, plural: str) -> ResourceType | None:
        """Return the kind behind a URL, or None where the server has no such path."""
        return self._by_path.get((group, version, plural))

    def named(self, name: str | ResourceType) -> ResourceType:
        """Return the kind that a test means by kind, plural or either with its group.

        Raises:
            NoSuchKindError: the server does not offer it.
        """
        if isinstance(name, ResourceType):
            return name
        try:
            return self._by_name[name]
        except KeyError:
            raise NoSuchKindError(name, sorted(self._by_name)) from None
