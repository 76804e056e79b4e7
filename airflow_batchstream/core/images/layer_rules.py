"""The rules about layers: none empty, no two alike, formats that Google's page knows. Part of :mod:`.rules`.

Most empty layers are found without reading them: an empty layer is a tar of nothing but zero bytes, so its diff id,
which the config tells and every runtime checks, is one of a few thousand known digests. The rest takes a look into a
few small ones (:func:`worth_a_look`), whose answers the image carries along.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import steps
from airflow_batchstream.core.images.layers import Inside
from airflow_batchstream.core.images.manifest import Image, Layer

PLAIN_JOB = "or run it as a plain job with enable_image_streaming=False"
"""The end of most remedies."""
REPAIR = "Leave it out with batchstream repair (no layer is moved)"
_MAKES_EMPTY = "BuildKit: WORKDIR on an existing path; BuildKit and buildah: a RUN that changes no file"
"""Docker's classic builder leaves both out. A test with those builders says whether it is still so."""
LONGEST_EMPTY = 4 * 1024 * 1024
"""Bytes of zeros up to which an empty tar is recognised; tools write 1,024 or 10,240."""
SMALL_BLOB = 8 * 1024
"""No larger blob of gzip holds an empty tar of that length: deflate shrinks by 1,032 at most."""
LARGEST_LOOK = 64 * 1024
"""Bytes of a blob that may be read to see whether it is empty: 64 MiB of zeros are no more."""
_SHRINKS = {"gzip": 1_032, "zstd": 32_768}
"""How many zeros a byte of a blob stands for at most: of zstd, a block of 128 KiB takes four bytes."""
MOST_LOOKED = 128 * 1024
"""Bytes of all blobs of one image that a scan reads for that."""
MOST_SETS = 4
"""Sets of duplicate layers that are told one by one."""
EMPTY_BLOBS = frozenset(
    {
        "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",  # Docker's, 32 bytes of gzip
        "sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1",  # BuildKit's
    }
)
"""Compressed empty layers known by their own digest, for images whose config does not tell the diff ids."""


@cache
def empty_diff_ids(longest: int = LONGEST_EMPTY) -> frozenset[str]:
    """The diff ids of all empty layers up to a length: of every whole number of 512-byte blocks of zeros."""
    hashed = hashlib.sha256()
    found = {hashed.hexdigest()}
    block = bytes(512)
    for _ in range(longest // 512):
        hashed.update(block)
        found.add(hashed.copy().hexdigest())
    return frozenset(f"sha256:{value}" for value in found)


def empty_layers(image: Image) -> list[Layer]:
    """The layers that are empty, by their digests or by a look."""
    seen = {digest for digest, look in image.looks.items() if look.inside is Inside.EMPTY}
    return [layer for layer in image.layers if layer.blob.digest in seen or _known_empty(layer)]


def worth_a_look(image: Image, most: int, most_bytes: int = MOST_LOOKED) -> list[Layer]:
    """The small layers to be read, since their digests do not settle whether they are empty; one for each blob.

    Two kinds of empty layers have no known diff id: zeros longer than :data:`LONGEST_EMPTY`, and a tar of nothing but
    pax's global headers. Both are small when compressed, so no layer above :data:`LARGEST_LOOK` is worth it. First come
    those that may well be empty: without a diff id, or as small as long zeros are; any of these that is left out
    *could not be told*. Of the others, which nobody makes but on purpose, as many are read as the bounds allow:
    ordinary images have many small layers, and to doubt them all would tell nothing.

    :param most: layers.
    :param most_bytes: of all of them together.
    """
    small = [layer for layer in image.layers if not _known_empty(layer) and _can_be_read(layer)]
    blobs = {layer.blob.digest: layer for layer in small}.values()
    chosen: list[Layer] = []
    left = most_bytes
    for layer in sorted(blobs, key=lambda layer: (not _open_question(layer), layer.blob.size or 0)):
        size = layer.blob.size or 0
        if len(chosen) < most and size <= left:
            chosen.append(layer)
            left -= size
    return chosen


def _can_be_read(layer: Layer) -> bool:
    return not (layer.foreign or layer.encrypted) and (layer.blob.size or 0) <= LARGEST_LOOK


def _layers_agree(image: Image) -> list[Finding]:
    if not image.layers:
        says = "The image has no layers: there is no file in it, so nothing of it can be started or streamed."
        return [Finding("image-layers-agree", Verdict.BROKEN, "image.layers", 0, says, "Build and push it again.")]
    if image.config is None or len(image.config.diff_ids) == len(image.layers):
        return []
    count = len(image.config.diff_ids)
    says = f"The manifest has {len(image.layers)} layers, the config {count} diff ids: no runtime unpacks this image."
    return [Finding("image-layers-agree", Verdict.BROKEN, "image.layers", count, says, "Build and push it again.")]


def _no_empty_layers(image: Image) -> list[Finding]:
    rule = "image-no-empty-layers"
    empty = empty_layers(image)
    findings: list[Finding] = []
    if empty:
        one, are = empty[0], "is empty" if len(empty) == 1 else "are empty"
        says = f"{_several(empty)} {are}; an image with an empty layer is not streamed."
        remedy = f"{REPAIR}, drop or merge the build step that makes it ({_MAKES_EMPTY}), {PLAIN_JOB}."
        findings.append(Finding(rule, Verdict.BROKEN, f"image.layers[{one.index}]", one.blob.digest, says, remedy))
    known = {layer.index for layer in empty}
    unseen: dict[str, list[Layer]] = defaultdict(list)
    for layer in image.layers:
        if layer.index not in known and (why := why_untold(image, layer)):
            unseen[why].append(layer)
    for why, group in unseen.items():
        says = f"{_several(group)} may be empty: {why}."
        remedy = f"Reading these small layers would tell; build them with gzip, {PLAIN_JOB}."
        findings.append(Finding(rule, Verdict.UNKNOWN, "image.layers", len(group), says, remedy))
    return findings or [_holds(rule, image, f"{_count(image)}, none empty.")]


def _no_duplicate_layers(image: Image) -> list[Finding]:
    rule = "image-no-duplicate-layers"
    by_digest: dict[str, list[Layer]] = defaultdict(list)
    by_diff_id: dict[str, list[Layer]] = defaultdict(list)
    for layer in image.layers:
        by_digest[layer.blob.digest].append(layer)
        if layer.diff_id:
            by_diff_id[layer.diff_id].append(layer)
    same_bytes = [(group, "are one blob") for group in by_digest.values() if len(group) > 1]
    same_content = [
        (group, "have the same content, compressed differently (one diff id)")
        for group in by_diff_id.values()
        if len({layer.blob.digest for layer in group}) > 1
    ]
    doubled = same_bytes + same_content
    findings = [
        Finding(
            rule,
            Verdict.BROKEN,
            f"image.layers[{group[-1].index}]",
            group[-1].blob.digest,
            f"{_several(group)} {how}; an image with duplicate layers is not streamed.",
            f"{REPAIR}, drop the build step that repeats what another one did, {PLAIN_JOB}.",
        )
        for group, how in doubled[:MOST_SETS]
    ]
    if (more := len(doubled) - MOST_SETS) > 0:
        says = f"{more} more sets of layers are duplicates."
        findings.append(Finding(rule, Verdict.BROKEN, "image.layers", more, says, f"{REPAIR}."))
    return findings or [_holds(rule, image, f"{_count(image)}, no two the same.")]


def _plain_formats(image: Image) -> list[Finding]:
    """Google's page is silent about these: neither a promise nor a refusal is made of that."""
    rule = "image-layer-formats"
    odd: dict[str, list[Layer]] = defaultdict(list)
    for layer in image.layers:
        if kind := _oddity(layer):
            odd[kind].append(layer)
    remedy = f"A run would tell, by the time to its first line. Build with gzip layers, {PLAIN_JOB}."
    findings = [
        Finding(
            rule,
            Verdict.UNKNOWN,
            f"image.layers[{group[0].index}]",
            kind,
            f"{_several(group)}: {kind}. Google does not say whether such layers are streamed.",
            remedy,
        )
        for kind, group in odd.items()
    ]
    return findings or [_holds(rule, image, f"{_count(image)} in the usual formats.")]


def _oddity(layer: Layer) -> str:
    if layer.foreign:
        return "foreign, kept outside this registry"
    if layer.encrypted:
        return "encrypted"
    if layer.seekable:
        return layer.seekable
    if layer.compression == "zstd":
        return "compressed with zstd"
    return "" if layer.compression else f"of the unknown type {layer.blob.media_type[:80] or '(none)'}"


def _known_empty(layer: Layer) -> bool:
    if layer.blob.digest in EMPTY_BLOBS:
        return True
    # The digest of an uncompressed layer is its diff id.
    return not empty_diff_ids().isdisjoint({layer.diff_id, layer.blob.digest})


def _open_question(layer: Layer) -> bool:
    """Whether not even the diff id makes it unlikely that a small layer is empty."""
    size = layer.blob.size or 0
    told = (layer.diff_id or "").startswith("sha256:")
    shrinks = _SHRINKS.get(layer.compression)
    longer_zeros = shrinks is not None and size >= LONGEST_EMPTY // shrinks
    return size <= SMALL_BLOB and (longer_zeros or not told) and not _known_empty(layer)


def why_untold(image: Image, layer: Layer) -> str:
    """Why a layer that is not known as empty may be; empty where it is not."""
    look = image.looks.get(layer.blob.digest)
    if look is not None:
        return look.why
    if not _open_question(layer):
        return ""
    if layer.diff_id is None:
        return "the config does not tell what they are uncompressed, and they were not looked into"
    return f"more than {LONGEST_EMPTY // 1024**2} MiB of zeros can be as small, and they were not looked into"


def _described(layer: Layer) -> str:
    """``layers[3] (sha256:5f70bf18a086, 32 bytes, made by WORKDIR /app)``."""
    size = f"{layer.blob.size:,} bytes" if layer.blob.size is not None else "size not told"
    step = steps.shown(layer.created_by)
    made = f", made by `{step}`" if step else ""
    return f"layers[{layer.index}] ({_short(layer.blob.digest)}, {size}{made})"


def _several(layers: Iterable[Layer], most: int = 4) -> str:
    """The layers described, the first few of them."""
    said = [_described(layer) for layer in layers]
    more = f" and {len(said) - most} more" if len(said) > most else ""
    return ", ".join(said[:most]) + more


def _count(image: Image) -> str:
    return "1 layer" if len(image.layers) == 1 else f"{len(image.layers)} layers"


def _holds(rule: str, image: Image, says: str) -> Finding:
    return Finding(rule, Verdict.HOLDS, "image.layers", len(image.layers), says)


def _short(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}"


LAYER_RULES: tuple[Callable[[Image], list[Finding]], ...] = (
    _layers_agree,
    _no_empty_layers,
    _no_duplicate_layers,
    _plain_formats,
)
"""For images of schema 2; what is no image, or of schema 1, is refused as a whole."""
