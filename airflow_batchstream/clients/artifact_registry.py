"""One question to Artifact Registry's API: what kind of repository is this? Beside :mod:`.registry`, less needed.

The registry gives out images of any repository alike, so nothing but the API tells a virtual one. A scan can do
without: whatever goes wrong here becomes :attr:`.Repository.untold`, within seconds, once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import quote

from airflow_batchstream.clients.fetch import Fetcher, FetchError
from airflow_batchstream.core.images.repository import Repository, read

HOST = "artifactregistry.googleapis.com"
_LONGEST = 64 * 1024


@dataclass(slots=True)
class Repositories:
    """What was found out about repositories: each is asked about once, however many images it has.

    :param emulator: ``HOST:PORT`` of a local Batch, or empty for Google.
    """

    emulator: str
    _told: dict[str, Repository] = field(default_factory=dict)
    _asking: dict[str, asyncio.Lock] = field(default_factory=dict)
    _silent: str = ""

    async def of(self, name: str, fetcher: Fetcher, authorization: str) -> Repository:
        """The repository of a resource name. No error: see :attr:`.Repository.untold`.

        :param fetcher: whose request it is, if one is needed.
        :param authorization: header; goes to Artifact Registry's API only.
        """
        async with self._asking.setdefault(name, asyncio.Lock()):  # of several images at once, one asks, others wait
            if name not in self._told:
                self._told[name] = await self._ask(name, fetcher, authorization)
            return self._told[name]

    async def _ask(self, name: str, fetcher: Fetcher, authorization: str) -> Repository:
        if self._silent:  # a host that does not answer is not waited for again, for none of its repositories
            return Repository(name, untold=self._silent)
        base = f"http://{self.emulator}" if self.emulator else f"https://{HOST}"
        url = f"{base}/v1/{quote(name, safe='/:')}"  # the colon of a domain-scoped project stays one
        seconds = fetcher.limits.aside
        try:
            async with asyncio.timeout(seconds):
                answer = await fetcher.fetch("GET", url, limit=_LONGEST, authorization=authorization, tries=1)
        except TimeoutError:
            self._silent = f"no answer within {seconds:g} s"
            return Repository(name, untold=self._silent)
        except FetchError as error:
            self._silent = str(error)
            return Repository(name, untold=self._silent)
        return read(name, answer.body) if answer.status == 200 else Repository(name, untold=f"HTTP {answer.status}")
