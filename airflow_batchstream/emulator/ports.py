"""One port for everything, told apart by a connection's first bytes.

TLS's handshake ─> unix socket of TLS ─> once more, on what was inside
HTTP/2's preface ─> unix socket of gRPC
the rest         ─> HTTP/1.1

Clients then need one address, and it is the same for Batch, Logging and the image registry.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from airflow_batchstream.emulator.api import CONNECTION

PREFACE = b"PRI * HTTP/2.0"
HANDSHAKE = b"\x16"
"""Of a TLS record; no HTTP request begins with it."""
QUEUE = 64
"""Pieces of a connection that wait for the socket, before the client is told to pause."""


def any_protocol(grpc_socket: str, tls_socket: str) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol that relays gRPC's and TLS's connections to the unix sockets that serve them."""

    class AnyProtocol(H11Protocol):  # type: ignore[misc]
        _begun = False
        _relay: Relay | None = None

        def data_received(self, data: bytes) -> None:
            if not self._begun:
                self._begun = True
                if data.startswith(PREFACE):
                    self._hand_over(grpc_socket)
                elif data.startswith(HANDSHAKE):
                    self._hand_over(tls_socket)
            if self._relay is not None:
                self._relay.push(data)
                return
            token = CONNECTION.set(self.transport.abort)  # inherited by the request's task
            try:
                super().data_received(data)
            finally:
                CONNECTION.reset(token)

        def _hand_over(self, socket_path: str) -> None:
            self.connections.discard(self)  # uvicorn must not wait for it, nor time it out
            self._unset_keepalive_if_required()
            self._relay = Relay(self, socket_path)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._relay is not None:
                self._relay.close()
            super().connection_lost(exc)

    return AnyProtocol


class Relay:
    """Carries one client connection to a unix socket and back."""

    def __init__(self, protocol: Any, socket_path: str) -> None:
        self.protocol = protocol
        self.transport: asyncio.Transport = protocol.transport
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = asyncio.ensure_future(self._run(socket_path))

    def push(self, data: bytes) -> None:
        """Take what the client sent; a client that sends faster than the socket reads is paused."""
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
