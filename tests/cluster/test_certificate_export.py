"""A certificate that was exported from its Secret comes back into it, with as few rights as possible."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cluster.kubectl import Kubectl, Object, parse
from cluster.manifests import secret, task
from cluster.server import SECRETS
from cluster.space import Space
from cluster.volume import claimed
from lab.access import ClusterAccess
from lab.home import TREE

SAMPLE: Final = TREE / "manifests" / "samples" / "task-certificate-export.yaml"
SECONDS: Final = 60.0
SAFE: Final = {"name": "safe", "volume": {"claimName": "shop-safe", "secretRef": {"name": "shop-safe"}}}
RESTORE: Final = {"connection": "safe", "secret": "shop-tls", "confirm": "shop-tls"}


@pytest.fixture(scope="module")
def shop(
    space: Space, access: ClusterAccess, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Space]:
    """A namespace with a certificate and a volume, in which it was exported, and the rights of the sample."""
    pair = _pair(tmp_path_factory.mktemp("pair"))
    tls = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-tls"}, "type": "kubernetes.io/tls"}
    space.make({**tls, "stringData": pair}, secret("shop-safe", passphrase="correct horse battery"))  # noqa: S106 - of a test
    text = SAMPLE.read_text().replace("namespace: shop\n", f"namespace: {space.name}\n")
    with claimed(space, access, "shop-safe"):
        made = [each for each in parse(text) if each["kind"] not in {"Secret", "PersistentVolumeClaim"}]
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
        kubectl.run("apply", "--filename=-", stdin=listed)
        space.run_now("export-certificates", "now")
        run = space.ended_run("export-certificates", token="now", seconds=SECONDS)["lastRun"]  # noqa: S106 - of a run
        assert run["outcome"] == "changed", run
        yield space


def test_a_secret_that_was_overwritten_or_is_gone_comes_back(shop: Space, kubectl: Kubectl) -> None:
    # given a Secret with the certificate of another, and a key of somebody's own
    stored = shop.get(SECRETS, "shop-tls")["data"]
    wrong = {"tls.crt": base64.b64encode(b"wrong").decode(), "note": base64.b64encode(b"mine").decode()}
    shop.change(SECRETS, "shop-tls", {"data": wrong})
    # when it is restored, then it has its certificate again, and what else was in it
    run = _restored(shop, "overwritten")
    assert run["outcome"] == "changed", run
    found = shop.get(SECRETS, "shop-tls")["data"]
    assert (found["tls.crt"], found["note"]) == (stored["tls.crt"], wrong["note"])
    # when it is restored once more, then nothing is changed
    again = _restored(shop, "again")
    assert (again["outcome"], "is in Secret 'shop-tls' already" in again["steps"][0]["message"]) == ("ok", True), again
    # when it is gone, then it is made
    kubectl.run("delete", "secret", "shop-tls", f"--namespace={shop.name}")
    assert _restored(shop, "gone")["outcome"] == "changed"
    made = shop.get(SECRETS, "shop-tls")
    assert (made["type"], made["data"]["tls.crt"]) == ("kubernetes.io/tls", stored["tls.crt"])
    assert _same_key(stored["tls.key"], made["data"]["tls.key"])


def test_what_may_not_be_written_is_left_alone_and_says_why(shop: Space, kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "nobody", f"--namespace={shop.name}")
    shop.make(secret("opaque", key="value"))
    before = shop.get(SECRETS, "shop-tls")["metadata"]["resourceVersion"]
    cases: tuple[tuple[str | None, dict[str, str], str, str], ...] = (
        ("nobody", {}, "cannot get resource", "bind the ServiceAccount to a Role that allows it"),
        ("restore-shop-tls", {"to": "opaque", "confirm": "opaque"}, '"opaque" is forbidden', "bind the ServiceAccount"),
        (None, {}, "has no access to the Kubernetes API", "name a ServiceAccount"),
    )
    for number, (account, changes, *words) in enumerate(cases):
        run = _restored(shop, f"refused-{number}", account=account, **changes)
        assert run["outcome"] == "failed", run
        assert all(word in run["steps"][0]["message"] for word in words), run
    assert shop.get(SECRETS, "shop-tls")["metadata"]["resourceVersion"] == before


def _restored(shop: Space, called: str, *, account: str | None = "restore-shop-tls", **changes: object) -> Object:
    """The last run of a task that restores now."""
    named = {"serviceAccountName": account} if account else {}
    step = {"name": "restore", "certificateRestore": {**RESTORE, **changes}}
    shop.make(task(called, step, connections=[SAFE], **named))
    run: Object = shop.ended_run(called, seconds=SECONDS)["lastRun"]
    return run


def _pair(directory: Path) -> dict[str, str]:
    files = ["-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop", *files]
    subprocess.run(argv, check=True, capture_output=True)
    return {name: (directory / name).read_text() for name in ("tls.crt", "tls.key")}


def _same_key(one: str, other: str) -> bool:
    shown = [
        subprocess.run(
            ["openssl", "pkey", "-pubout"], input=base64.b64decode(key), check=True, capture_output=True
        ).stdout
        for key in (one, other)
    ]
    return shown[0] == shown[1]
