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

from asgiref.sync import sync_to_async

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
_opening: dict[tuple[asyncio.AbstractEventLoop, Endpoint], asyncio.Task[None]] = {}
_closing: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def shared_hub(endpoint: Endpoint, credentials: Callable[[], Credentials | None]) -> AsyncIterator[Hub]:
    """The hub of this loop and endpoint; made for the first who asks, closed after the last one.

    :param credentials: asked in a thread, once for the first; it may read a connection. Once they have failed a wait,
        the next who asks gets a new hub: the connection may have new ones.
    """
    key = (asyncio.get_running_loop(), endpoint)
    while key not in _hubs:
        await asyncio.shield(_opening.get(key) or _begin(key, credentials))
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


def _begin(
    key: tuple[asyncio.AbstractEventLoop, Endpoint], credentials: Callable[[], Credentials | None]
) -> asyncio.Task[None]:
    """Open the hub in a task of its own: two hundred triggers that start at once ask for credentials once."""

    async def opened() -> None:
        try:
            clients = await asyncio.to_thread(_imported)
            # Not by asyncio.to_thread: on Airflow 3.1 what a triggerer's thread asks of its supervisor (a connection)
            # then takes the answer of another question, and the triggerer dies.
            found = await sync_to_async(credentials, thread_sensitive=False)()
            _hubs[key] = _open(clients, key[1], found)
        finally:
            del _opening[key]

    opening = _opening[key] = key[0].create_task(opened(), context=contextvars.Context())
    return opening


def _imported() -> type[GoogleClients]:
    """Google's clients: half a second of importing, for which no loop should wait."""
    from airflow_batchstream.clients.google import GoogleClients

    return GoogleClients


def _open(clients: type[GoogleClients], endpoint: Endpoint, credentials: Credentials | None) -> _Shared:
    made = clients(endpoint, credentials)
    return _Shared(made, Hub(made))


async def _close(shared: _Shared) -> None:
    await shared.clients.close()
