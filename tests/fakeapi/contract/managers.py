"""Checks of metadata.managedFields: who owns what, and how an entry is dropped."""

from fakeapi.contract.api import Answer, Api, widget
from fakeapi.objects import Json

_AFTER_CREATION: Json = {
    "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
    "f:spec": {".": {}, "f:colours": {".": {}, "f:front": {}}, "f:parts": {}, "f:size": {}},
}


def _owned(answer: Answer) -> dict[str, Json]:
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource")))): entry["fieldsV1"]
        for entry in answer.body["metadata"].get("managedFields", [])
    }


def _entries_without(answer: Answer, manager: str) -> list[Json]:
    return [entry for entry in answer.body["metadata"]["managedFields"] if entry["manager"] != manager]


async def _made(api: Api) -> Answer:
    answer = await api.post(api.widgets, widget("one", labels={"a": "b"}), fieldManager="team")
    assert answer.code == 201
    return answer


async def _swapped(api: Api) -> Answer:
    await _made(api)
    return await api.json_patch(
        api.widget("one"),
        {"op": "replace", "path": "/spec/parts", "value": ["page"]},
        {"op": "add", "path": "/metadata/annotations", "value": {"undo": "x"}},
        fieldManager="upkeep",
    )


class ManagerContract:
    async def test_who_creates_owns_everything(self, api: Api) -> None:
        made = await _made(api)

        assert _owned(made) == {"team Update": _AFTER_CREATION}
        entry = made.body["metadata"]["managedFields"][0]
        assert (entry["apiVersion"], entry["fieldsType"]) == ("contract.upkeep.dev/v1", "FieldsV1")

    async def test_without_a_manager_the_user_agent_is_one(self, api: Api) -> None:
        made = await api.made(api.widgets, widget("one"))

        assert list(_owned(made)) == ["contract-check Update"]

    async def test_who_changes_a_field_takes_it_over(self, api: Api) -> None:
        swapped = await _swapped(api)

        assert _owned(swapped) == {
            "team Update": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {".": {}, "f:colours": {".": {}, "f:front": {}}, "f:size": {}},
            },
            "upkeep Update": {
                "f:metadata": {"f:annotations": {".": {}, "f:undo": {}}},
                "f:spec": {"f:parts": {}},
            },
        }

    async def test_a_status_has_an_entry_of_its_own(self, api: Api) -> None:
        await _swapped(api)

        answer = await api.merge(api.widget("one", "status"), {"status": {"phase": "Real"}}, fieldManager="upkeep")

        assert _owned(answer)["upkeep Update status"] == {"f:status": {".": {}, "f:phase": {}}}
        assert "upkeep Update" in _owned(answer)

    async def test_who_owns_nothing_any_more_has_no_entry(self, api: Api) -> None:
        await _swapped(api)

        answer = await api.merge(
            api.widget("one"),
            {"metadata": {"annotations": None}, "spec": {"parts": ["a", "b"]}},
            fieldManager="team",
        )

        assert list(_owned(answer)) == ["team Update"]

    async def test_an_entry_is_dropped_by_replacing_the_list_without_it(self, api: Api) -> None:
        swapped = await _swapped(api)

        dropped = await api.json_patch(
            api.widget("one"),
            {"op": "test", "path": "/metadata/resourceVersion", "value": str(swapped.version)},
            {"op": "replace", "path": "/metadata/managedFields", "value": _entries_without(swapped, "upkeep")},
            fieldManager="upkeep",
        )

        assert (dropped.code, list(_owned(dropped))) == (200, ["team Update"])
        assert dropped.version > swapped.version
        assert dropped.body["spec"] == swapped.body["spec"]

    async def test_an_entry_is_dropped_by_its_index(self, api: Api) -> None:
        swapped = await _swapped(api)
        managers = [entry["manager"] for entry in swapped.body["metadata"]["managedFields"]]

        dropped = await api.json_patch(
            api.widget("one"),
            {"op": "remove", "path": f"/metadata/managedFields/{managers.index('upkeep')}"},
            fieldManager="upkeep",
        )

        assert list(_owned(dropped)) == ["team Update"]

    async def test_a_change_along_with_the_drop_is_owned_again(self, api: Api) -> None:
        swapped = await _swapped(api)

        answer = await api.json_patch(
            api.widget("one"),
            {"op": "replace", "path": "/spec/size", "value": 7},
            {"op": "replace", "path": "/metadata/managedFields", "value": _entries_without(swapped, "upkeep")},
            fieldManager="upkeep",
        )

        assert _owned(answer)["upkeep Update"] == {"f:spec": {"f:size": {}}}

    async def test_an_empty_list_means_that_the_client_knows_nothing_of_managers(self, api: Api) -> None:
        swapped = await _swapped(api)

        emptied = await api.json_patch(
            api.widget("one"), {"op": "replace", "path": "/metadata/managedFields", "value": []}
        )
        removed = await api.json_patch(api.widget("one"), {"op": "remove", "path": "/metadata/managedFields"})

        assert emptied.body == removed.body == swapped.body

    async def test_a_list_of_one_empty_entry_resets_and_nobody_is_tracked_any_more(self, api: Api) -> None:
        await _swapped(api)

        reset = await api.json_patch(
            api.widget("one"), {"op": "replace", "path": "/metadata/managedFields", "value": [{}]}
        )
        later = await api.merge(api.widget("one"), {"spec": {"size": 7}}, fieldManager="upkeep")

        assert "managedFields" not in reset.body["metadata"]
        assert "managedFields" not in later.body["metadata"]

    async def test_finalizers_and_owners_are_owned_one_by_one(self, api: Api) -> None:
        await _made(api)

        answer = await api.merge(
            api.widget("one"), {"metadata": {"finalizers": ["contract.upkeep.dev/x"]}}, fieldManager="upkeep"
        )

        assert _owned(answer)["upkeep Update"] == {
            "f:metadata": {"f:finalizers": {".": {}, 'v:"contract.upkeep.dev/x"': {}}}
        }
        await api.merge(api.widget("one"), {"metadata": {"finalizers": None}})
