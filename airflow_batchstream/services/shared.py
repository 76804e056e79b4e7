"""One hub for each event loop and endpoint, for as long as somebody waits in it.

A client a trigger would be a TLS connection a trigger, and a reader of logs a trigger would spend the project's quota
in a minute. So all triggers of a process share; ``dag.test()``, which runs each trigger in an event loop of its own,
gets a hub a loop.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.services.hub import Hub

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from airflow_batchstream.clients.google import GoogleClients


@dataclass(slots=True)
class _Shared:
    clients: GoogleClients
    hub: Hub
    users: int = 0


_hubs: dict[tuple[asyncio.AbstractEventLoop, Endpoint], _Shared] = {}
_closing: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def shared_hub(endpoint: Endpoint, credentials: Callable[[], Credentials | None]) -> AsyncIterator[Hub]:
    """The hub of this loop and endpoint; made for the first who asks, closed after the last one.

    :param credentials: asked in a thread, once for the first; it may read a connection. Once they have failed a wait,
        the next who asks gets a new hub: the connection may have new ones.
    """
    key = (asyncio.get_running_loop(), endpoint)
    if key not in _hubs:
        found = await asyncio.to_thread(_first, credentials)
        if key not in _hubs:  # another may have been quicker meanwhile
            # In a clean context: what Google's clients log is not the task of whoever came first.
            _hubs[key] = contextvars.Context().run(_open, endpoint, found)
    shared = _hubs[key]
    shared.users += 1
    try:
        yield shared.hub
    finally:  # on a cancel too: nothing is awaited here
        shared.users -= 1
        if _hubs.get(key) is shared and (not shared.users or shared.hub.unauthenticated):
            del _hubs[key]
        if not shared.users:
            closing = key[0].create_task(_close(shared), context=contextvars.Context())
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)


def _first(credentials: Callable[[], Credentials | None]) -> Credentials | None:
    """What takes long the first time, done in a thread: Google's clients are half a second of importing."""
    import airflow_batchstream.clients.google  # noqa: F401

    return credentials()


def _open(endpoint: Endpoint, credentials: Credentials | None) -> _Shared:
    from airflow_batchstream.clients.google import GoogleClients

    clients = GoogleClients(endpoint, credentials)
    return _Shared(clients, Hub(clients))


async def _close(shared: _Shared) -> None:
    await shared.clients.close()
