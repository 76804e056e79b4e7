"""An ASGI app over real HTTP on a free port of loopback, in a thread of its own."""

from __future__ import annotations

import threading
from typing import Any, Self

import uvicorn


class Served:
    """The app while the context lasts.

    :param settings: further ones of uvicorn's.
    """

    def __init__(self, app: Any, **settings: Any) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", **settings)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the registry did not start"
            self._thread.join(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.force_exit = True
        self._server.should_exit = True
        self._thread.join(10)

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
