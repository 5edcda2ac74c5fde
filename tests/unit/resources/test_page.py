"""What a maintenance page consists of, and when it is ready to be shown."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upkeep.api.window import Branding, Page, Translation
from upkeep.domain.identity import Identity
from upkeep.resources.page import (
    BRAND_DIRECTORY,
    CONTENT_DIRECTORY,
    CONTENT_FILE,
    PAGE_PORT,
    page_name,
    page_objects,
    page_ready,
)

WINDOW = Identity(kind="MaintenanceWindow", namespace="shop", name="sunday-night", uid="4f7d1f0e-uid")
UNTIL = datetime(2026, 11, 29, 4, tzinfo=UTC)
IMAGE = "registry.example.com/upkeep@sha256:0123"


def built(**changes: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - whatever page_objects takes
    arguments: dict[str, Any] = {"window": WINDOW, "page": Page(), "until": UNTIL, "image": IMAGE} | changes
    return {item["kind"]: item for item in page_objects(**arguments)}


def pod(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever page_objects takes
    spec: dict[str, Any] = built(**changes)["Deployment"]["spec"]["template"]["spec"]
    return spec


def test_content_comes_before_what_mounts_it() -> None:
    assert [item["kind"] for item in page_objects(window=WINDOW, page=Page(), until=UNTIL, image=IMAGE)] == [
        "ConfigMap",
        "Service",
        "Deployment",
    ]


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Deployment"])
def test_everything_belongs_to_the_window_and_says_so(kind: str) -> None:
    metadata = built()[kind]["metadata"]

    assert metadata["name"] == page_name(WINDOW.name, WINDOW.uid)
    assert metadata["namespace"] == "shop"
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "upkeep",
        "app.kubernetes.io/component": "maintenance-page",
        "upkeep.dev/owner-kind": "MaintenanceWindow",
        "upkeep.dev/owner-name": "sunday-night",
        "upkeep.dev/owner-uid": WINDOW.uid,
    }
    (owner,) = metadata["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"], owner["uid"]) == (
        "upkeep.dev/v1alpha1",
        "MaintenanceWindow",
        WINDOW.uid,
    )


def test_the_service_leads_to_the_pods_and_to_no_others() -> None:
    objects = built()
    template = objects["Deployment"]["spec"]["template"]
    selector = objects["Service"]["spec"]["selector"]
    (port,) = objects["Service"]["spec"]["ports"]

    assert selector.items() <= template["metadata"]["labels"].items()
    assert selector["upkeep.dev/owner-uid"] == WINDOW.uid
    assert objects["Deployment"]["spec"]["selector"]["matchLabels"] == selector
    assert port["port"] == PAGE_PORT
    assert port["targetPort"] in {named["name"] for named in template["spec"]["containers"][0]["ports"]}


def test_an_extended_window_changes_the_content_and_no_pod() -> None:
    before, after = built(), built(until=datetime(2026, 11, 29, 5, tzinfo=UTC), page=Page(title="Still at it"))

    assert before["Deployment"] == after["Deployment"]
    assert before["Service"] == after["Service"]
    assert json.loads(after["ConfigMap"]["data"][CONTENT_FILE]) == {
        "title": "Still at it",
        "message": "We are working on it and will be back soon.",
        "language": "en",
        "translations": [],
        "until": "2026-11-29T05:00:00Z",
        "window": "sunday-night",
    }


def test_the_content_is_mounted_as_a_directory_because_single_files_are_never_updated() -> None:
    spec = pod()
    (mount,) = spec["containers"][0]["volumeMounts"]

    assert mount["mountPath"] == CONTENT_DIRECTORY
    assert "subPath" not in mount
    assert spec["volumes"] == [{"name": mount["name"], "configMap": {"name": built()["ConfigMap"]["metadata"]["name"]}}]


def test_the_pods_pass_the_restricted_pod_security_standard_and_cannot_talk_to_the_cluster() -> None:
    spec = pod()
    (container,) = spec["containers"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_the_pods_run_the_page_of_the_operators_image_and_are_probed_beside_it() -> None:
    (container,) = pod()["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    assert container["image"] == IMAGE
    assert container["args"] == ["page"]
    assert ports == {"http": 8080, "health": 8081}
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}


def test_replicas_are_as_asked_for() -> None:
    assert built()["Deployment"]["spec"]["replicas"] == 2
    assert built(replicas=1)["Deployment"]["spec"]["replicas"] == 1


@given(
    name=st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", fullmatch=True),
    uid=st.uuids().map(str),
)
def test_every_window_name_gives_a_name_that_a_service_may_have(name: str, uid: str) -> None:
    made = page_name(name, uid)

    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", made)
    assert made == page_name(name, uid)
    assert made != page_name(name, uid + "x"), "a window that is made anew under the same name has a page of its own"


READY, NOT_READY = {"ready": True}, {"ready": False}


def endpoint_slice(*conditions: dict[str, bool]) -> dict[str, Any]:
    return {"endpoints": [{"addresses": ["10.85.0.9"], "conditions": each} for each in conditions]}


@pytest.mark.parametrize(
    ("slices", "ready"),
    [
        ([], False),
        ([{"endpoints": None}], False),
        ([endpoint_slice()], False),
        ([endpoint_slice(NOT_READY, NOT_READY)], False),
        ([endpoint_slice(NOT_READY), endpoint_slice(NOT_READY, READY)], True),
        ([endpoint_slice({})], True),
        ([{"endpoints": [{"addresses": [], "conditions": {"ready": True}}]}], False),
        ([{"endpoints": [{"addresses": ["10.85.0.9"]}]}], True),
    ],
    ids=["no slice", "null", "no endpoint", "none ready", "one ready", "not said", "no address", "no conditions"],
)
def test_the_page_is_ready_when_one_endpoint_is(slices: list[dict[str, Any]], ready: bool) -> None:  # noqa: FBT001 - pytest passes it
    assert page_ready(slices) is ready


def test_a_branding_is_mounted_as_it_is_and_may_be_missing() -> None:
    branded = built(page=Page(branding=Branding(config_map_name="our-brand")))
    template = branded["Deployment"]["spec"]["template"]["spec"]

    source = next(volume["configMap"] for volume in template["volumes"] if volume["name"] == "brand")
    assert (source["name"], source["optional"]) == ("our-brand", True)
    assert {item["key"] for item in source["items"]} == {"name", "accentColor", "logo.svg", "logo.png"}
    (container,) = template["containers"]
    assert {"name": "brand", "mountPath": BRAND_DIRECTORY, "readOnly": True} in container["volumeMounts"]


def test_the_page_is_told_every_language() -> None:
    page = Page(language="de", translations=[Translation(language="fr", title="Déménagement")])

    content = json.loads(built(page=page)["ConfigMap"]["data"][CONTENT_FILE])

    assert content["language"] == "de"
    assert content["translations"] == [{"language": "fr", "title": "Déménagement", "message": ""}]
