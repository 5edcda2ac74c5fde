from __future__ import annotations

from pathlib import Path

from lab.mount import below, decode

MOUNTINFO = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:25 / /cache/upkeep/cluster/kubelet/pods/1/token rw - tmpfs tmpfs rw
31 22 0:26 / /cache/upkeep/cluster/state/with\\040blank rw - overlay overlay rw
32 22 0:27 / /cache/upkeep-other rw - tmpfs tmpfs rw
33 31 0:28 / /cache/upkeep/cluster/state/with\\040blank/inner rw - tmpfs tmpfs rw
"""


def test_only_mounts_below_the_directory_are_found_and_inner_ones_come_first() -> None:
    assert below(Path("/cache/upkeep"), MOUNTINFO) == [
        Path("/cache/upkeep/cluster/state/with blank/inner"),
        Path("/cache/upkeep/cluster/state/with blank"),
        Path("/cache/upkeep/cluster/kubelet/pods/1/token"),
    ]


def test_letters_beyond_ascii_survive() -> None:
    assert decode("/cache/größe\\011x") == "/cache/größe\tx"
