"""Files that are restored beside those in use, on the same volume, and take their places when they are proven.

Until then nothing in use is touched. What was in a place is never removed before all of the new is in its places; a run
that is killed while places are taken leaves it, whole, under a dated name that nothing here ever clears.
"""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from upkeep.actions.contract import ActionError
from upkeep.actions.text import readable
from upkeep.actions.volume.exchange import exchanged, flush
from upkeep.actions.volume.tree import Tree, within

ROOM: Final = ".upkeep-restore"
"""Name at the top of the volume under which files are restored; what a killed run left there, the next one removes."""
_NEW: Final = "new"
_OLD: Final = "old"
_KEPT: Final = "before_{time:%Y%m%d_%H%M%S}"
_ASIDE: Final = ".upkeep-old"
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE: Final = 0o700
_SHARED: Final = 0o770


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something that was restored belongs.

    Attributes:
        restored: where it is among what was restored.
        path: where it belongs on the volume.
    """

    restored: PurePosixPath
    path: PurePosixPath

    def __str__(self) -> str:
        """As messages call it."""
        return repr(readable(str(self.path)))


@dataclass(slots=True, kw_only=True)
class Beside:
    """A directory of a volume while files are restored to it.

    Attributes:
        root: descriptor of the top of the volume.
        room: of what stands there under the name `ROOM`; whoever works in it has locked it.
        new: of the directory in it for what is restored.
        kept: under which name at the top of the volume the old is; empty where nothing was replaced, or it is gone.
    """

    root: int
    room: int
    new: int
    kept: str = ""

    @classmethod
    def enter(cls, tree: Tree) -> "Beside":
        """Make room, and remove what a run has left that was killed.

        Raises:
            ActionError: another run is at it.
            OSError: the volume refuses.
        """
        with ExitStack() as stack:
            with suppress(FileExistsError):
                os.mkdir(ROOM, _PRIVATE, dir_fd=tree.root)
            room = os.open(ROOM, _OPEN, dir_fd=tree.root)
            stack.callback(os.close, room)
            _lock(room)
            for name in (_NEW, _OLD):
                remove(tree, room, name)
            os.mkdir(_NEW, _PRIVATE, dir_fd=room)
            new = os.open(_NEW, _OPEN, dir_fd=room)
            stack.pop_all()
            return cls(root=tree.root, room=room, new=new)

    def leave(self, tree: Tree) -> None:
        """Remove what is of no use any more.

        Raises:
            OSError: not all of it can be removed.
        """
        for name in (_NEW, _OLD):
            remove(tree, self.room, name)
        os.rmdir(ROOM, dir_fd=self.root)

    def close(self) -> None:
        """Let go of the directories."""
        os.close(self.new)
        os.close(self.room)

    def occupied(self, place: Place) -> bool:
        """Whether there is something in a place that would be lost, or hidden by a link.

        Raises:
            OSError: it cannot be looked at.
        """
        try:
            with within(place.path.parent, self.root) as parent:
                status = os.stat(place.path.name, dir_fd=parent, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    return True
                there = os.open(place.path.name, _OPEN, dir_fd=parent)
                with _closing(there), os.scandir(there) as names:
                    return next(names, None) is not None
        except FileNotFoundError:
            return False

    def discard(self, path: PurePosixPath) -> None:
        """Remove a file of what was restored that belongs nowhere."""
        with within(path.parent, self.new) as parent:
            os.unlink(path.name, dir_fd=parent)

    def take(self, places: Sequence[Place], *, keep_old: bool) -> None:
        """Let what was restored take its places, and bring that on disk.

        Raises:
            OSError: it was refused; all is as it was.
        """
        flush(self.root)
        replaced = any(self._is_there(place) for place in places)
        if replaced:
            # From here on nobody clears it, since what was in the places is going to be in it.
            self.kept = _KEPT.format(time=datetime.now(UTC))
            os.rename(_NEW, self.kept, src_dir_fd=self.room, dst_dir_fd=self.root)
        taken: list[tuple[Place, bool]] = []
        try:
            for place in places:
                replaced_one = self._swap(place)
                taken.append((place, replaced_one))
        except OSError:
            self._give_back(taken)
            raise
        flush(self.root)
        if replaced and not keep_old:
            os.rename(self.kept, _OLD, src_dir_fd=self.root, dst_dir_fd=self.room)
            self.kept = ""
        elif replaced:
            with suppress(OSError):
                os.fchmod(self.new, _SHARED)

    def _give_back(self, taken: Sequence[tuple[Place, bool]]) -> None:
        for place, replaced in reversed(taken):
            if replaced:
                self._swap(place)
            else:
                with self._both(place) as (source, target):
                    os.rename(place.path.name, place.restored.name, src_dir_fd=target, dst_dir_fd=source)
        if self.kept:
            os.rename(self.kept, _NEW, src_dir_fd=self.root, dst_dir_fd=self.room)
            self.kept = ""

    def _is_there(self, place: Place) -> bool:
        try:
            with within(place.path.parent, self.root) as parent:
                os.stat(place.path.name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _swap(self, place: Place) -> bool:
        """Let what was restored and what is in its place change places; whether anything was there."""
        name, other = place.restored.name, place.path.name
        with self._both(place) as (source, target), _movable(name, source):
            if not self._is_there(place):
                os.rename(name, other, src_dir_fd=source, dst_dir_fd=target)
                return False
            if not exchanged(name, source, other, target):
                _in_turn(name, source, other, target)
            return True

    @contextmanager
    def _both(self, place: Place) -> Iterator[tuple[int, int]]:
        above, below = place.restored.parent, place.path.parent
        with within(above, self.new) as source, within(below, self.root, make=True) as target:
            yield source, target


def remove(tree: Tree, parent: int, name: str) -> None:
    """Remove a directory of an open directory with all in it, if it is there; no link is followed.

    Raises:
        OSError: not all of it can be removed.
        StoppedError: the step was cancelled; the rest of it is still there.
    """
    try:
        walk = os.fwalk(name, topdown=False, dir_fd=parent)
        for _, directories, files, here in walk:
            for each in files:
                tree.see_whether_stopped()
                os.unlink(each, dir_fd=here)
            for each in directories:
                try:
                    os.rmdir(each, dir_fd=here)
                except NotADirectoryError:
                    os.unlink(each, dir_fd=here)
        os.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return


def _lock(room: int) -> None:
    try:
        fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _busy()
    except OSError:
        # Some network file systems lock no directories; two restores to one volume at once are then not told apart.
        return
    if not os.fstat(room).st_nlink:
        _busy()


def _busy() -> None:
    msg = "another restore to this volume is under way: run this again after it"
    raise ActionError(msg)


@contextmanager
def _movable(name: str, parent: int) -> Iterator[None]:
    """A directory that its owner may not write to cannot be moved to another: it gets its mode back after the block."""
    try:
        found = os.open(name, _OPEN, dir_fd=parent)
    except OSError:
        yield
        return
    with _closing(found):
        mode = stat.S_IMODE(os.fstat(found).st_mode)
        with suppress(PermissionError):
            os.fchmod(found, mode | stat.S_IWUSR)
        try:
            yield
        finally:
            with suppress(PermissionError):
                os.fchmod(found, mode)


def _in_turn(name: str, source: int, other: str, target: int) -> None:
    """The same as an exchange, for file systems that have none: for a moment nothing is in the place."""
    aside = f"{name}{_ASIDE}"
    os.rename(other, aside, src_dir_fd=target, dst_dir_fd=source)
    try:
        os.rename(name, other, src_dir_fd=source, dst_dir_fd=target)
    except OSError:
        os.rename(aside, other, src_dir_fd=source, dst_dir_fd=target)
        raise
    os.rename(aside, name, src_dir_fd=source, dst_dir_fd=source)


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
