"""What is known of the hosts that are spoken to, for all images of a call. Part of :mod:`.fetch`.

Two things cost much and are the same for every image: where a redirect's name leads to, and that a host is silent.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass, field

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""
LONGEST_LOOKUP = 2.0
"""Seconds that a name's addresses are waited for; where the resolver is slower, a proxy most likely resolves."""


@dataclass(slots=True)
class _Silent:
    """A host that gave one image no answer in any try.

    :param found_by: whose tries they were; it alone may go on asking.
    :param why: as it was told there.
    """

    found_by: object
    why: str


@dataclass(slots=True)
class Hosts:
    """Shared by the fetchers of a call, in one event loop."""

    _lookups: dict[str, asyncio.Task[str]] = field(default_factory=dict)
    _answered: dict[Origin, float] = field(default_factory=dict)
    _silent: dict[Origin, _Silent] = field(default_factory=dict)

    async def unsafe(self, host: str) -> str:
        """Why a name is not followed, judged by what it stands for; empty if it may be. Looked up once.

        Private addresses are not refused: with Private Service Connect Google's own names stand for such. Nor is a name
        that does not resolve here, or not in time: it may do so at a proxy. A name that stands for something else by
        the time of the connection meets TLS: nobody inside has a certificate for it, and a metadata server speaks plain
        HTTP only.
        """
        name = host.lower()
        if name not in self._lookups:
            self._lookups[name] = asyncio.create_task(_unsafe_addresses(name))
        return await asyncio.shield(self._lookups[name])  # others wait for it even if this one is cancelled

    def answered(self, origin: Origin) -> None:
        """A whole answer has come from there."""
        self._answered[origin] = time.monotonic()
        self._silent.pop(origin, None)

    def no_answer(self, origin: Origin, *, since: float, found_by: object, why: str) -> None:
        """One image got no answer in any try. The host is silent unless another image got one meanwhile.

        :param since: when the first try began, by :func:`time.monotonic`.
        """
        if self._answered.get(origin, 0.0) < since:
            self._silent.setdefault(origin, _Silent(found_by, why))

    def silent(self, origin: Origin, asking: object) -> str:
        """Why the host is not asked once more; empty if it is."""
        found = self._silent.get(origin)
        return found.why if found and found.found_by is not asking else ""


async def _unsafe_addresses(host: str) -> str:
    for address in await _addresses(host):
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
            return f"its name stands for {ip}"
    return ""


async def _addresses(host: str) -> list[str]:
    """None where there are none, or none in time.

    In a thread of its own: a resolver that hangs would take the loop's few from the work on layers, and the end of the
    loop would wait for it.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        try:
            told = [str(address[0]) for *_, address in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError):
            told = []
        try:
            loop.call_soon_threadsafe(lambda: None if found.done() else found.set_result(told))
        except RuntimeError:  # the loop has ended meanwhile
            return

    threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        return await asyncio.wait_for(found, LONGEST_LOOKUP)
    except TimeoutError:
        return []
