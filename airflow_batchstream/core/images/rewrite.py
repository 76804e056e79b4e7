"""An image's manifest and config -> the same image without empty and duplicate layers. Part of the repair.

:func:`plan` says which layers go, :func:`rewrite` and :func:`rewrite_index` write the new documents. What they do not
know is kept as it is, keys in their order, so the same documents give the same bytes. No blob changes.

**Why the file tree stays the same.** A container's path shows what the highest layer says that says anything of it: an
entry there, or a whiteout, an opaque folder or a non-folder above it. An empty layer says nothing. Of two layers with
the same content the lower one is asked only where the upper one said nothing, and then says nothing either. So all but
the *last* of a set of duplicates may go, whatever stands between them; all but the first may not. This holds where each
layer is unpacked by itself and the runtime lays them over each other (overlayfs, and every lazy puller). A tool that
unpacks a layer *into* the tree of those below can tell the two apart in two cases: a hard link to a file of a lower
layer (which overlayfs runtimes do not unpack at all), and an entry behind a symbolic link of a lower layer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_batchstream.core.images import steps
from airflow_batchstream.core.images.documents import ManifestError, load, mapping, objects
from airflow_batchstream.core.images.manifest import OCI_INDEX, OCI_MANIFEST, Image, Layer, digest_of

REPAIRED_FROM = "batchstream.repaired-from"
"""Label and annotation: the digest of the manifest that was repaired, or of the index."""
REPAIRED = "batchstream.repaired"
"""Label and annotation: what was done, in words."""
EMPTY, DUPLICATE = "empty", "duplicate"
_BY_LAYER_NUMBER = ("moby.buildkit.cache.v0",)
"""Keys of a config that number the layers: BuildKit's inline cache, which would name wrong ones afterwards."""
ATTESTED = "vnd.docker.reference.digest"
"""BuildKit's annotation of an attestation: the digest of the image that it is about."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A layer that goes.

    :param layer: as it was in the source.
    :param why: ``empty`` or ``duplicate``.
    :param kept: index of its twin that stays; None for an empty one.
    """

    layer: Layer
    why: str
    kept: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the build step with its secrets masked."""
        return {
            "layer": self.layer.index,
            "digest": self.layer.blob.digest,
            "bytes": self.layer.blob.size,
            "why": self.why,
            "same_as": self.kept,
            "step": steps.shown(self.layer.created_by),
        }


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The documents of the repaired image.

    :param media_type: of the manifest, as the source's.
    :param blobs: digests of the layers that it needs, each once.
    :param notes: what else changed or could not be kept right, in sentences.
    """

    media_type: str
    manifest: bytes
    config: bytes
    blobs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The manifest's."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        """The config's."""
        return digest_of(self.config)


def unrepairable(image: Image) -> str:
    """Why this image cannot be repaired, with the way out; empty if it can be, or need not be."""
    if image.manifest.artifact:
        way = "name the image it belongs to; if it shall be one itself, build and push it again"
        return f"it is {image.manifest.artifact}, not a container image: {way}"
    if image.config is None:
        return "it has no config, so nothing tells what its layers are: build and push it again"
    if not image.layers:
        return "it has no layers, and no file in it. Build and push it again"
    count = len(image.config.diff_ids)
    if count != len(image.layers):
        return (
            f"its manifest has {len(image.layers)} layers, its config {count} diff ids: no runtime unpacks it. "
            "Build and push it again"
        )
    for layer in image.layers:
        if layer.foreign:
            return f"layers[{layer.index}] is kept outside the registry (foreign): build it with layers of its own"
        if layer.encrypted:
            return f"layers[{layer.index}] is encrypted: push it unencrypted, Image streaming has no key"
    return _contradiction(image.layers)


def plan(layers: Sequence[Layer], empty: Collection[int]) -> list[Dropped]:
    """Which layers go: the empty ones, and all but the last of those with the same content.

    :param empty: indexes of the layers that are known to be empty.
    """
    last = {_content(layer): layer.index for layer in layers}
    found: list[Dropped] = []
    for layer in layers:
        if layer.index in empty:
            found.append(Dropped(layer, EMPTY))
        elif last[_content(layer)] != layer.index:
            found.append(Dropped(layer, DUPLICATE, last[_content(layer)]))
    return found


def said(dropped: Sequence[Dropped]) -> str:
    """``1 empty layer and 2 duplicate layers``."""
    counts = {why: sum(one.why == why for one in dropped) for why in (EMPTY, DUPLICATE)}
    parts = [f"{count} {why} {'layer' if count == 1 else 'layers'}" for why, count in counts.items() if count]
    return " and ".join(parts) or "no layer"


def rewrite(
    media_type: str,
    manifest: bytes,
    config: bytes,
    dropped: Sequence[Dropped],
    *,
    source: str,
    before: str = "",
) -> Rewritten:
    """The image without the layers that go.

    :param media_type: of the manifest; kept.
    :param manifest: the source's bytes, of schema 2; of an image for which :func:`unrepairable` has nothing to say.
    :param source: digest of the image that is repaired, for the labels.
    :param before: what was done to it already, for the label: "converted from schema 1".
    :raises ManifestError: nothing would be left, or a number in it cannot be written again.
    """
    gone = {one.layer.index for one in dropped}
    outer, inner = load(manifest, "the manifest"), load(config, "the config")
    rows = objects(outer, "layers")
    if len(gone) >= len(rows):
        raise ManifestError("all its layers are empty: it has no files, so there is nothing to stream")
    words = "; ".join(part for part in (before, f"dropped {said(dropped)}" if dropped else "") if part)
    marks = {REPAIRED_FROM: source, REPAIRED: words}
    notes = _rewrite_config(inner, gone, len(rows), marks)
    body = to_json(inner)
    outer["layers"] = [row for index, row in enumerate(rows) if index not in gone]
    outer["config"] = _pointing(mapping(outer, "config"), body)
    if media_type == OCI_MANIFEST:  # Docker's schema 2 has no annotations
        outer["annotations"] = mapping(outer, "annotations") | marks
    blobs = tuple(dict.fromkeys(str(row["digest"]) for row in outer["layers"]))
    return Rewritten(media_type, to_json(outer), body, blobs, tuple(notes))


def rewrite_index(
    media_type: str, index: bytes, replaced: Mapping[str, bytes], kept: Collection[str], *, source: str
) -> tuple[bytes, list[str]]:
    """The index of the repaired images, and the digests of the attestations that went.

    An attestation is about one digest. It stays with an image that is kept as it is, and goes with one that was
    rewritten: what it says is true of the source, where it stays.

    :param replaced: new manifests by the digests that the source has for them.
    :param kept: digests of the entries that stay as they are, attestations left out.
    :param source: digest of the source's index, for the annotations.
    """
    document = load(index, "the index")
    rows, gone = [], []
    for row in objects(document, "manifests"):
        digest, about = str(row.get("digest")), mapping(row, "annotations").get(ATTESTED)
        if digest in replaced:
            rows.append(_pointing(row, replaced[digest]))
        elif about is not None and about not in kept:
            gone.append(digest)
        elif about is not None or digest in kept:
            rows.append(row)
    document["manifests"] = rows
    if media_type == OCI_INDEX:
        document["annotations"] = mapping(document, "annotations") | {REPAIRED_FROM: source}
    return to_json(document), gone


def to_json(document: Mapping[str, Any]) -> bytes:
    """The same bytes for the same document, keys in their order.

    :raises ManifestError: a number is too large to be written again.
    """
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"it cannot be written again: {error}") from None


def _content(layer: Layer) -> str:
    return layer.diff_id or layer.blob.digest


def _contradiction(layers: Sequence[Layer]) -> str:
    """One blob cannot have two contents: then one of two documents is wrong, and who knows which."""
    seen: dict[str, Layer] = {}
    for layer in layers:
        twin = seen.setdefault(layer.blob.digest, layer)
        if twin.diff_id != layer.diff_id:
            return (
                f"layers[{twin.index}] and layers[{layer.index}] are one blob, and its config gives two diff ids for "
                "it: no runtime unpacks it. Build and push it again"
            )
    return ""


def _rewrite_config(config: dict[str, Any], gone: Collection[int], count: int, marks: Mapping[str, str]) -> list[str]:
    """Change a config in place; what could not be kept right is returned in sentences."""
    rootfs = mapping(config, "rootfs")
    rootfs["diff_ids"] = [value for index, value in enumerate(rootfs.get("diff_ids") or []) if index not in gone]
    runs = mapping(config, "config")
    runs["Labels"] = mapping(runs, "Labels") | dict(marks)
    config["config"] = runs
    notes = [f"{key} is left out: it numbers the layers." for key in _BY_LAYER_NUMBER if config.pop(key, None)]
    steps_with_layer = [step for step in objects(config, "history") if step.get("empty_layer") is not True]
    if len(steps_with_layer) == count:
        for index, step in enumerate(steps_with_layer):
            if index in gone:
                step["empty_layer"] = True
    elif steps_with_layer and gone:
        steps_told = f"{len(steps_with_layer)} steps with a layer for {count} layers"
        notes.append(f"The history is left as it was: it told of {steps_told}, so which step made which is not known.")
    return notes


def _pointing(descriptor: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """A descriptor of other bytes; a copy of the old ones inside of it is left out."""
    inner = {key: value for key, value in descriptor.items() if key not in ("data", "urls")}
    return inner | {"digest": digest_of(body), "size": len(body)}
