"""An image in the store -> a file tree on this machine, unpacked once and shared by all containers that run it.

Each layer is unpacked into a folder of its own under its diff id, so images that share layers share them here. It
appears by a rename under a lock, after both its digests were right: several processes may use one cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from backports.zstd import DecompressionParameter, ZstdError, ZstdFile

from airflow_batchstream.core.images.manifest import Descriptor, Index, Platform, read_config, read_manifest
from airflow_batchstream.core.images.reference import Reference
from airflow_batchstream.emulator.images.layer import PIECE, LayerError, LayerWriter
from airflow_batchstream.emulator.images.store import Manifest, Store, StoreError
from airflow_batchstream.emulator.runtimes.base import Rootfs
from airflow_batchstream.emulator.runtimes.rootfs import remove_tree

GZIP, ZSTD, ZSTD_SKIPPED = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
ZSTD_WINDOW_LOG = 27
"""Binary logarithm of the bytes that zstd may look back over, all of which it keeps: 128 MiB, the bound of its own
program (``--long``, ``--memory``)."""
CONFIG_BYTES = 8 << 20
DEPTH = 4
"""Indexes inside of indexes that are followed."""


class ImageUnknownError(LookupError):
    """The store has no such image."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked image.

    :param digest: of the image's manifest, also where the name led to an index.
    :param config: the ``config`` object of the image's configuration (``Env``, ``Cmd``, ``Entrypoint``, ``User`` ...).
    :param notes: what was left out while unpacking, a sentence each.
    """

    digest: str
    rootfs: Rootfs
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def prepare(store: Store, reference: Reference, cache: Path, platform: Platform | None = None) -> Bundle:
    """Unpack an image, unless it is.

    :param cache: a folder for unpacked layers; made where it is missing.
    :param platform: of an index's images; this machine's if None.
    :raises ImageUnknownError: the store does not have it (a :class:`LookupError`).
    :raises ValueError: it is no image for this machine, or is damaged, or breaks a rule.
    :raises OSError: the disk is full, and the like.
    """
    found, manifest = _image(store, reference, platform or this_machine())
    if manifest.config is None:
        raise ValueError(
            f"{reference} has a manifest of schema version 1, which is not run: containerd 2 refuses it too"
        )
    raw = _config(store, reference.name, manifest.config)
    diff_ids = read_config(raw).diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise ValueError(f"{reference} has {len(manifest.layers)} layers, but its config tells of {len(diff_ids)}")
    layers: dict[str, Path] = {}
    for descriptor, diff_id in zip(manifest.layers, diff_ids, strict=True):
        folder = unpack_layer(_blob(store, reference.name, descriptor.digest), descriptor.digest, diff_id, cache)
        layers.pop(diff_id, None)  # of a layer that is there twice the last one decides, and overlayfs takes it once
        layers[diff_id] = folder
    return _bundle(found.digest, layers, cache, json.loads(raw))


def this_machine() -> Platform:
    """What this machine runs."""
    return Platform.of("linux", os.uname().machine)


def _bundle(digest: str, layers: Mapping[str, Path], cache: Path, config: Mapping[str, Any]) -> Bundle:
    if not layers:
        raise ValueError(f"the image {digest} has no layers: there is nothing to run")
    sidecars = [json.loads((folder / "hidden.json").read_text()) for folder in layers.values()]
    notes: dict[str, int] = {}
    for sidecar in sidecars:
        for note, times in sidecar["notes"].items():
            notes[note] = notes.get(note, 0) + times
    chain = hashlib.sha256("\n".join(layers).encode()).hexdigest()
    rootfs = Rootfs(
        layers=tuple(folder / "fs" for folder in layers.values()),
        merged=cache / "merged" / chain,
        overlay=all(sidecar["overlay"] for sidecar in sidecars),
    )
    told = tuple(f"{note} ({times} entries)" for note, times in sorted(notes.items()))
    return Bundle(digest, rootfs, config.get("config") or {}, told)


def _image(store: Store, reference: Reference, platform: Platform) -> tuple[Manifest, Any]:
    """The manifest that a name leads to, for this platform."""
    target = reference.target
    for _ in range(DEPTH):
        try:
            found = store.manifest(reference.name, target)
        except StoreError as error:
            raise ImageUnknownError(str(error)) from None
        read = read_manifest(found.media_type, found.content)
        if not isinstance(read, Index):
            if read.artifact:
                raise ValueError(f"{reference} is no image but {read.artifact}")
            return found, read
        fitting = read.candidates(platform)
        if not fitting:
            others = ", ".join(sorted(map(str, read.platforms))) or "none that is named"
            raise ValueError(f"{reference} has no image for {platform}, only for: {others}")
        target = fitting[0].digest
    raise ValueError(f"{reference}: more than {DEPTH} indexes inside of each other")


def _blob(store: Store, repository: str, digest: str) -> Path:
    try:
        return store.blob(digest, repository)
    except StoreError as error:
        raise ImageUnknownError(str(error)) from None


def _config(store: Store, repository: str, descriptor: Descriptor) -> bytes:
    path = _blob(store, repository, descriptor.digest)
    if path.stat().st_size > CONFIG_BYTES:
        raise ValueError(f"the config {descriptor.digest} has more than {CONFIG_BYTES} bytes")
    raw = path.read_bytes()
    _same("config", descriptor.digest, hashlib.sha256(raw).hexdigest())
    return raw


def unpack_layer(blob: Path, digest: str, diff_id: str, cache: Path) -> Path:
    """Unpack one layer into the cache, unless it is there.

    :param digest: of the blob, as the manifest says; ``diff_id`` of the tar inside, as the config says.
    :return: a folder with ``fs`` and ``hidden.json``.
    :raises LayerError: the layer is damaged, or breaks a rule; nothing of it stays.
    """
    target = cache / "layers" / diff_id.replace(":", "-")
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(target.name + ".lock")):
        if target.is_dir():  # somebody else was quicker
            return target
        part = target.with_name(target.name + ".part")
        remove_tree(part)
        part.mkdir()
        try:
            _fill(blob, digest, diff_id, part)
            part.rename(target)
        finally:
            remove_tree(part)
    return target


def _fill(blob: Path, digest: str, diff_id: str, folder: Path) -> None:
    with blob.open("rb") as file:
        outer = _Hashed(file)
        try:
            with decompressed(outer) as stream:
                inner = _Hashed(stream)
                LayerWriter(folder).fill(inner)
                inner.drain()
                outer.drain()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise LayerError(f"the layer {digest} is damaged: {error}") from None
        except ZstdError as error:
            most = f"{1 << ZSTD_WINDOW_LOG >> 20} MiB"
            raise LayerError(f"the layer {digest} is damaged, or asks for more than {most} at once: {error}") from None
    _same("layer", digest, outer.hexdigest())
    _same("layer's tar", diff_id, inner.hexdigest())


def _same(what: str, expected: str, found: str) -> None:
    if expected != f"sha256:{found}":
        raise LayerError(f"the {what} has the digest sha256:{found}, not {expected}: it was changed on its way")


class _Hashed(io.RawIOBase):
    """A stream that hashes what is read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Read on to the end: padding is part of the digest."""
        while self.read(PIECE):
            pass

    def hexdigest(self) -> str:
        """Of all that was read."""
        return self._hash.hexdigest()


def decompressed(stream: io.RawIOBase) -> IO[bytes]:
    """The tar inside of a blob. What it is is told by its first bytes: media types are often wrong."""
    buffered = io.BufferedReader(stream, PIECE)
    start = buffered.peek(4)[:4]
    if start.startswith(GZIP):
        return gzip.GzipFile(fileobj=buffered, mode="rb")  # type: ignore[return-value]
    if start == ZSTD or (start[1:] == ZSTD_SKIPPED and 0x50 <= start[0] <= 0x5F):
        options: dict[int, int] = {DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return ZstdFile(buffered, options=options)  # type: ignore[return-value]
    return buffered


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
