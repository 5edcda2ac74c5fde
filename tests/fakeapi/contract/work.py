"""Checks of what runs: Jobs and their Pods, Deployments and the endpoints of their Services.

Every one takes an `image` fixture besides `api`: an image with Python that the cluster has. The fake's outcomes for
the Jobs of these checks stand in `SIMULATED`.
"""

from fakeapi.behaviours import Behaviour, Finish, ImagePullError, NeverFinish
from fakeapi.contract.api import Answer, Api
from fakeapi.objects import Json

_JOBS, _PODS = "batch/v1/jobs", "v1/pods"
_ABSENT = "localhost/no-such-image:never"

SIMULATED: dict[str, Behaviour] = {
    "succeeds": Finish(outcome=lambda _: (0, "well done")),
    "fails": Finish(outcome=lambda _: (3, "too bad")),
    "talks": Finish(outcome=lambda _: (0, "a" * 5000 + "b")),
    "hangs": NeverFinish(),
    "suspended": Finish(),
    "imageless": ImagePullError(),
}
"""How the simulated Jobs of these checks fare, by name."""


def _says(text: str, exit_code: int = 0) -> str:
    return f"open('/dev/termination-log', 'w').write({text}); raise SystemExit({exit_code})"


def _job(name: str, image: str, script: str, **spec: object) -> Json:
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["python", "-c", script]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, **spec, "template": {"metadata": {"labels": {"ours": "yes"}}, "spec": pod}},
    }


async def _history(api: Api, job: Answer, end: str) -> list[Json]:
    """Return the statuses of a Job from its creation until a condition holds."""
    name = job.body["metadata"]["name"]
    statuses: list[Json] = []
    selector = f"metadata.name={name}"
    async with api.watch(api.path(_JOBS), resourceVersion=str(job.version), fieldSelector=selector) as events:
        while not statuses or end not in _holding(statuses[-1]):
            statuses.append((await events.next())["object"].get("status", {}))
    return statuses


def _holding(status: Json) -> list[str]:
    return [condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"]


async def _pods(api: Api, name: str) -> list[Json]:
    found = await api.get(api.path(_PODS), labelSelector=f"batch.kubernetes.io/job-name={name}")
    pods: list[Json] = found.body["items"]
    return pods


def _terminated(pod: Json) -> Json:
    state: Json = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


class WorkContract:
    async def test_a_job_that_succeeds_says_so_in_two_steps(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("succeeds", image, _says("'well done'")))

        history = await _history(api, job, "Complete")
        (pod,) = await _pods(api, "succeeds")

        assert [_holding(status) for status in history[-2:]] == [
            ["SuccessCriteriaMet"],
            ["SuccessCriteriaMet", "Complete"],
        ]
        assert any(status.get("active") == 1 for status in history)
        end = history[-1]
        assert end["startTime"] <= end["completionTime"]
        assert (end["succeeded"], end["ready"], end["terminating"]) == (1, 0, 0)
        assert not {"active", "failed"} & end.keys()
        assert {condition["reason"] for condition in end["conditions"]} == {"CompletionsReached"}
        assert pod["status"]["phase"] == "Succeeded"
        assert (_terminated(pod)["exitCode"], _terminated(pod)["reason"]) == (0, "Completed")
        assert _terminated(pod)["message"] == "well done"
        assert _terminated(pod)["startedAt"] <= _terminated(pod)["finishedAt"]

    async def test_the_pod_of_a_job_has_its_labels_and_its_owner(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("succeeds", image, _says("'well done'")))

        await _history(api, job, "Complete")
        (pod,) = await _pods(api, "succeeds")

        uid = job.body["metadata"]["uid"]
        assert pod["metadata"]["labels"] == {
            "ours": "yes",
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": "succeeds",
            "controller-uid": uid,
            "job-name": "succeeds",
        }
        assert pod["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": "succeeds",
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]

    async def test_a_job_that_fails_says_so_in_two_steps(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("fails", image, _says("'too bad'", 3)))

        history = await _history(api, job, "Failed")
        (pod,) = await _pods(api, "fails")

        assert [_holding(status) for status in history[-2:]] == [["FailureTarget"], ["FailureTarget", "Failed"]]
        assert history[-1]["failed"] == 1
        assert {condition["reason"] for condition in history[-1]["conditions"]} == {"BackoffLimitExceeded"}
        assert "completionTime" not in history[-1]
        assert pod["status"]["phase"] == "Failed"
        assert (_terminated(pod)["exitCode"], _terminated(pod)["reason"]) == (3, "Error")
        assert _terminated(pod)["message"] == "too bad"

    async def test_of_a_long_message_the_end_is_kept(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("talks", image, _says("'a' * 5000 + 'b'")))

        await _history(api, job, "Complete")
        (pod,) = await _pods(api, "talks")

        assert _terminated(pod)["message"] == "a" * 4095 + "b"

    async def test_a_job_past_its_deadline_fails_and_loses_its_pod(self, api: Api, image: str) -> None:
        body = _job("hangs", image, "import time; time.sleep(600)", activeDeadlineSeconds=1)
        job = await api.made(api.path(_JOBS), body)

        history = await _history(api, job, "Failed")

        assert _holding(history[-1]) == ["FailureTarget", "Failed"]
        assert {condition["reason"] for condition in history[-1]["conditions"]} == {"DeadlineExceeded"}
        assert history[-1]["failed"] == 1
        for pod in await _pods(api, "hangs"):
            await api.gone(api.path(_PODS), pod["metadata"]["name"])

    async def test_a_suspended_job_waits_without_pods(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("suspended", image, "", suspend=True))

        waiting = (await _history(api, job, "Suspended"))[-1]
        pods = await _pods(api, "suspended")
        await api.merge(api.path(_JOBS, "suspended"), {"spec": {"suspend": False}})
        history = await _history(api, job, "Complete")

        assert pods == []
        assert "startTime" not in waiting
        assert waiting["conditions"][0]["reason"] == "JobSuspended"
        resumed = next(entry for entry in history[-1]["conditions"] if entry["type"] == "Suspended")
        assert (resumed["status"], resumed["reason"]) == ("False", "JobResumed")

    async def test_a_pod_without_its_image_waits_and_says_why(self, api: Api, image: str) -> None:
        del image
        job = await api.made(api.path(_JOBS), _job("imageless", _ABSENT, ""))
        selector = "batch.kubernetes.io/job-name=imageless"
        states: list[Json] = []

        async with api.watch(api.path(_PODS), labelSelector=selector) as events:
            while not any(state.get("waiting", {}).get("reason", "").startswith("ErrImagePull") for state in states):
                pod = (await events.next())["object"]
                states = [entry["state"] for entry in pod["status"].get("containerStatuses", [])]

        assert pod["status"]["phase"] == "Pending"
        assert states[0]["waiting"]["message"]
        status = (await api.get(api.path(_JOBS, "imageless"))).body["status"]
        assert (status["active"], status["ready"]) == (1, 0)
        assert int(pod["metadata"]["resourceVersion"]) > job.version

    async def test_pods_go_with_their_job_when_the_client_says_so(self, api: Api, image: str) -> None:
        job = await api.made(api.path(_JOBS), _job("succeeds", image, _says("'well done'")))
        await _history(api, job, "Complete")
        (pod,) = await _pods(api, "succeeds")

        await api.delete(api.path(_JOBS, "succeeds"), propagationPolicy="Background")

        await api.gone(api.path(_PODS), pod["metadata"]["name"])

    async def test_a_deployment_becomes_available_and_its_service_gets_endpoints(self, api: Api, image: str) -> None:
        server = {
            "name": "main",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-m", "http.server", "8080", "--directory", "/tmp"],  # noqa: S108 -- in a container
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
        }
        labels = {"app": "page"}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "page"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [server]},
                },
            },
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "page", "labels": {"ours": "yes"}},
            "spec": {"selector": labels, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
        }
        slices = api.path("discovery.k8s.io/v1/endpointslices")

        await api.made(api.path("v1/services"), service)
        made = await api.made(api.path("apps/v1/deployments"), deployment)
        async with api.watch(
            slices, resourceVersion=str(made.version - 1), labelSelector="kubernetes.io/service-name=page"
        ) as events:
            found: Json = {}
            while not any(entry["conditions"].get("ready") for entry in found.get("endpoints") or []):
                found = (await events.next())["object"]
        status = await _available(api, made)

        assert found["metadata"]["labels"].items() >= {"ours": "yes", "kubernetes.io/service-name": "page"}.items()
        assert found["metadata"]["ownerReferences"][0]["name"] == "page"
        assert found["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
        assert found["endpoints"][0]["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert (status["observedGeneration"], status["availableReplicas"], status["readyReplicas"]) == (1, 1, 1)

    async def test_a_service_without_pods_has_a_slice_without_endpoints(self, api: Api, image: str) -> None:
        del image
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "empty"},
            "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]},
        }

        await api.made(api.path("v1/services"), service)
        slices = api.path("discovery.k8s.io/v1/endpointslices")
        async with api.watch(slices, labelSelector="kubernetes.io/service-name=empty") as events:
            found = (await events.next())["object"]

        assert (found["endpoints"], found["ports"]) == (None, None)


async def _available(api: Api, deployment: Answer) -> Json:
    name = deployment.body["metadata"]["name"]
    async with api.watch(
        api.path("apps/v1/deployments"),
        resourceVersion=str(deployment.version),
        fieldSelector=f"metadata.name={name}",
    ) as events:
        while True:
            status: Json = (await events.next())["object"].get("status", {})
            if "Available" in _holding(status) and status["conditions"][-1]["reason"] == "NewReplicaSetAvailable":
                return status
