"""Many images, or all of a job's, looked at for a person: what cannot be read is one answer among others, no error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.services.scan import Scan, platform_of, read, scan

AT_ONCE = 8
"""Images that are looked at at the same time."""


async def scan_each(
    images: Iterable[str],
    *,
    region: str,
    endpoint: Endpoint,
    token: Callable[[], Awaitable[str]] | None = None,
    machine_type: str = "",
) -> list[Scan]:
    """Scan images, each once, in their order; parameters as of :func:`~airflow_batchstream.services.scan.scan`.

    :raises ImageRefused: only for a name that cannot be read, before any registry is asked. An image that is not there
        is a broken rule, one that the registry does not give out *could not be told*.
    """
    names = list(dict.fromkeys(images))
    for name in names:
        read(name)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Scan:
        async with room:
            try:
                return await scan(name, region=region, endpoint=endpoint, token=token, machine_type=machine_type)
            except ImageRefused as error:
                return _unread(name, machine_type, error)

    return list(await asyncio.gather(*(one(name) for name in names)))


def _unread(name: str, machine_type: str, error: ImageRefused) -> Scan:
    """What a registry's refusal says of an image."""
    rule, verdict = ("image-exists", Verdict.BROKEN) if error.missing else ("image-readable", Verdict.UNKNOWN)
    found = error.findings or (Finding(rule, verdict, "image", name, str(error)),)
    return Scan(name, read(name), platform_of(machine_type), tuple(found))
