"""An image resolved, as against a local Batch and as against Google, at a registry that misbehaves."""

from __future__ import annotations

import asyncio

import pytest
from hostile_registry import Detour, HostileRegistry

from airflow_batchstream.clients.fetch import Limits
from airflow_batchstream.clients.registry import Registry, TokenSource
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import Image, Platform
from airflow_batchstream.core.images.reference import parse

HOST = "us-docker.pkg.dev"
NAME = f"{HOST}/p/r/i"
AMD64 = Platform("linux", "amd64")
QUICK = Limits(connect=2, pause=0.5, total=5, backoff=0.01, longest_wait=0.05)


def local(
    hostile: HostileRegistry, name: str = f"{NAME}:latest", platform: Platform = AMD64, limits: Limits = QUICK
) -> Image:
    """Resolve as against a local Batch, and ask nothing else."""

    async def go() -> Image:
        async with Registry(hostile.address, limits=limits) as registry:
            return await registry.resolve(parse(name), platform, kind=False)

    return asyncio.run(go())


def refused(hostile: HostileRegistry, name: str = f"{NAME}:latest", limits: Limits = QUICK) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        local(hostile, name, limits=limits)
    return caught.value


class Tokens:
    """A source of tokens that counts."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)

    async def __call__(self) -> str:
        return self.left.pop(0)


def outside(hostile: HostileRegistry, name: str = f"{NAME}:latest", token: TokenSource | None = None) -> Image:
    """Resolve as against Google: https, the real host names, a token; nothing else is asked."""

    async def go() -> Image:
        async with Registry(None, token, limits=QUICK, transport=Detour(hostile.address)) as registry:
            return await registry.resolve(parse(name), AMD64, kind=False)

    return asyncio.run(go())
