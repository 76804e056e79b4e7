"""Images for jobs: a name as a job writes it -> a file tree on this machine, and what the agent says of how it came.

The registry of this server stands for every ``LOCATION-docker.pkg.dev``: an image is looked up under its full name.

An image comes here in one way, whatever the job asks for. But an agent's log is where people look for the other two, so
it is told as Batch would do it: streamed if the job asks for it and the image keeps the rules that are known here, else
pulled, in Docker's words. Batch itself says nothing of streaming; what only this server says is marked as its own.
"""

from __future__ import annotations

import asyncio
import tarfile
from dataclasses import dataclass
from pathlib import Path

from airflow_batchstream.core.images import reference
from airflow_batchstream.core.images.manifest import Manifest, read_config, read_manifest
from airflow_batchstream.emulator.images.layer import NO_ENTRIES
from airflow_batchstream.emulator.images.store import Store
from airflow_batchstream.emulator.images.unpack import Bundle, decompressed, prepare

OWN = "[local Batch]"
"""Begins a line that the real agent would not print."""
SMALL = 1 << 16
"""Bytes of a blob above which it surely holds something."""


class ImageTrouble(Exception):
    """The image cannot be had.

    :param lines: what the agent logs.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Arrival:
    """How an image came.

    :param lines: what the agent logs of it.
    """

    bundle: Bundle
    streamed: bool
    lines: tuple[str, ...]


class Images:
    """The images of one local Batch. Unpacked once; the same image asked for twice at a time is unpacked once."""

    def __init__(self, store: Store, cache: Path) -> None:
        self.store, self.cache = store, cache
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, uri: str, *, streaming: bool = False) -> Arrival:
        """Unpack an image, unless it is; :class:`ImageTrouble` if it is not there or breaks a rule.

        :param streaming: whether the job asks for Image streaming.
        """
        try:
            name = reference.parse(uri)
        except ValueError as error:
            raise ImageTrouble(f"docker: invalid reference format: {uri}: {error}") from None
        async with self._locks.setdefault(uri, asyncio.Lock()):
            try:
                bundle = await asyncio.to_thread(prepare, self.store, name, self.cache)
                return await asyncio.to_thread(self._arrival, uri, name, bundle, streaming)
            except LookupError as error:
                raise ImageTrouble(*_missing(uri, error, streaming)) from error
            except (ValueError, OSError) as error:
                raise ImageTrouble(f"docker: failed to register layer of {uri}: {error}") from error

    def _arrival(self, uri: str, name: reference.Reference, bundle: Bundle, streaming: bool) -> Arrival:
        manifest = self._manifest(name, bundle)
        why_not = self._why_not_streamed(name, manifest) if streaming else "enableImageStreaming is not set"
        if not why_not:
            return Arrival(bundle, True, (f"{OWN} Streaming image {uri}: it keeps the rules that are known here.",))
        pulled = [
            f"{OWN} Pulling image {uri} in full: {why_not}.",
            f"Unable to find image '{uri}' locally",
            f"{name.digest or name.target}: Pulling from {name.repository}",
            *(f"{layer.digest.partition(':')[2][:12]}: Pulling fs layer" for layer in manifest.layers),
            f"Digest: {bundle.digest}",
            f"Status: Downloaded newer image for {uri}",
        ]
        return Arrival(bundle, False, tuple(pulled))

    def _manifest(self, name: reference.Reference, bundle: Bundle) -> Manifest:
        found = self.store.manifest(name.name, bundle.digest)
        read = read_manifest(found.media_type, found.content)
        if not isinstance(read, Manifest):
            raise ValueError(f"{bundle.digest} is no image")
        return read

    def _why_not_streamed(self, name: reference.Reference, manifest: Manifest) -> str:
        """The first rule of Image streaming that the image breaks; empty if none. Told without the library's own rules.

        Not looked at: whether the image is where the job runs. Schema version 1 is not taken here at all.
        """
        if not name.is_artifact_registry:
            return f"{name.registry} is not Artifact Registry"
        config = manifest.config
        diff_ids = read_config(self.store.blob(config.digest).read_bytes()).diff_ids if config else ()
        if len(set(diff_ids)) < len(diff_ids):
            return "two of its layers are the same"
        empty = [n for n, layer in enumerate(manifest.layers) if _is_empty(self.store.blob(layer.digest))]
        return f"layer {empty[0]} is empty" if empty else ""


def _is_empty(blob: Path) -> bool:
    """Whether the tar of a layer, which was unpacked already, has no entry."""
    if blob.stat().st_size > SMALL:
        return False
    try:
        with blob.open("rb", 0) as file, decompressed(file) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            return tar.next() is None
    except tarfile.ReadError as error:
        return str(error) in NO_ENTRIES


def _missing(uri: str, error: LookupError, streaming: bool) -> tuple[str, ...]:
    """In the words of who looks for it: Docker, or containerd, which Image streaming runs on."""
    if streaming:
        return (f'failed to resolve reference "{uri}": {uri}: not found: {error}',)
    return (
        f"Unable to find image '{uri}' locally",
        f"docker: Error response from daemon: manifest for {uri} not found: manifest unknown: {error}",
    )
