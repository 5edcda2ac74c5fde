from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from lab import base, cgroup, debian, homebuilt, toolchain
from lab.command import follow, run, succeeds, tail
from lab.failure import LabError
from lab.home import SOURCES, Home
from lab.process import alive, launch, stop
from lab.report import Report

if TYPE_CHECKING:
    from pathlib import Path


def node(*, status: str) -> bytes:
    return json.dumps({"status": {"conditions": [{"type": "Ready", "status": status}]}}).encode()


@pytest.mark.parametrize(
    "answer", [None, b"{}", node(status="False"), node(status="Unknown")], ids=["silence", "new", "no", "unknown"]
)
def test_a_node_that_does_not_say_it_is_ready_is_not(answer: bytes | None) -> None:
    assert not homebuilt.node_ready(answer)


def test_a_node_that_says_it_is_ready_is() -> None:
    assert homebuilt.node_ready(node(status="True"))


def test_only_shims_of_the_labs_own_containerd_are_its_own() -> None:
    mine = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", "/lab/containerd.sock"]
    others = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-address", "/run/containerd/containerd.sock"]
    editor = ["vi", "/lab/containerd.sock"]

    assert homebuilt.serves(mine, socket="/lab/containerd.sock")
    assert not homebuilt.serves(others, socket="/lab/containerd.sock")
    assert not homebuilt.serves(editor, socket="/lab/containerd.sock")


def test_without_root_one_reads_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(LabError, match=r"needs root.*UPKEEP_CONTEXT"):
        homebuilt.require_root()


def test_what_the_lab_has_no_record_of_it_does_not_take_down(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    stranger = launch(home, "stranger", ["sleep", "300"])
    try:
        homebuilt.down(home, Report())

        assert alive(stranger)
        assert "There is no cluster." in capsys.readouterr().out
    finally:
        stop(home, "stranger")


def test_a_cache_too_deep_for_unix_sockets_is_refused_by_name(tmp_path: Path) -> None:
    deep = Home(root=tmp_path / ("x" * 100))

    with pytest.raises(LabError, match="UPKEEP_CACHE"):
        homebuilt.require_short_path(deep)


def test_kubernetes_programs_are_linked_with_the_version_that_go_mod_requires() -> None:
    flags = toolchain.linker_flags((SOURCES / "tools" / "go.mod").read_text())

    assert "-X k8s.io/component-base/version.gitVersion=v1." in flags
    assert "-X k8s.io/component-base/version.gitMajor=1" in flags


def test_a_module_without_kubernetes_is_a_defect_and_says_so() -> None:
    with pytest.raises(ValueError, match=r"k8s\.io/kubernetes"):
        toolchain.linker_flags("module x\n")


def test_another_go_means_another_build() -> None:
    assert toolchain.fingerprint(go_version="go1.26.0") != toolchain.fingerprint(go_version="go1.27.0")


def test_of_two_programs_in_one_missing_package_the_package_is_named_once() -> None:
    wanted = {"no-such-program": "alpha", "/no/such/*/file": "alpha", "sh": "dash", "/bin/s?": "dash"}

    assert debian.missing(wanted) == ["alpha"]


def test_while_packages_are_installed_no_service_starts_and_afterwards_services_are_as_before(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with debian.services_forbidden(policy):
        assert subprocess.run([policy], check=False).returncode == 101

    assert not policy.exists()


def test_a_policy_of_the_machines_own_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("mine")

    with debian.services_forbidden(policy):
        pass

    assert policy.read_text() == "mine"


def test_base_images_differ_when_their_packages_do_and_not_by_their_order() -> None:
    one = base.Base(name="x", packages=("a", "b"))

    assert one.key == base.Base(name="x", packages=("b", "a")).key
    assert one.key != base.Base(name="x", packages=("a",)).key


def test_a_base_is_packed_from_the_machines_own_source_list(tmp_path: Path) -> None:
    words = base.command(base.SHOP, target=tmp_path / "x.tar", sources=tmp_path / "debian.sources")

    assert words[0] == "mmdebstrap"
    assert words[-3:] == ["bookworm", tmp_path / "x.tar", tmp_path / "debian.sources"]
    assert any(str(word).startswith("--include=postgresql-15,") for word in words)


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_every_cgroup_hierarchy_of_the_machine_is_found(tmp_path: Path, layout: str) -> None:
    if layout == "v2":
        (tmp_path / "cgroup.controllers").touch()
        (tmp_path / "system.slice").mkdir()
        assert cgroup.roots(tmp_path) == [tmp_path]
        return
    for name in ("cpu,cpuacct", "memory"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    assert cgroup.roots(tmp_path) == [tmp_path / "cpu,cpuacct", tmp_path / "memory"]


def test_a_failing_program_is_quoted_with_what_was_being_done() -> None:
    with pytest.raises(LabError, match=r"Doing it: sh ended with code 3:\n    because"):
        run(["sh", "-c", "echo because >&2; exit 3"], doing="Doing it")


def test_a_followed_program_hands_over_both_streams_line_by_line() -> None:
    lines: list[str] = []

    follow(["sh", "-c", "echo one; echo two >&2"], doing="Counting", on_line=lines.append)

    assert lines == ["one", "two"]


def test_a_followed_program_that_fails_is_quoted() -> None:
    with pytest.raises(LabError, match=r"Counting: sh ended with code 1:\n    one"):
        follow(["sh", "-c", "echo one; exit 1"], doing="Counting", on_line=lambda _: None)


def test_a_missing_program_is_a_sentence() -> None:
    with pytest.raises(LabError, match="no-such-program cannot be started"):
        run(["no-such-program"], doing="Doing it")

    assert not succeeds(["no-such-program"])


def test_of_long_output_the_end_is_shown() -> None:
    assert tail("\n".join(str(number) for number in range(100)), lines=2) == "    98\n    99"
