"""What has to be in a base backup of PostgreSQL: its server's own manifest, held against the files.

It is read here, as pg_verifybackup does, because manifests of all versions look alike, while that program may be older
than the server. It must never take a file for whole that it has not read to its end.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.process import run
from upkeep.actions.backup.programs import Programs

MANIFEST: Final = "backup_manifest"
DATA: Final = "data"
TABLESPACES: Final = "tablespaces"
"""Directories of a base backup, side by side: that of the server, and those of tablespaces by their numbers."""

_WAL: Final = "pg_wal"
_LINKS: Final = "pg_tblspc"
_ALGORITHM: Final = "SHA256"
_PIECE: Final = 1024 * 1024
_INCREMENTAL: Final = "INCREMENTAL."
_MAGIC: Final = 0xD3AE1F0D
_HEADER: Final = struct.Struct("=III")
_BLOCK: Final = 8192
_TOLD: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file as the server sent it: its size in bytes, and its SHA-256 as hexadecimal digits."""

    size: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A part of the write-ahead log without which the files are of no single moment."""

    timeline: int
    start: str
    end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a manifest lists.

    Attributes:
        files: path in the server's directory → what has to be there.
        log: what has to be in the log.
    """

    files: Mapping[str, Entry]
    log: Sequence[Logged]

    @classmethod
    def read(cls, data: Path) -> "Inventory":
        """Read the manifest of a backup.

        Raises:
            DamagedError: it is not there, or not as the server wrote it.
        """
        try:
            return _read((data / MANIFEST).read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = f"the manifest of the backup cannot be read ({error}): make a new backup at once"
            raise DamagedError(msg) from error

    def compare(self, data: Path) -> None:
        """Read every file, and compare it with what the server sent.

        Raises:
            DamagedError: a file is missing, or another, or one too many.
        """
        found = dict(_files(data))
        wrong = [f"{path!r} is missing" for path in sorted(self.files.keys() - found.keys())]
        wrong += [f"{path!r} does not belong to it" for path in sorted(found.keys() - self.files.keys())]
        for path, entry in self.files.items():
            if path in found and (difference := _difference(found[path], entry)):
                wrong.append(f"{path!r} {difference}")
        if wrong:
            more = f" (and {len(wrong) - _TOLD} more)" if len(wrong) > _TOLD else ""
            what = "; ".join(wrong[:_TOLD])
            msg = f"the base backup is not as the server sent it: {what}{more}: make a new backup at once"
            raise DamagedError(msg)

    async def compare_log(self, programs: Programs, data: Path, *, scratch: Path) -> None:
        """Read the log from where the backup began to where it is of one moment.

        Args:
            programs: of the very version of the server.
            data: directory of the server.
            scratch: working directory.

        Raises:
            DamagedError: a part of it is missing or damaged.
        """
        for part in self.log:
            where = [f"--timeline={part.timeline}", f"--start={part.start}", f"--end={part.end}"]
            command = [programs.path("pg_waldump"), "--quiet", f"--path={data / _WAL}", *where]
            finished = await run(command, environment={}, directory=scratch)
            if finished.code:
                msg = f"the log in the base backup is not whole: {finished.complaint}: make a new backup at once"
                raise DamagedError(msg)


def whole_size(directory: Path) -> int:
    """Bytes of the files in it; of a file of which only what has changed is there, those of all of it."""
    return sum(_whole_size(Path(path) / name) for path, _, names in os.walk(directory) for name in names)


def _whole_size(file: Path) -> int:
    if file.name.startswith(_INCREMENTAL):
        with file.open("rb") as opened:
            header = opened.read(_HEADER.size)
        if len(header) == _HEADER.size:
            magic, _, blocks = _HEADER.unpack(header)
            if magic == _MAGIC:
                return int(blocks) * _BLOCK
    return file.lstat().st_size


def _read(content: bytes) -> Inventory:
    document: dict[str, Any] = json.loads(content)
    lines = content.rstrip(b"\n").rpartition(b"\n")
    if hashlib.sha256(lines[0] + lines[1]).hexdigest() != document["Manifest-Checksum"]:
        msg = "its own checksum is another"
        raise ValueError(msg)
    files = {}
    for each in document["Files"]:
        if each["Checksum-Algorithm"] != _ALGORITHM:
            msg = f"it has checksums by {each['Checksum-Algorithm']}, not {_ALGORITHM}"
            raise ValueError(msg)
        path = each["Path"] if "Path" in each else os.fsdecode(bytes.fromhex(each["Encoded-Path"]))
        files[str(path)] = Entry(size=int(each["Size"]), checksum=str(each["Checksum"]).lower())
    log = [
        Logged(timeline=int(each["Timeline"]), start=str(each["Start-LSN"]), end=str(each["End-LSN"]))
        for each in document["WAL-Ranges"]
    ]
    if not files or not log:
        msg = "it lists nothing"
        raise ValueError(msg)
    return Inventory(files=files, log=log)


def _files(data: Path) -> Iterator[tuple[str, Path]]:
    """What is to be listed, by its path as the server names it; of tablespaces, below their links."""
    places = {"": data, **{f"{_LINKS}/{link.name}/": link for link in sorted((data / _LINKS).glob("*"))}}
    for prefix, place in places.items():
        for path, folders, names in os.walk(place):
            inside = Path(path).relative_to(place).as_posix()
            if prefix == "" and inside == ".":
                folders[:] = [each for each in folders if each not in {_WAL, _LINKS}]
                names = [each for each in names if each != MANIFEST]  # noqa: PLW2901 - the rest is looked at alike
            start = prefix if inside == "." else f"{prefix}{inside}/"
            yield from ((f"{start}{name}", Path(path) / name) for name in names)


def _difference(file: Path, entry: Entry) -> str:
    size = file.lstat().st_size
    if size != entry.size or file.is_symlink():
        return f"has {size} bytes of {entry.size}"
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
    return "" if digest.hexdigest() == entry.checksum else "has another content"
