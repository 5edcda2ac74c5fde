"""How many files of which size are there: in a snapshot as restic lists it, and on a volume as it was restored.

It keeps no names but those at the top, so that what it needs does not grow with the number of files.
"""

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from upkeep.actions.volume.tree import Tree, within

_KINDS: Final = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "symlink": stat.S_IFLNK}


@dataclass(slots=True, kw_only=True)
class Contents:
    """What is at and below some paths.

    Attributes:
        paths: without a slash at their beginning or end; everything where there are none.
        files: how many files with content of their own.
        size: their sizes together, in bytes.
        directories: how many directories, those at the paths themselves too.
        links: how many symbolic links.
        others: how many pipes, sockets and devices.
        foreign: how many of all of these belong to another user than that of this process.
        missing: the paths that were not seen.
        top: names that are directly in the first path, or in all.
    """

    paths: Sequence[str] = ()
    files: int = 0
    size: int = 0
    directories: int = 0
    links: int = 0
    others: int = 0
    foreign: int = 0
    missing: set[str] = field(default_factory=set)
    top: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing was seen yet."""
        self.missing = set(self.paths)

    @property
    def counts(self) -> tuple[int, ...]:
        """What has to be the same of what was listed and what came back."""
        return (self.files, self.size, self.directories, self.links, self.others)

    def listed(self, line: bytes) -> None:
        """Count what one line of restic's list says."""
        if b'"struct_type":"node"' not in line:
            return
        node: dict[str, Any] = json.loads(line)
        path = str(node["path"]).removeprefix("/")
        if not self._within(path):
            return
        kind = _KINDS.get(str(node.get("type")), stat.S_IFIFO)
        self.count(kind, int(node.get("size") or 0), foreign=node.get("uid") != os.geteuid())

    def _within(self, path: str) -> bool:
        self.missing.discard(path)
        if not self.paths:
            if "/" not in path:
                self.top.append(path)
            return True
        first = f"{self.paths[0]}/"
        if path.startswith(first) and "/" not in path.removeprefix(first):
            self.top.append(path.removeprefix(first))
        return any(path == each or path.startswith(f"{each}/") for each in self.paths)

    def count(self, mode: int, size: int, *, foreign: bool = False) -> None:
        """Count one thing.

        Args:
            mode: its type, as in what lstat says.
            size: in bytes.
            foreign: whether it belongs to somebody else.
        """
        self.foreign += foreign
        if stat.S_ISREG(mode):
            self.files += 1
            self.size += size
        elif stat.S_ISDIR(mode):
            self.directories += 1
        elif stat.S_ISLNK(mode):
            self.links += 1
        else:
            self.others += 1

    def below(self, path: PurePosixPath, tree: Tree) -> None:
        """Count what is at a path of an open directory, and all below; no link is followed.

        Raises:
            OSError: not all of it can be looked at.
            StoppedError: the step was cancelled.
        """
        with within(path.parent, tree.root) as parent:
            status = os.stat(path.name, dir_fd=parent, follow_symlinks=False)
            self.count(status.st_mode, status.st_size)
            if not stat.S_ISDIR(status.st_mode):
                return
            for _, directories, files, here in os.fwalk(path.name, dir_fd=parent, onerror=_refuse):
                tree.see_whether_stopped()
                for each in (*directories, *files):
                    status = os.stat(each, dir_fd=here, follow_symlinks=False)
                    self.count(status.st_mode, status.st_size)


def _refuse(error: OSError) -> None:
    raise error
