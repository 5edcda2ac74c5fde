"""What a step can connect to, and where its credentials are.

A connection names a Secret in the namespace of its resource; there is no namespace field, so a reference can
never reach into somebody else's. The Secret is mounted as files and read by the step itself.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from upkeep.actions.fields import LabelName, Model, ObjectName, OneOf, Rule

Port = Annotated[int, Field(ge=1, le=65535)]

SAFE_URL: Final = r"(https://[^\t-\r /?#@]+|http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?)"
"""Where a token may be sent: encrypted, or not out of the Pod."""


def readable_url(url: str) -> str:
    """The URL, if it can be one: what its pattern cannot say is whether its port and brackets can be.

    Raises:
        ValueError: they cannot.
    """
    try:
        port = urlsplit(url).port
    except ValueError as error:
        msg = f"{url!r} is not a URL: {error}"
        raise ValueError(msg) from error
    if port == 0:
        msg = f"{url!r} is not a URL: there is no port 0"
        raise ValueError(msg)
    return url


class SecretReference(Model):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class SSLMode(StrEnum):
    """How far TLS is demanded and checked, as libpq names it."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class ConnectionTarget(Model):
    """What all targets share."""

    kind: ClassVar[str] = ""

    @property
    def secret_name(self) -> str | None:
        """Name of the Secret with the credentials, if there is one."""
        reference = getattr(self, "secret_ref", None)
        return reference.name if isinstance(reference, SecretReference) else None


class PostgresTarget(ConnectionTarget):
    """A PostgreSQL server and database."""

    kind: ClassVar[str] = "postgres"

    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Host name, usually the name of a Service."""
    port: Port = 5432
    """TCP port."""
    database: Annotated[str, Field(min_length=1, max_length=63)]
    """Database to connect to."""
    secret_ref: SecretReference
    """Secret with the keys `username` and `password` (type kubernetes.io/basic-auth), and `ca.crt` where
    sslMode is verify-ca or verify-full."""
    ssl_mode: SSLMode = SSLMode.PREFER
    """TLS: disable, prefer, require, verify-ca or verify-full."""


class RedisTarget(ConnectionTarget):
    """A Redis or Valkey server."""

    kind: ClassVar[str] = "redis"

    host: Annotated[str, Field(min_length=1, max_length=253)]
    """Host name, usually the name of a Service."""
    port: Port = 6379
    """TCP port."""
    database: Annotated[int, Field(ge=0, le=1023)] = 0
    """Number of the logical database."""
    tls: bool = False
    """Whether to speak TLS."""
    secret_ref: SecretReference | None = None
    """Secret with the key `password` and, with ACLs, `username`; with tls also `ca.crt` where the authority is not
    one of the system's. Left out: no authentication."""


class HTTPTarget(ConnectionTarget):
    """An HTTP server."""

    kind: ClassVar[str] = "http"

    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^\t-\r /?#@]+$"), AfterValidator(readable_url)]
    """Scheme, host and port, for example `http://shop.shop.svc`; without a path, user name or password."""
    secret_ref: SecretReference | None = None
    """Secret with the key `token` (sent as a bearer token), or the keys `username` and `password` (HTTP basic
    authentication), and `ca.crt` where the authority of an https server is not one of the system's. Left out: no
    authentication."""


class PrometheusTarget(ConnectionTarget):
    """A Prometheus, or anything that speaks its API (Thanos, Mimir, VictoriaMetrics)."""

    kind: ClassVar[str] = "prometheus"

    url: Annotated[
        str, Field(max_length=2048, pattern=r"^https?://[^\t-\r /?#@]+(/[^\t-\r ?#]*)?$"), AfterValidator(readable_url)
    ]
    """Where its user interface is, with its path prefix if it has one, for example `http://prometheus.monitoring:9090`;
    without user name or password."""
    secret_ref: SecretReference | None = None
    """Secret with the keys that an http connection's has. Left out: no authentication."""


class VolumeTarget(ConnectionTarget):
    """A volume with files."""

    kind: ClassVar[str] = "volume"

    claim_name: ObjectName
    """Name of a PersistentVolumeClaim in the same namespace. Its files have to be readable, and for steps that change
    them writable, for the group 65532, which a volume is given where its driver supports fsGroup."""
    secret_ref: SecretReference | None = None
    """Secret with the key `passphrase`, of at least 12 characters, for steps that encrypt (certificateExport)."""


_SOMETHING: Final = "a tls connection needs a host, a secretRef, or both"


class TLSTarget(ConnectionTarget):
    """A certificate: where it is served, where it is stored, or both."""

    kind: ClassVar[str] = "tls"

    host: Annotated[str | None, Field(min_length=1, max_length=253)] = None
    """Host name of the server, which speaks TLS from the first byte on."""
    port: Port = 443
    """TCP port."""
    server_name: Annotated[str | None, Field(min_length=1, max_length=253)] = None
    """Name that clients use and that the certificate has to be for. Left out: host."""
    secret_ref: SecretReference | None = None
    """Secret with the key `tls.crt` (the certificate, and after it those of its issuers) and, to see that it matches,
    `tls.key` (type kubernetes.io/tls); with `ca.crt` where the authority is not one of the system's."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """There is something to look at."""
        return ({"rule": "has(self.host) || has(self.secretRef)", "message": _SOMETHING},)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.host is None and self.secret_ref is None:
            raise ValueError(_SOMETHING)
        return self


class FirestoreTarget(ConnectionTarget):
    """A Firestore database in Google Cloud."""

    kind: ClassVar[str] = "firestore"

    project: Annotated[str, Field(max_length=128, pattern=r"^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    """Id of the project."""
    database: Annotated[str, Field(max_length=63, pattern=r"^(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$")] = (
        "(default)"
    )
    """Id of the database."""
    secret_ref: SecretReference | None = None
    """Secret with the key `key.json`, a service account's key. Left out: Workload Identity, through the metadata server
    of where the Pod runs."""
    endpoint: Annotated[str, Field(max_length=2048, pattern=f"^{SAFE_URL}$"), AfterValidator(readable_url)] = (
        "https://firestore.googleapis.com"
    )
    """Where the API answers, by https; another one for example with Private Service Connect."""


class Connection(OneOf):
    """A named server or volume that steps can use; exactly one kind of target."""

    name: LabelName
    """Name that steps refer to."""
    postgres: PostgresTarget | None = None
    """A PostgreSQL database."""
    redis: RedisTarget | None = None
    """A Redis or Valkey server."""
    http: HTTPTarget | None = None
    """An HTTP server."""
    tls: TLSTarget | None = None
    """A certificate, served or stored."""
    prometheus: PrometheusTarget | None = None
    """A Prometheus, or anything that speaks its API (Thanos, Mimir, VictoriaMetrics)."""
    volume: VolumeTarget | None = None
    """A volume with files, mounted into the Pod of the run."""
    firestore: FirestoreTarget | None = None
    """A Firestore database in Google Cloud."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The kinds of target."""
        return ("postgres", "redis", "http", "tls", "prometheus", "volume", "firestore")

    @property
    def target(self) -> ConnectionTarget:
        """The one target that is set."""
        target: ConnectionTarget = getattr(self, self.kind)
        return target

    @property
    def kind(self) -> str:
        """`postgres`, `redis`, `http`, `tls`, `prometheus`, `volume` or `firestore`."""
        return self.chosen()
