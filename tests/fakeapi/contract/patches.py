"""Checks of patches, subresources and generations."""

from fakeapi.contract.api import Api, config_map, widget
from fakeapi.patch import APPLY_PATCH, JSON_PATCH, STRATEGIC_MERGE_PATCH

_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "one"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "one"}},
        "template": {
            "metadata": {"labels": {"app": "one"}},
            "spec": {"containers": [{"name": "main", "image": "example.invalid/one:1"}]},
        },
    },
}


class PatchContract:
    async def test_a_merge_patch_merges_objects_replaces_lists_and_removes_nulls(self, api: Api) -> None:
        await api.made(api.widgets, widget("one", labels={"a": "1", "b": "2"}))

        answer = await api.merge(
            api.widget("one"),
            {"metadata": {"labels": {"a": None}}, "spec": {"parts": ["c"], "colours": {"back": "blue"}}},
        )

        assert answer.code == 200
        assert answer.body["metadata"]["labels"] == {"b": "2"}
        assert answer.body["spec"] == {"size": 1, "parts": ["c"], "colours": {"front": "red", "back": "blue"}}

    async def test_a_patch_that_changes_nothing_is_no_write(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))

        merged = await api.merge(api.widget("one"), {"spec": {"size": 1}})
        patched = await api.json_patch(api.widget("one"), {"op": "replace", "path": "/spec/size", "value": 1})
        replaced = await api.put(api.widget("one"), made.body)

        assert [answer.version for answer in (merged, patched, replaced)] == [made.version] * 3

    async def test_a_merge_patch_with_another_version_conflicts(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))

        stale = await api.merge(api.widget("one"), {"metadata": {"resourceVersion": "1"}, "spec": {"size": 2}})
        right = await api.merge(
            api.widget("one"), {"metadata": {"resourceVersion": str(made.version)}, "spec": {"size": 2}}
        )

        assert (stale.code, stale.body["reason"]) == (409, "Conflict")
        assert right.code == 200

    async def test_a_json_patch_tests_before_it_changes(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))
        version = str(made.version)

        right = await api.json_patch(
            api.widget("one"),
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec/parts/0", "value": "z"},
            {"op": "add", "path": "/metadata/annotations", "value": {"upkeep.dev/undo": "{}"}},
        )
        stale = await api.json_patch(
            api.widget("one"),
            {"op": "replace", "path": "/spec/size", "value": 9},
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        )

        assert (right.code, right.body["spec"]["parts"]) == (200, ["z", "b"])
        assert right.body["metadata"]["annotations"] == {"upkeep.dev/undo": "{}"}
        assert (stale.code, stale.body["reason"], stale.body["details"]) == (422, "Invalid", {})
        assert stale.body["message"] == "the server rejected our request due to an error in our request"
        assert (await api.get(api.widget("one"))).body == right.body

    async def test_a_json_patch_escapes_slashes_in_names(self, api: Api) -> None:
        await api.made(api.widgets, widget("one", annotations={"upkeep.dev/undo": "1", "b": "2"}))

        answer = await api.json_patch(
            api.widget("one"), {"op": "remove", "path": "/metadata/annotations/upkeep.dev~1undo"}
        )

        assert answer.body["metadata"]["annotations"] == {"b": "2"}

    async def test_a_json_patch_needs_its_paths(self, api: Api) -> None:
        await api.made(api.widgets, widget("one"))

        absent = await api.json_patch(api.widget("one"), {"op": "remove", "path": "/spec/none"})
        orphan = await api.json_patch(api.widget("one"), {"op": "add", "path": "/spec/none/x", "value": 1})
        shapeless = await api.request("PATCH", api.widget("one"), {"spec": {}}, content_type=JSON_PATCH)
        senseless = await api.request("PATCH", api.widget("one"), [1], content_type=JSON_PATCH)
        missing = await api.json_patch(api.widget("none"), {"op": "add", "path": "/spec/x", "value": 1})

        assert [answer.code for answer in (absent, orphan, shapeless, senseless, missing)] == [422, 422, 400, 400, 404]

    async def test_a_json_patch_can_test_that_something_is_not_there(self, api: Api) -> None:
        await api.made(api.widgets, widget("one", annotations={"a": "b"}))
        absent = {"op": "test", "path": "/metadata/annotations/undo", "value": None}
        add = {"op": "add", "path": "/metadata/annotations/undo", "value": "x"}

        first = await api.json_patch(api.widget("one"), absent, add)
        second = await api.json_patch(api.widget("one"), absent, add)
        parentless = await api.json_patch(api.widget("one"), {"op": "test", "path": "/spec/none/none", "value": None})
        beyond = await api.json_patch(api.widget("one"), {"op": "test", "path": "/spec/parts/9", "value": None})

        assert [answer.code for answer in (first, second, parentless, beyond)] == [200, 422, 422, 422]

    async def test_strategic_merge_is_for_built_in_kinds(self, api: Api) -> None:
        await api.made(api.widgets, widget("one"))
        configs = api.path("v1/configmaps")
        await api.made(configs, config_map("one"))

        refused = await api.request("PATCH", api.widget("one"), {}, content_type=STRATEGIC_MERGE_PATCH)
        merged = await api.request(
            "PATCH", f"{configs}/one", {"data": {"more": "x"}}, content_type=STRATEGIC_MERGE_PATCH
        )

        assert (refused.code, refused.body["reason"]) == (415, "UnsupportedMediaType")
        assert merged.body["data"] == {"key": "value", "more": "x"}

    async def test_server_side_apply_creates_then_merges(self, api: Api) -> None:
        config = {key: value for key, value in widget("one").items() if key != "status"}
        path = api.widget("one")

        nobody = await api.request("PATCH", path, config, content_type=APPLY_PATCH)
        made = await api.request("PATCH", path, config, content_type=APPLY_PATCH, fieldManager="app")
        again = await api.request("PATCH", path, config, content_type=APPLY_PATCH, fieldManager="app")
        config["spec"] = {**widget("one")["spec"], "size": 2}
        changed = await api.request("PATCH", path, config, content_type=APPLY_PATCH, fieldManager="app")

        assert (nobody.code, nobody.body["reason"]) == (422, "Invalid")
        assert (made.code, again.code, again.version) == (201, 200, made.version)
        assert (changed.code, changed.body["spec"]["size"]) == (200, 2)
        assert [entry["operation"] for entry in changed.body["metadata"]["managedFields"]] == ["Apply"]

    async def test_the_status_changes_only_through_its_subresource(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one", labels={"a": "1"}))

        main = await api.merge(api.widget("one"), {"status": {"phase": "Real"}})
        status = await api.merge(
            api.widget("one", "status"),
            {"metadata": {"labels": {"a": "2"}}, "spec": {"size": 9}, "status": {"phase": "Real"}},
        )
        replaced = await api.put(api.widget("one", "status"), {**status.body, "status": {"phase": "Done"}})
        read = await api.get(api.widget("one", "status"))

        assert (main.code, main.version) == (200, made.version)
        assert status.body["status"] == {"phase": "Real"}
        assert status.body["spec"] == made.body["spec"]
        assert status.body["metadata"]["labels"] == {"a": "1"}
        assert status.body["metadata"]["generation"] == 1
        assert replaced.body["status"] == {"phase": "Done"}
        assert read.body == replaced.body

    async def test_a_status_is_written_with_its_version(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))
        await api.merge(api.widget("one", "status"), {"status": {"phase": "Real"}})

        stale = await api.merge(
            api.widget("one", "status"),
            {"metadata": {"resourceVersion": str(made.version)}, "status": {"phase": "Late"}},
        )

        assert (stale.code, stale.body["reason"]) == (409, "Conflict")

    async def test_the_generation_counts_changes_of_the_spec(self, api: Api) -> None:
        await api.made(api.widgets, widget("one"))

        labelled = await api.merge(api.widget("one"), {"metadata": {"labels": {"a": "b"}}})
        resized = await api.merge(api.widget("one"), {"spec": {"size": 2}})

        assert labelled.body["metadata"]["generation"] == 1
        assert resized.body["metadata"]["generation"] == 2

    async def test_the_generation_of_a_deployment_counts_annotations_too(self, api: Api) -> None:
        deployments = api.path("apps/v1/deployments")
        await api.made(deployments, _DEPLOYMENT)

        annotated = await api.merge(f"{deployments}/one", {"metadata": {"annotations": {"a": "b"}}})
        labelled = await api.merge(f"{deployments}/one", {"metadata": {"labels": {"a": "b"}}})

        assert annotated.body["metadata"]["generation"] == 2
        assert labelled.body["metadata"]["generation"] == 2

    async def test_some_kinds_have_no_generation(self, api: Api) -> None:
        made = await api.made(api.path("v1/configmaps"), config_map("one"))

        assert "generation" not in made.body["metadata"]
