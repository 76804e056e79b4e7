"""What is known of the hosts that are spoken to, for all images of a call. Part of :mod:`.fetch`.

What costs much and is the same for every image: where a redirect's name leads to, that a host is silent or out of
order, and how fast it may be asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from dataclasses import dataclass, field

from airflow_batchstream.clients.pace import Pace, Record

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""
Place = tuple[Origin, str]
"""A host, and what it is asked for: its manifests may come while its blobs, which others keep for it, do not."""
MOST_PROBES = 16
"""Images that ask a host once after it answered another with nothing but errors of its own; one good answer ends it."""
LONGEST_LOOKUP = 2.0
"""Seconds that a name's addresses are waited for; where the resolver is slower, a proxy most likely resolves."""


@dataclass(slots=True)
class _Silent:
    """A place that gave one image no answer that helps in any try.

    :param found_by: whose tries they were; it alone may go on asking.
    :param why: as it was told there.
    :param probes: how many others may ask once.
    """

    found_by: object
    why: str
    probes: int = 0


@dataclass(slots=True)
class Hosts:
    """Shared by the fetchers of a call, in one event loop."""

    _lookups: dict[str, asyncio.Task[str]] = field(default_factory=dict)
    _records: dict[Place, Record] = field(default_factory=dict)
    _silent: dict[Place, _Silent] = field(default_factory=dict)
    _paces: dict[Origin, Pace] = field(default_factory=dict)
    _turns: dict[Origin, asyncio.Lock] = field(default_factory=dict)

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

    async def turn(self, place: Place, asking: object) -> str:
        """Wait until the host may be asked, at its pace, in the order of those who want to; why not: :meth:`silent`."""
        pace = self._pace(place[0])
        async with self._turns.setdefault(place[0], asyncio.Lock()):
            while not (why := self.silent(place, asking)):
                if (wait := pace.wait(time.monotonic())) <= 0:
                    pace.began(time.monotonic())
                    break
                await asyncio.sleep(min(wait, 0.5))  # others may give it up, or prolong the pause
            return why

    def answered(self, place: Place) -> None:
        """A whole answer has come from there, which is neither passing trouble nor a call for fewer requests."""
        self._record(place).good(time.monotonic())
        self._silent.pop(place, None)
        self._pace(place[0]).answered()

    def fewer(self, place: Place, pause: float) -> None:
        """A host asks for fewer requests, and for a pause of some seconds or none."""
        self._record(place).refusals += self._pace(place[0]).fewer(time.monotonic(), pause)

    def goes_on(self, place: Place) -> bool:
        """Whether a host that asks for fewer requests answers some, so that the turn of each will come."""
        return self._record(place).lately(time.monotonic()) and not self._pace(place[0]).too_long(time.monotonic())

    def hopeless(self, place: Place, tries: int) -> bool:
        """Whether a host that asks for fewer requests is given up, for all images at once."""
        return self._record(place).hopeless(time.monotonic(), self._pace(place[0]), tries)

    def no_answer(self, place: Place, *, since: float, found_by: object, why: str, probes: int = 0) -> None:
        """One image got no answer that helps in any try. So will all, unless another image got one meanwhile.

        :param since: when the first try began, by :func:`time.monotonic`.
        :param probes: how many others may ask once all the same, where that costs little.
        """
        if known := self._silent.get(place):
            known.probes -= known.found_by is not found_by
        elif self._record(place).answered < since:
            self._silent[place] = _Silent(found_by, why, probes)

    def silent(self, place: Place, asking: object) -> str:
        """Why the host is not asked any more; empty if it is."""
        found = self._silent.get(place)
        return found.why if found and found.found_by is not asking and found.probes <= 0 else ""

    def tries(self, place: Place, asking: object, most: int) -> int:
        """How often one thing is asked for."""
        found = self._silent.get(place)
        return 1 if found and found.found_by is not asking else most

    def _record(self, place: Place) -> Record:
        return self._records.setdefault(place, Record())

    def _pace(self, origin: Origin) -> Pace:
        return self._paces.setdefault(origin, Pace())


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
