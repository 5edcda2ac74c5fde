"""Which running image a report is on, however the two write its name."""

from typing import Any

import pytest

from upkeep.actions.kubernetes.imagevulnerabilities import same_image

DIGEST = "sha256:" + "0" * 64


def artifact(server: str, repository: str, tag: str = "", digest: str = "") -> dict[str, Any]:
    return {"registry": {"server": server}, "artifact": {"repository": repository, "tag": tag, "digest": digest}}


@pytest.mark.parametrize(
    ("image", "report"),
    [
        ("nginx:1.27", artifact("index.docker.io", "library/nginx", "1.27")),
        ("nginx", artifact("index.docker.io", "library/nginx", "latest")),
        ("docker.io/library/nginx:1.27", artifact("", "library/nginx", "1.27")),
        ("team/app:2", artifact("index.docker.io", "team/app", "2")),
        ("ghcr.io/team/app:2", artifact("ghcr.io", "team/app", "2")),
        ("registry:5000/app:2", artifact("registry:5000", "app", "2")),
        ("localhost/app:dev", artifact("localhost", "app", "dev")),
        (f"ghcr.io/team/app@{DIGEST}", artifact("ghcr.io", "team/app", digest=DIGEST)),
        (f"ghcr.io/team/app:2@{DIGEST}", artifact("ghcr.io", "team/app", "2", DIGEST)),
    ],
)
def test_the_same(image: str, report: dict[str, Any]) -> None:
    assert same_image(image, report)


@pytest.mark.parametrize(
    ("image", "report"),
    [
        ("nginx:1.27", artifact("index.docker.io", "library/nginx", "1.26")),
        ("nginx:1.27", artifact("ghcr.io", "library/nginx", "1.27")),
        ("team/nginx:1.27", artifact("index.docker.io", "library/nginx", "1.27")),
        (f"ghcr.io/team/app:2@{DIGEST}", artifact("ghcr.io", "team/app", "2", "sha256:" + "1" * 64)),
        (f"ghcr.io/team/app@{DIGEST}", artifact("ghcr.io", "team/app", "latest")),
        ("nginx:1.27", {}),
        ("", artifact("", "", "")),
    ],
)
def test_another(image: str, report: dict[str, Any]) -> None:
    assert not same_image(image, report)
