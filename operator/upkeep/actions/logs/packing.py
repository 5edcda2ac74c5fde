"""The content of open files in pieces, compressed and not: files may be larger than the memory."""

import os
import zlib
from collections.abc import Iterator
from typing import Final

from upkeep.actions.volume.tree import Tree

MAGIC: Final = b"\x1f\x8b"
"""How a gzip file begins."""
_PIECE: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


def pieces(file: int, tree: Tree) -> Iterator[bytes]:
    """The content of an open file from its beginning.

    Raises:
        StoppedError: the step was cancelled.
    """
    offset = 0
    while piece := os.pread(file, _PIECE, offset):
        tree.see_whether_stopped()
        offset += len(piece)
        yield piece


def packed(content: Iterator[bytes]) -> Iterator[bytes]:
    """The content as gzip."""
    packer = zlib.compressobj(wbits=_GZIP)
    for piece in content:
        yield packer.compress(piece)
    yield packer.flush()


def unpacked(content: Iterator[bytes]) -> Iterator[bytes]:
    """What is in all members of gzip, in pieces, however much little grows into.

    Raises:
        zlib.error: it ends too early, or is damaged.
    """
    unpacker = zlib.decompressobj(_GZIP)
    begun = False
    for piece in content:
        rest = piece
        while rest:
            if unpacker.eof:
                unpacker = zlib.decompressobj(_GZIP)
            yield unpacker.decompress(rest, _PIECE)
            begun = True
            rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if begun and not unpacker.eof:
        yield unpacker.flush()
        if not unpacker.eof:
            raise zlib.error


def write(target: int, data: bytes) -> None:
    """Write all of it to an open file."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
