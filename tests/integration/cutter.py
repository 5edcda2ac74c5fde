"""A TCP relay on loopback whose cable can be cut: what goes through is counted, and can be ended at any byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_PIECE: Final = 16 * 1024


class Relay:
    """The relay, while it runs.

    Attributes:
        port: where it listens.
        sent: bytes that went from clients to the server.
        said: those bytes, where `listens`.
        cut_after: as soon as so many bytes were sent, it is cut; None for never.
    """

    def __init__(self) -> None:
        self.port = 0
        self.sent = 0
        self.listens = False
        self.said = bytearray()
        self.cut_after: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False

    @property
    def cut(self) -> bool:
        """Whether nothing gets through."""
        return self._cut

    def mend(self) -> None:
        """Let everything through again."""
        self.cut_after, self._cut = None, False

    def sever(self) -> None:
        """End all connections, and refuse new ones."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to: int) -> None:
        """One connection."""
        if self._cut:
            writer.transport.abort()
            return
        with suppress(OSError):
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", to)
            self._writers |= {writer, other_writer}
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pass(reader, other_writer, counted=True))
                    tasks.create_task(self._pass(other_reader, writer, counted=False))
            finally:
                self._writers -= {writer, other_writer}
                writer.transport.abort()
                other_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if counted:
                    self.sent += len(piece)
                    self.said += piece if self.listens else b""
                    if self.cut_after is not None and self.sent >= self.cut_after:
                        self.sever()
                        return
                writer.write(piece)
                await writer.drain()
            writer.write_eof()


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[Relay]:
    """A relay to a port on loopback."""
    made = Relay()
    server = await asyncio.start_server(lambda r, w: made.serve(r, w, to=port), "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.sever()
        server.close()
