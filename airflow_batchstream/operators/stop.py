"""The word to stop, from a signal handler to an event loop.

Airflow calls ``on_kill`` as a signal handler on the main thread, in the middle of whatever runs there, and kills the
process some four seconds later. So the handler only raises this flag and wakes the loop; the loop asks and acts.
"""

from __future__ import annotations

import asyncio


class Stop:
    """A flag that can be raised from anywhere and awaited in one event loop at a time."""

    def __init__(self) -> None:
        self.raised = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def bind(self) -> asyncio.Event:
        """The event of the running loop, set already if the flag is up."""
        self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        if self.raised:
            self._event.set()
        return self._event

    def set(self) -> bool:
        """Raise the flag. True if a loop is running that will notice."""
        self.raised = True
        loop, event = self._loop, self._event
        if loop is None or event is None or loop.is_closed():
            return False
        loop.call_soon_threadsafe(event.set)
        return True
