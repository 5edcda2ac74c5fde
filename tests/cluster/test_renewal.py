"""A certificate is issued anew by cert-manager's own controllers, with as few rights as possible, and loaded."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from cluster.kubectl import Kubectl, Object, parse
from cluster.manifests import task, web_server
from cluster.server import SECRETS
from cluster.space import Space, conditions
from cluster.waiting import until
from lab.access import ClusterAccess
from lab.home import TREE
from upkeep.actions.kubernetes.restart import RESTARTED_AT
from upkeep.cluster.resources import DEPLOYMENTS, Resource

SAMPLE: Final = TREE / "manifests" / "samples" / "task-certificate-renew.yaml"
CERTIFICATES: Final = Resource("cert-manager.io", "v1", "certificates", "Certificate")
REQUESTS: Final = Resource("cert-manager.io", "v1", "certificaterequests", "CertificateRequest")
SECONDS: Final = 60.0

Apply = Callable[..., None]


@pytest.fixture(scope="module")
def apply(space: Space, kubectl: Kubectl) -> Apply:
    """Makes objects of any kind in the namespace."""

    def made(*objects: Object) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        kubectl.run("apply", f"--namespace={space.name}", "--filename=-", stdin=listed)

    return made


@pytest.fixture(scope="module")
def issued(space: Space, apply: Apply, access: ClusterAccess) -> Callable[[str], Object]:
    """A certificate by an authority of the namespace's own, and the rights of the sample to it."""
    assert access.home_built, "python -m lab certmanager starts it"
    apply(
        _issuer("self-signed", selfSigned={}),
        _certificate("authority", issuer="self-signed", isCA=True, commonName="authority"),
        _issuer("authority", ca={"secretName": "authority"}),
    )

    def made(name: str) -> Object:
        apply(_certificate(name, issuer="authority"), *_rights(space, name))
        _until(space, name, "Ready", "True")
        # cert-manager counts it in a write of its own, after that
        found: Object = until(
            partial(space.status, CERTIFICATES, name),
            lambda seen: "revision" in seen,
            what=f"Certificate {name} is counted",
            seconds=SECONDS,
        )
        return found

    return made


def test_the_sample_renews_and_reloads_with_no_right_to_anything_else(
    space: Space, issued: Callable[[str], Object], apply: Apply, access: ClusterAccess
) -> None:
    # given a certificate, and who serves it
    before = issued("shop-tls")
    stored = space.get(SECRETS, "shop-tls")["data"]
    service, pod = web_server(access.shop_image, "shop-web")
    labels = {"app": "shop-web"}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    web = {"selector": {"matchLabels": labels}, "template": template}
    apply(service, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop-web"}, "spec": web})
    until(
        partial(space.status, DEPLOYMENTS, "shop-web"),
        lambda status: status.get("availableReplicas"),
        what="shop-web is well",
        seconds=SECONDS,
    )
    apply(*parse(SAMPLE.read_text().replace("namespace: shop\n", f"namespace: {space.name}\n")))
    space.run_now("renew-shop-tls", "now")

    run = space.ended_run("renew-shop-tls", token="now", seconds=90)["lastRun"]  # noqa: S106 - a token of run-now

    # then there is another one, of another key, and the workload was restarted after it
    assert run["outcome"] == "changed", run
    assert "Certificate 'shop-tls' was issued anew" in run["steps"][0]["message"]
    assert "revision 2, valid to " in run["steps"][0]["message"]
    after = space.get(SECRETS, "shop-tls")["data"]
    assert after["tls.crt"] != stored["tls.crt"]
    assert after["tls.key"] != stored["tls.key"]
    assert space.status(CERTIFICATES, "shop-tls")["revision"] == before["revision"] + 1 == 2
    assert RESTARTED_AT in space.get(DEPLOYMENTS, "shop-web")["spec"]["template"]["metadata"]["annotations"]


def test_the_role_of_the_chart_is_enough(space: Space, issued: Callable[[str], Object], kubectl: Kubectl) -> None:
    issued("by-role")
    where, subject = f"--namespace={space.name}", f"--serviceaccount={space.name}:renewer"
    kubectl.run("create", "serviceaccount", "renewer", where)
    kubectl.run("create", "rolebinding", "renewer", "--clusterrole=upkeep-action-renew", subject, where)

    run = _renewed(space, "by-role", called="by-role", account="renewer")

    assert run["outcome"] == "changed", run
    assert space.status(CERTIFICATES, "by-role")["revision"] == 2


def test_what_is_not_there_or_not_allowed_is_named(
    space: Space, issued: Callable[[str], Object], kubectl: Kubectl, apply: Apply
) -> None:
    issued("guarded")
    apply(*_rights(space, "missing"))
    kubectl.run("create", "serviceaccount", "nobody", f"--namespace={space.name}")
    cases = (
        ("missing", "renew-missing", "Certificate 'missing' is not there", "create it"),
        ("guarded", "nobody", "cannot get resource", "bind the ServiceAccount to a Role that allows it"),
        ("guarded", None, "has no access to the Kubernetes API", "name a ServiceAccount"),
    )
    for number, (name, account, *words) in enumerate(cases):
        run = _renewed(space, name, called=f"named-{number}", account=account)
        assert run["outcome"] == "failed", run
        assert all(word in run["message"] for word in words), run
    assert space.status(CERTIFICATES, "guarded")["revision"] == 1


def test_one_that_is_being_issued_is_left_alone(space: Space, apply: Apply) -> None:
    apply(_certificate("waiting", issuer="nobody-made-it"), *_rights(space, "waiting"))
    _until(space, "waiting", "Issuing", "True")
    run = _renewed(space, "waiting", called="waits")
    assert run["outcome"] == "failed", run
    assert "Certificate 'waiting' is being issued already, since " in run["message"]
    assert "wait until that is done" in run["message"]


def test_what_keeps_it_from_being_issued_is_told_and_the_old_one_stays(
    space: Space, issued: Callable[[str], Object], kubectl: Kubectl, apply: Apply
) -> None:
    # given a certificate whose issuer was removed
    apply(_issuer("short-lived", ca={"secretName": "authority"}))
    issued("orphan")
    kubectl.run(
        *("patch", "certificate", "orphan", f"--namespace={space.name}", "--type=merge"),
        '--patch={"spec": {"issuerRef": {"name": "short-lived"}}}',
    )
    until(
        partial(space.status, CERTIFICATES, "orphan"), lambda status: status["revision"] == 2, what="moved", seconds=30
    )
    _until(space, "orphan", "Ready", "True")
    kubectl.run("delete", "issuer", "short-lived", f"--namespace={space.name}")
    stored = space.get(SECRETS, "orphan")["data"]

    late = _renewed(space, "orphan", called="late", timeout="4s")

    assert late["outcome"] == "failed", late
    assert "was not issued anew: not within 4s: CertificateRequest 'orphan-3' waits: Pending: " in late["message"]
    assert [finding["checkId"] for finding in late["findings"]] == ["certificate.renew"]
    assert space.get(SECRETS, "orphan")["data"] == stored


def _renewed(space: Space, name: str, *, called: str, account: str | None = "", **action: object) -> Object:
    """The last run of a task that renews a certificate now."""
    by = f"renew-{name}" if account == "" else account
    named = {"serviceAccountName": by} if by else {}
    space.make(task(called, {"name": "renew", "certificateRenew": {"name": name, **action}}, **named))
    run: Object = space.ended_run(called, seconds=SECONDS)["lastRun"]
    run["message"] = run["steps"][0]["message"]
    return run


def _until(space: Space, name: str, kind: str, status: str) -> Object:
    """The status of a Certificate, as soon as it has this condition."""
    found: Object = until(
        partial(space.status, CERTIFICATES, name),
        lambda seen: conditions(seen).get(kind, {}).get("status") == status,
        what=f"Certificate {name} has {kind} {status}",
        seconds=SECONDS,
    )
    return found


def _issuer(name: str, **spec: Any) -> Object:  # noqa: ANN401 - fields of a spec
    return {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": name}, "spec": spec}


def _certificate(name: str, *, issuer: str, **spec: Any) -> Object:  # noqa: ANN401 - fields of a spec
    key = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
    whole = {"secretName": name, "dnsNames": [f"{name}.example.com"], "issuerRef": {"name": issuer}, "privateKey": key}
    metadata = {"name": name}
    return {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": {**whole, **spec}}


def _rights(space: Space, name: str) -> list[Object]:
    """ServiceAccount, Role and RoleBinding of the sample, for another Certificate."""
    text = SAMPLE.read_text().replace("namespace: shop\n", f"namespace: {space.name}\n").replace("shop-tls", name)
    return [each for each in parse(text) if each["kind"] != "MaintenanceTask"]
