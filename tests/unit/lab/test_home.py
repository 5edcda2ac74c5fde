from __future__ import annotations

from pathlib import Path

import pytest

from lab.home import SOURCES, TREE, Home


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"UPKEEP_CACHE": "/big/disk", "XDG_CACHE_HOME": "/x", "HOME": "/home/ada"}, "/big/disk"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/ada"}, "/x/upkeep"),
        ({"HOME": "/home/ada"}, "/home/ada/.cache/upkeep"),
    ],
)
def test_the_nearest_setting_decides_where_the_lab_lives(environment: dict[str, str], root: str) -> None:
    assert Home.from_environment(environment).root == Path(root)


def test_nothing_of_the_lab_is_written_into_the_checkout() -> None:
    home = Home.from_environment({"HOME": "/home/ada"})

    places = [home.bin, home.images, home.layers, home.cluster, home.logs, home.pki, home.kubeconfig, home.state]

    assert (TREE / "pyproject.toml").exists()
    assert SOURCES.is_relative_to(TREE)
    assert not any(place.is_relative_to(TREE) for place in places)


def test_all_of_a_cluster_lies_in_one_directory() -> None:
    home = Home.from_environment({"HOME": "/home/ada"})

    parts = [home.logs, home.pki, home.kubeconfig, home.state, home.processes, home.audit_log, home.containerd_socket]

    assert all(part.is_relative_to(home.cluster) for part in parts)
