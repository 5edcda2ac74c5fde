"""Checks of what the server fills in."""

from fakeapi.contract.api import Api
from fakeapi.objects import Json

_FILLED_CONTAINER = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_FILLED_POD = {
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_POD = {
    "restartPolicy": "Never",
    "serviceAccountName": "nobody",
    "containers": [
        {
            "name": "main",
            "image": "example.invalid:5000/main:1",
            "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        },
        {"name": "side", "image": "example.invalid/side"},
    ],
    "volumes": [
        {"name": "config", "configMap": {"name": "x"}},
        {"name": "secret", "secret": {"secretName": "x"}},
        {"name": "scratch"},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ],
}
_FILLED_TEMPLATE = {
    **_FILLED_POD,
    "restartPolicy": "Never",
    "serviceAccountName": "nobody",
    "serviceAccount": "nobody",
    "containers": [
        {
            **_FILLED_CONTAINER,
            "name": "main",
            "image": "example.invalid:5000/main:1",
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "readinessProbe": {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        },
        {**_FILLED_CONTAINER, "name": "side", "image": "example.invalid/side", "imagePullPolicy": "Always"},
    ],
    "volumes": [
        {"name": "config", "configMap": {"name": "x", "defaultMode": 420}},
        {"name": "secret", "secret": {"secretName": "x", "defaultMode": 420}},
        {"name": "scratch", "emptyDir": {}},
        {
            "name": "token",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                "defaultMode": 420,
            },
        },
    ],
}


def _object(api_version: str, kind: str, spec: Json) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "one"}, "spec": spec}


class DefaultContract:
    async def test_a_job_gets_its_selector_its_labels_and_a_full_template(self, api: Api) -> None:
        body = _object("batch/v1", "Job", {"suspend": True, "template": {"spec": _POD}})

        made = await api.made(api.path("batch/v1/jobs"), body)

        uid = made.body["metadata"]["uid"]
        labels = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": "one",
            "controller-uid": uid,
            "job-name": "one",
        }
        spec = made.body["spec"]
        template = spec.pop("template")
        assert spec == {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 6,
            "completionMode": "NonIndexed",
            "suspend": True,
            "manualSelector": False,
            "podReplacementPolicy": "TerminatingOrFailed",
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
        }
        assert template == {"metadata": {"labels": labels}, "spec": _FILLED_TEMPLATE}
        assert made.body["metadata"]["labels"] == labels
        assert made.body["status"] == {}

    async def test_a_job_with_labels_keeps_just_its_own(self, api: Api) -> None:
        body = _object("batch/v1", "Job", {"suspend": True, "template": {"spec": _POD}})
        body["metadata"]["labels"] = {"ours": "yes"}

        made = await api.made(api.path("batch/v1/jobs"), body)

        assert made.body["metadata"]["labels"] == {"ours": "yes"}

    async def test_a_deployment_gets_a_strategy_and_a_full_template(self, api: Api) -> None:
        template = {"metadata": {"labels": {"app": "one"}}, "spec": {**_POD, "restartPolicy": "Always"}}
        body = _object(
            "apps/v1",
            "Deployment",
            {"replicas": 0, "selector": {"matchLabels": {"app": "one"}}, "template": template},
        )

        made = await api.made(api.path("apps/v1/deployments"), body)

        assert made.body["spec"] == {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "one"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"labels": {"app": "one"}},
                "spec": {**_FILLED_TEMPLATE, "restartPolicy": "Always"},
            },
        }

    async def test_a_service_gets_an_address_and_keeps_it(self, api: Api) -> None:
        services = api.path("v1/services")
        body = _object("v1", "Service", {"selector": {"app": "one"}, "ports": [{"port": 80}]})

        made = await api.made(services, body)
        replaced = await api.put(f"{services}/one", body)

        spec = made.body["spec"]
        address = spec["clusterIP"]
        assert spec == {
            "selector": {"app": "one"},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        }
        assert made.body["status"] == {"loadBalancer": {}}
        assert (replaced.code, replaced.body["spec"]["clusterIP"]) == (200, address)
        assert replaced.version == made.version

    async def test_an_ingress_and_a_claim_get_hardly_anything(self, api: Api) -> None:
        backend = {"service": {"name": "x", "port": {"number": 80}}}
        ingress = _object("networking.k8s.io/v1", "Ingress", {"defaultBackend": backend})
        claim = _object(
            "v1",
            "PersistentVolumeClaim",
            {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "no"},
        )

        ingress_made = await api.made(api.path("networking.k8s.io/v1/ingresses"), ingress)
        claim_made = await api.made(api.path("v1/persistentvolumeclaims"), claim)

        assert {key: value for key, value in ingress_made.body["spec"].items() if key != "ingressClassName"} == {
            "defaultBackend": backend
        }
        assert ingress_made.body["status"] == {"loadBalancer": {}}
        assert claim_made.body["spec"] == {**claim["spec"], "volumeMode": "Filesystem"}
        assert claim_made.body["status"] == {"phase": "Pending"}

    async def test_an_endpoint_slice_has_named_ports_or_none(self, api: Api) -> None:
        slices = api.path("discovery.k8s.io/v1/endpointslices")
        body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        full = {"endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}]}

        one = await api.made(slices, {**body, **full, "metadata": {"name": "one"}})
        two = await api.made(slices, {**body, "endpoints": [], "metadata": {"name": "two"}})

        assert one.body["endpoints"] == [{"addresses": ["10.1.2.3"], "conditions": {}}]
        assert one.body["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
        assert (two.body["endpoints"], two.body["ports"]) == (None, None)
