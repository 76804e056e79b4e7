"""Many images of one call at one registry, some at once: what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from registry_calls import NAME, QUICK

from airflow_batchstream.clients.fetch import Limits
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import Image
from airflow_batchstream.core.images.reference import parse

UNASKED = "gave another image no good answer"


def in_waves(at: str, count: int, limits: Limits = QUICK, wide: int = 4) -> list[Image | ImageRefused]:
    """Each image by a Registry apart, some at once, as a scan of many does."""

    async def go() -> list[Image | ImageRefused]:
        free = asyncio.Semaphore(wide)
        async with Registry(at, limits=limits) as shared:

            async def one(i: int) -> Image | ImageRefused:
                async with free:
                    try:
                        return await shared.apart().resolve(parse(f"{NAME}{i}:latest"), kind=False)
                    except ImageRefused as error:
                        return error

            return await asyncio.gather(*(one(i) for i in range(count)))

    return asyncio.run(go())


def told(found: Sequence[Image | ImageRefused]) -> list[int]:
    """Which of them were given out."""
    return [i for i, one in enumerate(found) if isinstance(one, Image)]
