"""Docker's schema 1 -> schema 2: what a conversion takes from the old manifest, and what has to be measured.

A schema 1 manifest has no config and no diff ids: each layer's step is JSON inside of its JSON (``v1Compatibility``),
the highest first, and what a layer is uncompressed has to be found out by reading it (:class:`Measuring`).

Source: Docker's "Image Manifest Version 2, Schema 1" and the fields of its image specification 1.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_batchstream.core.images.documents import ManifestError, load, mapping, objects, text, texts
from airflow_batchstream.core.images.manifest import DOCKER_MANIFEST, Platform, digest_of
from airflow_batchstream.core.images.reference import read_digest
from airflow_batchstream.core.images.rewrite import to_json

LARGEST = 64 * 1024**3
"""Bytes that all layers of an image, or of an index's images, may have uncompressed: hours of reading are no repair."""
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_GZIP = b"\x1f\x8b"
_ANY_GZIP = 31
"""zlib's number for a gzip stream with the largest window."""
_PIECE = 1 << 20
_OF_THE_OLD_FORM = ("id", "parent", "Size", "parent_id", "layer_id", "throwaway")
"""Keys of a step that are not of a config."""


@dataclass(frozen=True, slots=True)
class Step1:
    """A step of the build: one row of ``history`` with its layer.

    :param digest: of the layer's blob.
    :param throwaway: whether it says itself that the layer is empty; it then has none in schema 2.
    """

    digest: str
    document: Mapping[str, Any]
    throwaway: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What a layer's blob turned out to be.

    :param size: in bytes, as it is kept.
    :param unpacked: in bytes, uncompressed.
    """

    size: int
    diff_id: str
    unpacked: int
    gzip: bool


def read_steps(manifest: bytes) -> list[Step1]:
    """The steps of a schema 1 manifest, the lowest layer first.

    :raises ManifestError: it is none.
    """
    document = load(manifest, "the manifest")
    layers, history = objects(document, "fsLayers"), objects(document, "history")
    if not layers or len(layers) != len(history):
        raise ManifestError(f"its manifest has {len(layers)} layers and {len(history)} steps: build and push it again")
    found = []
    for layer, row in zip(reversed(layers), reversed(history), strict=True):
        step = load(text(row, "v1Compatibility").encode(), "a step of the manifest")
        try:
            digest = read_digest(text(layer, "blobSum"))
        except ValueError as error:
            raise ManifestError(f"fsLayers.blobSum: {error}") from None
        found.append(Step1(digest, step, step.get("throwaway") is True))
    return found


def platform(steps: list[Step1]) -> Platform:
    """What the image runs on, by its highest step."""
    top = steps[-1].document
    return Platform.of(text(top, "os"), text(top, "architecture"))


def convert(steps: list[Step1], measured: Mapping[str, Measured]) -> tuple[bytes, bytes]:
    """Manifest and config of schema 2.

    :param measured: of each layer that is not thrown away, by its digest.
    """
    layered = [measured[step.digest] for step in steps if not step.throwaway]
    config = {key: value for key, value in steps[-1].document.items() if key not in _OF_THE_OLD_FORM}
    config["rootfs"] = {"type": "layers", "diff_ids": [one.diff_id for one in layered]}
    config["history"] = [_history(step) for step in steps]
    body = to_json(config)
    rows = [
        {"mediaType": f"{_LAYER}.gzip" if one.gzip else _LAYER, "size": one.size, "digest": step.digest}
        for step, one in zip((s for s in steps if not s.throwaway), layered, strict=True)
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": _CONFIG, "size": len(body), "digest": digest_of(body)},
        "layers": rows,
    }
    return to_json(manifest), body


def _history(step: Step1) -> dict[str, Any]:
    """A step as schema 2 tells it."""
    old = step.document
    made = " ".join(texts(mapping(old, "container_config"), "Cmd"))
    row = {
        "created": old.get("created"),
        "author": old.get("author"),
        "created_by": made,
        "comment": old.get("comment"),
    }
    return {key: value for key, value in row.items() if value} | ({"empty_layer": True} if step.throwaway else {})


class Measuring:
    """Finds out what a layer is, from its bytes piece by piece, in little memory.

    :param digest: that the bytes must have.
    :param largest: bytes at which reading stops, uncompressed or not.
    :param before: bytes of those that layers before it have taken.
    """

    def __init__(self, digest: str, largest: int = LARGEST, before: int = 0) -> None:
        self._digest, self._largest, self._before = digest, largest, before
        self._packed = hashlib.new(digest.partition(":")[0])
        self._plain = hashlib.sha256()
        self._size = self._unpacked = 0
        self._start = b""
        self._member: Any = None
        self._kind = ""

    def feed(self, piece: bytes) -> None:
        """The next bytes.

        :raises ManifestError: they are damaged, or too many when uncompressed.
        """
        self._packed.update(piece)
        self._size += len(piece)
        self._bounded(self._size)  # many members of nothing never grow
        if not self._kind:
            self._start += piece
            if len(self._start) < len(_GZIP):
                return
            piece, self._kind = self._start, "gzip" if self._start.startswith(_GZIP) else "plain"
        if self._kind == "plain":
            self._take(piece)
        else:
            self._unpack(piece)

    def done(self) -> Measured:
        """All bytes are there.

        :raises ManifestError: they are not those of the digest, or end too early.
        """
        if not self._kind:
            self._take(self._start)
        if self._member is not None and not self._member.eof:
            raise ManifestError(f"the layer {self._digest} ends too early")
        found = f"{self._digest.partition(':')[0]}:{self._packed.hexdigest()}"
        if found != self._digest:
            raise ManifestError(f"the layer {self._digest} has other bytes than its digest stands for ({found})")
        diff_id = f"sha256:{self._plain.hexdigest()}"
        return Measured(self._size, diff_id, self._unpacked, self._kind == "gzip")

    def _unpack(self, piece: bytes) -> None:
        while piece:
            if self._member is None or self._member.eof:
                if self._member is not None and not piece.strip(b"\0"):
                    return  # padding behind the last member
                self._member = zlib.decompressobj(_ANY_GZIP)
            try:
                self._take(self._member.decompress(piece, _PIECE))
            except zlib.error as error:
                raise ManifestError(f"the layer {self._digest} is damaged: {error}") from None
            piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _take(self, plain: bytes) -> None:
        self._plain.update(plain)
        self._unpacked += len(plain)
        self._bounded(self._unpacked)

    def _bounded(self, size: int) -> None:
        if self._before + size > self._largest:
            raise ManifestError(
                f"its layers have more than {self._largest:,} bytes uncompressed up to {self._digest}, the most "
                "that is read: build and push it again, or convert it yourself (skopeo copy --format v2s2)"
            )
