"""What the tests put into a namespace, as small as it can be."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cluster.kubectl import Object
from upkeep.api import API_VERSION

USER: Final = 65532
"""Known by name in the shop's image, as initdb wants it."""
_LOCKED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_POD_SECURITY: Final = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_POSTGRES: Final = """
set -eu
initdb --username=postgres --pwfile=/run/secrets/db/password --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions
printf 'host %s all all scram-sha-256\\n' all replication >>"$PGDATA/pg_hba.conf"
printf 'CREATE TABLE orders (number int)\\nINSERT INTO orders SELECT generate_series(1, 1000)\\n' |
    postgres --single -D "$PGDATA" postgres >/dev/null
exec postgres --listen_addresses='*' --unix_socket_directories=/tmp --fsync=off --max_connections=50
"""


def resource(kind: str, name: str, spec: Object, **annotations: str) -> Object:
    """A custom resource of ours; `run_now` among the annotations stands for upkeep.dev/run-now."""
    named = {f"upkeep.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": name, **({"annotations": named} if named else {})}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def task(name: str, *steps: Object, run_now: str = "first", **spec: object) -> Object:
    """A MaintenanceTask that runs as soon as it is made; `run_now=""` for one that waits."""
    asked = {"run_now": run_now} if run_now else {}
    return resource("MaintenanceTask", name, {**spec, **({"steps": list(steps)} if steps else {})}, **asked)


def window(name: str, **spec: object) -> Object:
    """A MaintenanceWindow."""
    return resource("MaintenanceWindow", name, spec)


def soon(seconds: float) -> str:
    """An instant so many seconds from now, in whole seconds, as a spec has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def script(image: str, text: str, **job: object) -> Object:
    """A custom `job` that runs a shell script."""
    small = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}}
    command = ["/bin/sh", "-c", text]
    return {"image": image, "command": command, "runAsUser": USER, "resources": small, **job}


def secret(name: str, **values: str) -> Object:
    """A Secret; `_` in a key's name stands for a dot."""
    data = {key.replace("_", "."): value for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def connection(name: str, *, login: str, host: str = "db", port: int = 5432, database: str = "postgres") -> Object:
    """A connection to a PostgreSQL server with the credentials in the Secret `login`."""
    return {
        "name": name,
        "postgres": {"host": host, "port": port, "database": database, "secretRef": {"name": login}},
    }


def service(name: str, port: int, *, app: str = "", target: int = 0) -> Object:
    """A Service in front of the Pods whose label `app` is its name, at the same port, unless said otherwise."""
    spec = {"selector": {"app": app or name}, "ports": [{"name": "main", "port": port, "targetPort": target or port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ingress(name: str, *, host: str, service: str, class_name: str = "") -> Object:
    """An Ingress, of the default class unless said otherwise, that leads everything of a host to a Service."""
    backend = {"service": {"name": service, "port": {"name": "main"}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "labels": {"team": "shop"}, "annotations": {"example.com/owner": "Shop team"}},
        "spec": {"rules": [rule]} | ({"ingressClassName": class_name} if class_name else {}),
    }


def http_route(name: str, *, host: str, service: str, gateway: str = "contour", port: int = 8000) -> Object:
    """An HTTPRoute of one of the lab's Gateways that leads a host to a Service, but for a redirect of its own."""
    rules = [
        {
            "matches": [{"path": {"type": "Exact", "value": "/old"}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.localhost"}}],
        },
        {"backendRefs": [{"name": service, "port": port}]},
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "labels": {"team": "shop"}, "annotations": {"example.com/owner": "Shop team"}},
        "spec": {"parentRefs": [{"name": gateway, "namespace": "upkeep-lab"}], "hostnames": [host], "rules": rules},
    }


def ingress_route(name: str, *, host: str, service: str, port: int = 8000) -> Object:
    """Traefik's IngressRoute that leads everything of a host to a Service."""
    route = {"kind": "Rule", "match": f"Host(`{host}`)", "services": [{"name": service, "port": port}]}
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "IngressRoute",
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {"entryPoints": ["web"], "routes": [route]},
    }


def postgres_server(image: str, *, login: str) -> list[Object]:
    """A PostgreSQL `db` with a table `orders`; the Secret `login` has its superuser's `password`."""
    container = {
        "name": "postgres",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", _POSTGRES],
        "env": [{"name": "PGDATA", "value": "/data/main"}],
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "--host=127.0.0.1", "--quiet"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "login", "mountPath": "/run/secrets/db", "readOnly": True},
        ],
    }
    volumes: list[Object] = [{"name": "data", "emptyDir": {}}, {"name": "login", "secret": {"secretName": login}}]
    return [service("db", 5432), pod("db", container, volumes=volumes)]


def redis_server(image: str, *, login: str) -> list[Object]:
    """A Redis `cache`; the Secret `login` has its `password`."""
    start = 'sed \'s/["\\\\]/\\\\&/g; s/.*/requirepass "&"/\' /run/secrets/cache/password | redis-server - --port 6379'
    container = {
        "name": "redis",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", f"cd /tmp && {start} --save '' --bind '*'"],
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "volumeMounts": [{"name": "login", "mountPath": "/run/secrets/cache", "readOnly": True}],
    }
    volumes: list[Object] = [{"name": "login", "secret": {"secretName": login}}]
    return [service("cache", 6379), pod("cache", container, volumes=volumes)]


def web_server(image: str, name: str) -> list[Object]:
    """A web server that answers 200 with a list of files."""
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "http.server", "8000", "--directory=/usr/share"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1, "timeoutSeconds": 5},
    }
    return [service(name, 8000), pod(name, container)]


def idle_pod(**spec: Any) -> Object:  # noqa: ANN401 - fields of a spec
    """The spec of a Pod that no scheduler looks at, so that it is there and runs nothing."""
    container = {"name": "main", "image": "localhost/none", **spec.pop("container", {})}
    return {"schedulerName": "nobody", "containers": [container], **spec}


def pod(name: str, container: Object, *, volumes: list[Object] | None = None) -> Object:
    """A Pod with one container that passes `restricted`, labelled `app` for its Service."""
    room = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": _POD_SECURITY,
            "containers": [{"resources": room, "securityContext": _LOCKED, **container}],
            "volumes": volumes or [],
        },
    }
