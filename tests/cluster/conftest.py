"""A real cluster for the tests in this folder: the one that the lab runs, or that the caller named."""

import json
import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cluster.account import Accounts, granted_by_the_chart
from cluster.credentials import server_of
from cluster.exposure import Exposure, exposure
from cluster.installation import Installation
from cluster.kubectl import Kubectl, Object, parse, read
from cluster.manifests import postgres_server, secret
from cluster.server import NAMESPACES, Server
from cluster.space import MARK, Space, own_space
from cluster.timing import HEADING, Timings
from cluster.together import Together
from cluster.volume import claimed
from cluster.waiting import until
from lab import access as lab_access
from lab import tools
from lab.access import ClusterAccess
from lab.failure import LabError
from upkeep.actions.contract import Result
from upkeep.actions.kubernetes.accessreview import KubernetesAccessReview
from upkeep.actions.kubernetes.noderesources import KubernetesNodeResources
from upkeep.actions.kubernetes.view import Look

ROOT: Final = Path(__file__).parents[2]
DEFINITIONS: Final = ROOT / "crds"
OWNED_BY_THE_RELEASE: Final = {
    "helm.sh/resource-policy": "keep",
    "meta.helm.sh/release-name": "upkeep",
    "meta.helm.sh/release-namespace": "upkeep-system",
}


Give = Callable[..., None]
See = Callable[[Look], Result]
RunSample = Callable[[str], Object]
SOURCE_LOGINS: Final = {"db": "upkeep-in-tests", "repository": "repository-in-tests"}
CLUSTER_WIDE: Final = (KubernetesAccessReview, KubernetesNodeResources)
"""Actions whose role is bound in the whole cluster."""

HOME_BUILT: Final = "home_built"
ALONE: Final = "alone"
LONGEST: Final = "longest"
MEASURED: Final = "measured"
TIMINGS: Final = pytest.StashKey[Timings]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIMINGS] = Timings()
    config.addinivalue_line("markers", f"{HOME_BUILT}: needs a cluster whose processes run on this machine")
    config.addinivalue_line("markers", f"{ALONE}: stops the operator that serves the whole cluster")
    config.addinivalue_line("markers", f"{LONGEST}: mostly waits, so that it begins before all others")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands what it measured to the process that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[MEASURED] = session.config.stash[TIMINGS].rows


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - xdist has no types for its workers
    """Take over what a worker measured; one that crashed has nothing to hand over."""
    measured = getattr(node, "workeroutput", {}).get(MEASURED, ())
    node.config.stash[TIMINGS].rows += [(topic, what, seconds) for topic, what, seconds in measured]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave out what only the home-built cluster can show, where another is tested."""
    items.sort(key=lambda item: item.get_closest_marker(LONGEST) is None)
    marked = [item for item in items if item.get_closest_marker(HOME_BUILT)]
    if not marked or _home_built():
        return
    config.hook.pytest_deselected(items=marked)
    items[:] = [item for item in items if item not in marked]


def _home_built() -> bool:
    try:
        return lab_access.connect().home_built
    except LabError as problem:
        raise pytest.UsageError(str(problem)) from problem


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if table := config.stash[TIMINGS].table():
        terminalreporter.section(HEADING)
        for line in table:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def timings(pytestconfig: pytest.Config) -> Timings:
    """What is measured; printed at the end of the session."""
    return pytestconfig.stash[TIMINGS]


@pytest.fixture(scope="session")
def access() -> ClusterAccess:
    """The test cluster; it is never one that was not meant for tests."""
    return lab_access.connect()


@pytest.fixture(scope="session")
def kubectl(access: ClusterAccess) -> Kubectl:
    """kubectl for the test cluster."""
    return Kubectl(program=tools.kubectl(), kubeconfig=access.kubeconfig, context=access.context)


@pytest.fixture(scope="session")
def credentials(access: ClusterAccess, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """The URL of the cluster's API server, and how to be its administrator."""
    return server_of(access.kubeconfig, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="session")
def server(credentials: tuple[str, ssl.SSLContext]) -> Iterator[Server]:
    """The API server, for tests that look often."""
    found = Server(*credentials)
    yield found
    found.close()


@pytest.fixture(scope="session")
def upkeep(
    server: Server,
    access: ClusterAccess,
    definitions: None,  # noqa: ARG001 - they come first
    testrun_uid: str,
) -> Iterator[Installation]:
    """Upkeep as it is in this tree, serving the whole cluster; removed again where the tests brought it."""
    found = Installation(server, access)

    def remove() -> None:
        # A window that is open holds its namespace until it has been brought to its end.
        left = f"{MARK}=true"
        until(lambda: server.list(NAMESPACES, selector=left), lambda n: not n, what="the tests are gone", seconds=90)
        found.remove()

    with Together(testrun_uid, "upkeep").holding(present=found.present, bring=found.bring, remove=remove):
        yield found
        assert "An unexpected error" not in found.logs(), "see the operator's log"


@pytest.fixture(scope="module")
def space(server: Server, upkeep: Installation) -> Iterator[Space]:  # noqa: ARG001 - what is made in it is served
    """A namespace for the tests of one file, with the Pod Security level `restricted`."""
    with own_space(server) as made:
        yield made


@pytest.fixture(scope="module")
def source(space: Space, access: ClusterAccess) -> Iterator[Space]:
    """A server `db` with a thousand orders, and a volume `backups`; a Secret for it, and one for a `repository`."""
    with claimed(space, access, "backups"):
        for name, password in SOURCE_LOGINS.items():
            space.make(secret(name, username="postgres", password=password))
        space.make(*postgres_server(access.shop_image, login="db"))
        space.ready("db")
        yield space


@pytest.fixture(scope="session")
def definitions(kubectl: Kubectl, testrun_uid: str) -> Iterator[None]:
    """Our custom resource definitions as they are in this tree; removed again where the tests brought them.

    They are applied as Helm applies them for the release `upkeep`, so that it finds its own when it comes or goes on.
    """

    def present() -> bool:
        return "upkeep.dev" in kubectl.run("get", "customresourcedefinitions", "--output=name")

    def bring() -> None:
        if kubectl.attempt("diff", "--server-side", "--force-conflicts", f"--filename={DEFINITIONS}").returncode != 0:
            found = read(*DEFINITIONS.glob("*.yaml"))
            for definition in found:
                definition["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
                definition["metadata"]["annotations"] = OWNED_BY_THE_RELEASE
            apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "--filename=-")
            kubectl.run(*apply, stdin=yaml.safe_dump_all(found))
        kubectl.run("wait", "--for=condition=Established", f"--filename={DEFINITIONS}", "--timeout=30s")

    def remove() -> None:
        kubectl.run("delete", f"--filename={DEFINITIONS}")

    with Together(testrun_uid, "definitions").holding(present=present, bring=bring, remove=remove):
        yield


@pytest.fixture(scope="session")
def empty_namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace with the Pod Security level `restricted`, for dry runs: nothing is ever kept in it."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl.run("create", "namespace", name)
    kubectl.run("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def exposed(
    server: Server,
    upkeep: Installation,  # noqa: ARG001 - it does it all
    access: ClusterAccess,
    kubectl: Kubectl,
) -> Iterator[Exposure]:
    """Everything that Upkeep does with credentials and with the Kubernetes API, done once."""
    with own_space(server) as made, exposure(made, access, kubectl) as happened:
        yield happened


@pytest.fixture
def place(server: Server, kubectl: Kubectl) -> Iterator[Space]:
    """A namespace of its own that takes any Pod."""
    with own_space(server) as made:
        kubectl.run("label", "namespace", made.name, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
        yield made


@pytest.fixture
def give(place: Space, kubectl: Kubectl) -> Give:
    """Brings objects into the namespace; `spec` and the like by name."""

    def given(api: str, kind: str, name: str, /, *, labels: object = None, **parts: object) -> None:
        metadata = {"name": name, "namespace": place.name, **({"labels": labels} if labels else {})}
        metadata |= {key: parts.pop(key) for key in ("annotations", "ownerReferences") if key in parts}
        body = {"apiVersion": api, "kind": kind, "metadata": metadata, **parts}
        kubectl.run("apply", "--filename=-", stdin=json.dumps(body))

    return given


@pytest.fixture
def accounts(place: Space, access: ClusterAccess, tmp_path: Path) -> Accounts:
    return Accounts(server=place.server, kubeconfig=access.kubeconfig, namespace=place.name, folder=tmp_path)


@pytest.fixture
def see(accounts: Accounts) -> See:
    """What an action reports as a ServiceAccount that has what the chart's role for it grants, and nothing else."""
    reviewer = accounts.make("reviewer")

    def seen(action: Look) -> Result:
        everywhere = isinstance(action, CLUSTER_WIDE)
        with accounts.granted(reviewer, granted_by_the_chart(action), everywhere=everywhere):
            return reviewer.report(action)

    return seen


@pytest.fixture
def run_sample(
    place: Space,
    upkeep: Installation,  # noqa: ARG001 - it runs it
    kubectl: Kubectl,
) -> Iterator[RunSample]:
    """Runs a sample of one task in the namespace as it is, once and not by schedule; returns its last run."""
    given: list[str] = []

    def ran(name: str) -> Object:
        text = (ROOT / "manifests" / "samples" / f"task-{name}.yaml").read_text()
        text = text.replace("namespace: shop\n", f"namespace: {place.name}\n").replace(
            "name: shop-", f"name: {place.name}-"
        )
        objects = parse(text)
        for each in objects:
            each["spec"] = {key: value for key, value in each.get("spec", {}).items() if key != "schedule"}
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_lean(each) for each in objects]})
        given.append(listed)
        kubectl.run("apply", "--filename=-", stdin=listed)
        place.run_now(name, "now")
        run: Object = place.ended_run(name, token="now", seconds=90)["lastRun"]  # noqa: S106 - of run-now
        return run

    yield ran
    for listed in given:
        kubectl.run("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=listed)


def _lean(found: Object) -> Object:
    return {key: value for key, value in found.items() if key != "spec" or value}
