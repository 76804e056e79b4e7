"""A server of plain sockets on loopback that answers as no HTTP library would: byte by byte, never, or for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Answering = Callable[[socket.socket], None]
"""Sends what it likes on a connection whose request has been read."""


class RawServer:
    """Accepts connections in threads; a context manager.

    :param answering: what each connection gets; a connection that the client has closed ends it.
    :param silent: read no request and send nothing: a handshake that is never answered.
    """

    def __init__(self, answering: Answering, *, silent: bool = False) -> None:
        self._answering, self._silent = answering, silent
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.heard: list[bytes] = []

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._silent:
                self.heard.append(connection.recv(4096))
                return  # and the connection stays open
            heard = b""
            while not heard.endswith(b"\r\n\r\n") and (piece := connection.recv(4096)):
                heard += piece
            self.heard.append(heard)
            self._answering(connection)
            connection.close()


def repeated(start: bytes, piece: bytes, *, pause: float = 0.0, most: int = 10**9) -> Answering:
    """A beginning, and then one piece again and again."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(most):
            connection.sendall(piece)
            if pause:
                time.sleep(pause)

    return send


def closes_at_once(connection: socket.socket) -> None:
    """Nothing, and the end."""


@contextlib.contextmanager
def never_accepts() -> Iterator[str]:
    """The address of a server whose queue of connections is full, so that another one is not even refused."""
    with contextlib.ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        place = listening.getsockname()
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(place)
        yield f"127.0.0.1:{place[1]}"
