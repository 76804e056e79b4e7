"""Images for jobs: a name as a job writes it -> a file tree on this machine.

The registry of this server stands for every ``LOCATION-docker.pkg.dev``: an image is looked up under its full name.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from airflow_batchstream.core.images import reference
from airflow_batchstream.emulator.images.store import Store
from airflow_batchstream.emulator.images.unpack import Bundle, prepare


class ImageTrouble(Exception):
    """The image cannot be had.

    :param lines: what the agent logs.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


class Images:
    """The images of one local Batch. Unpacked once; the same image asked for twice at a time is unpacked once."""

    def __init__(self, store: Store, cache: Path) -> None:
        self.store, self.cache = store, cache
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, uri: str) -> Bundle:
        """Unpack an image, unless it is; :class:`ImageTrouble` if it is not there or breaks a rule."""
        try:
            name = reference.parse(uri)
        except ValueError as error:
            raise ImageTrouble(f"docker: invalid reference format: {uri}: {error}") from None
        async with self._locks.setdefault(uri, asyncio.Lock()):
            try:
                return await asyncio.to_thread(prepare, self.store, name, self.cache)
            except LookupError as error:
                raise ImageTrouble(
                    f"Unable to find image '{uri}' locally",
                    f"docker: Error response from daemon: manifest for {uri} not found: manifest unknown: {error}",
                ) from error
            except (ValueError, OSError) as error:
                raise ImageTrouble(f"docker: failed to register layer of {uri}: {error}") from error
