"""Checks of discovery, as far as clients use it."""

from fakeapi.contract.api import Api


class DiscoveryContract:
    async def test_the_server_says_its_version(self, api: Api) -> None:
        answer = await api.get("/version")

        assert answer.code == 200
        assert answer.body["major"] == "1"
        assert answer.body["gitVersion"].startswith("v1.")

    async def test_groups_and_their_versions_are_listed(self, api: Api) -> None:
        core = await api.get("/api")
        groups = {group["name"]: group for group in (await api.get("/apis")).body["groups"]}
        batch = await api.get("/apis/batch")

        assert core.body["versions"] == ["v1"]
        assert {"batch", "apps", "networking.k8s.io", "coordination.k8s.io", "contract.upkeep.dev"} <= set(groups)
        assert groups["batch"]["preferredVersion"] == {"groupVersion": "batch/v1", "version": "v1"}
        assert (batch.body["kind"], batch.body["versions"]) == ("APIGroup", groups["batch"]["versions"])

    async def test_resources_are_described(self, api: Api) -> None:
        resources = {
            entry["name"]: entry for entry in (await api.get("/apis/contract.upkeep.dev/v1")).body["resources"]
        }

        described = resources["widgets"]
        assert (described["kind"], described["singularName"], described["namespaced"]) == ("Widget", "widget", True)
        assert described["shortNames"] == ["wd"]
        assert set(described["verbs"]) == {
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        }
        assert set(resources["widgets/status"]["verbs"]) == {"get", "patch", "update"}

    async def test_built_in_resources_are_described_alike(self, api: Api) -> None:
        core = {entry["name"]: entry for entry in (await api.get("/api/v1")).body["resources"]}
        jobs = {entry["name"]: entry for entry in (await api.get("/apis/batch/v1")).body["resources"]}

        assert core["namespaces"]["namespaced"] is False
        assert "deletecollection" not in core["namespaces"]["verbs"]
        assert core["events"]["shortNames"] == ["ev"]
        assert jobs["jobs"]["categories"] == ["all"]
        assert "jobs/status" in jobs

    async def test_an_unknown_group_is_not_found(self, api: Api) -> None:
        assert (await api.get("/apis/none.upkeep.dev/v1")).code == 404

    async def test_the_server_says_that_it_is_well(self, api: Api) -> None:
        assert (await api.get("/readyz")).body.strip() == "ok"
