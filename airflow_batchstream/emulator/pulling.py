"""Images for jobs: a name as a job writes it -> a file tree on this machine.

The registry of this server stands for every ``LOCATION-docker.pkg.dev``: an image is looked up under its full name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from airflow_batchstream.core.images import reference
from airflow_batchstream.emulator.runtimes.base import Rootfs


class ImageTrouble(Exception):  # noqa: N818
    """The image cannot be had.

    :param lines: what the agent logs.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


class Bundle(Protocol):
    """An unpacked image: ``config`` is the ``config`` object of its image configuration (``Env``, ``Cmd`` ...)."""

    @property
    def digest(self) -> str: ...

    @property
    def rootfs(self) -> Rootfs: ...

    @property
    def config(self) -> Mapping[str, Any]: ...


class Images:
    """The images of one local Batch. Unpacked once; the same image asked for twice at a time is unpacked once."""

    def __init__(self, store: Any, cache: Path) -> None:
        self.store, self.cache = store, cache
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, uri: str) -> Bundle:
        """Unpack an image, unless it is; :class:`ImageTrouble` if it is not there or breaks a rule."""
        from airflow_batchstream.emulator.images import unpack

        try:
            name = reference.parse(uri)
        except ValueError as error:
            raise ImageTrouble(f"docker: invalid reference format: {uri}: {error}") from None
        async with self._locks.setdefault(uri, asyncio.Lock()):
            try:
                bundle: Bundle = await asyncio.to_thread(unpack.prepare, self.store, name, self.cache)
            except LookupError as error:
                raise ImageTrouble(
                    f"Unable to find image '{uri}' locally",
                    f"docker: Error response from daemon: manifest for {uri} not found: manifest unknown: {error}",
                ) from error
            except (ValueError, OSError) as error:
                raise ImageTrouble(f"docker: failed to register layer of {uri}: {error}") from error
        return bundle
