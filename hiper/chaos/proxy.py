"""A TCP proxy with faults that are switched on and off: what a bad network does to one address.

Bounded: a connection holds one chunk per direction, so a slow reader slows its writer down, as a network would.
"""

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import Self

__all__ = ["FaultProxy", "Faults"]

_CHUNK_BYTES = 64 * 1024
_HOLE_POLL_S = 0.05
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST instead of FIN."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong while it is set; the default is a good network."""

    latency_s: float = 0.0
    """Added to every chunk, each way."""
    jitter_s: float = 0.0
    """Up to so much more, drawn for every chunk."""
    bytes_per_s: float = 0.0
    """Bandwidth of each direction of each connection; 0 = unlimited."""
    slice_bytes: int = 0
    """Chunks are cut into pieces of at most this size; 0 = as they come."""
    black_hole: bool = False
    """Connections stand and carry nothing: a partition without a word."""
    refuse: bool = False
    """New connections are closed at once."""


class FaultProxy:
    """Forwards `127.0.0.1:port` to `host:target_port`. An async context manager."""

    def __init__(self, host: str, target_port: int, generator: random.Random) -> None:
        self.faults = Faults()
        self.port = 0
        self._target = (host, target_port)
        self._generator = generator
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset_connections()

    def reset_connections(self) -> int:
        """Cut every connection with RST, in both directions; return how many ends were cut."""
        ends = list(self._open)
        for writer in ends:
            raw = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return len(ends)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.faults.refuse:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, back}
        self._open |= ends
        try:
            # Whichever direction ends first ends both: the protocols spoken here do not half-close.
            pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                for piece in self._pieces(chunk):
                    await self._delay(len(piece))
                    writer.write(piece)
                    await writer.drain()

    def _pieces(self, chunk: bytes) -> list[bytes]:
        size = self.faults.slice_bytes or len(chunk)
        return [chunk[start : start + size] for start in range(0, len(chunk), size)]

    async def _delay(self, size: int) -> None:
        while self.faults.black_hole:  # noqa: ASYNC110 - a fault may be replaced by another, no event says so
            await asyncio.sleep(_HOLE_POLL_S)
        faults = self.faults
        wait_s = faults.latency_s + faults.jitter_s * self._generator.random()
        if faults.bytes_per_s:
            wait_s += size / faults.bytes_per_s
        if wait_s:
            await asyncio.sleep(wait_s)
