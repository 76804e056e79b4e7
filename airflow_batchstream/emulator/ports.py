"""One port for everything: a connection that opens with HTTP/2's preface goes to gRPC's unix socket, the rest is HTTP.

Clients then need one address, and it is the same for Batch, Logging and the image registry.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_batchstream.emulator.api import CONNECTION

PREFACE = b"PRI * HTTP/2.0"
QUEUE = 64
"""Pieces of a gRPC connection that wait for the socket, before the client is told to pause."""


def grpc_aware(socket_path: str) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol that relays gRPC connections to ``socket_path``."""

    class GrpcAware(H11Protocol):  # type: ignore[misc]
        _relay: Relay | None = None

        def data_received(self, data: bytes) -> None:
            if self._relay is None and data.startswith(PREFACE):
                self.connections.discard(self)  # uvicorn must not wait for it, nor time it out
                self._unset_keepalive_if_required()
                self._relay = Relay(self, socket_path)
            if self._relay is not None:
                self._relay.push(data)
                return
            token = CONNECTION.set(self.transport.abort)  # inherited by the request's task
            try:
                super().data_received(data)
            finally:
                CONNECTION.reset(token)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._relay is not None:
                self._relay.close()
            super().connection_lost(exc)

    return GrpcAware


class Relay:
    """Carries one client connection to the gRPC server's unix socket and back."""

    def __init__(self, protocol: Any, socket_path: str) -> None:
        self.protocol = protocol
        self.transport: asyncio.Transport = protocol.transport
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = asyncio.ensure_future(self._run(socket_path))

    def push(self, data: bytes) -> None:
        """Take what the client sent; a client that sends faster than gRPC reads is paused."""
        self.queue.put_nowait(data)
        if self.queue.qsize() > QUEUE:
            self.transport.pause_reading()

    def close(self) -> None:
        """The client has gone."""
        self.queue.put_nowait(b"")

    async def _run(self, socket_path: str) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(socket_path)
        except OSError:
            self.transport.abort()
            return
        down = asyncio.ensure_future(self._down(reader))
        try:
            await self._up(writer)
        finally:
            writer.close()
            down.cancel()
            await asyncio.gather(down, return_exceptions=True)

    async def _up(self, writer: asyncio.StreamWriter) -> None:
        while data := await self.queue.get():
            writer.write(data)
            try:
                await writer.drain()
            except OSError:
                return
            if self.queue.qsize() <= QUEUE // 2 and not self.transport.is_closing():
                self.transport.resume_reading()

    async def _down(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.transport.write(data)
                await self.protocol.flow.drain()
        except OSError:
            pass
        self.transport.close()
