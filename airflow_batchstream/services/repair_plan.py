"""The reading half of a repair: an image in a registry -> the manifests that the target shall have, and why.

Nothing is written here, so a dry run is this half alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images import layer_rules, rewrite, schema1
from airflow_batchstream.core.images.documents import ManifestError
from airflow_batchstream.core.images.manifest import (
    ACCEPT,
    INDEXES,
    LINUX_AMD64,
    Descriptor,
    Image,
    Index,
    Layer,
    Manifest,
    Platform,
    digest_of,
    read_config,
    read_manifest,
)
from airflow_batchstream.core.images.reference import Reference
from airflow_batchstream.core.images.repaired import Part
from airflow_batchstream.services.scan import looked_into

if TYPE_CHECKING:
    from airflow_batchstream.clients.registry import Fetched
    from airflow_batchstream.clients.registry_write import WritableRegistry

MOST_IMAGES = 64
"""Images of one index that are repaired in one run."""
MOST_BESIDE = 2 * MOST_IMAGES
"""Entries of one index that are no images, such as attestations, and go into the new one."""
MOST_READ = 128
"""Layers of one image that are read to see whether they are empty: more than a scan reads, so that a scan finds none
among those that stay, and all that Docker lets an image have (127)."""
MOST_READ_BYTES = 1024 * 1024
"""Bytes of all of these."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Piece:
    """A manifest that the target's repository shall have.

    :param blobs: that have to be there first; those of other hosts (``urls``) left out.
    :param config: a new config, to be uploaded; empty where the old one is among the blobs.
    """

    media_type: str
    body: bytes
    blobs: tuple[Descriptor, ...] = ()
    config: bytes = b""

    @property
    def digest(self) -> str:
        """The manifest's."""
        return digest_of(self.body)


@dataclass(slots=True)
class Plan:
    """What is to be done.

    :param source: digest of what the source's name stands for.
    :param top: what the target's tag shall name; None where nothing is to be repaired.
    :param pieces: what has to be there before.
    :param parts: what was found of each image.
    """

    source: str = ""
    top: Piece | None = None
    pieces: list[Piece] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Planner:
    """Reads one image, or the images of an index.

    :param platforms: of an index's images; empty for all.
    :param say: gets a line before layers are downloaded.
    :param largest: bytes uncompressed that all layers may have that are downloaded.
    """

    def __init__(
        self,
        registry: WritableRegistry,
        source: Reference,
        platforms: tuple[Platform, ...],
        say: Say,
        largest: int = schema1.LARGEST,
    ) -> None:
        self._registry, self._source, self._platforms, self._say = registry, source, platforms, say
        self._largest, self._measured = largest, 0
        self._plan = Plan()

    async def plan(self) -> Plan:
        """Read and decide.

        :raises ManifestError: it cannot be repaired; the message says why.
        :raises ImageRefused: the registry does not give it out.
        """
        fetched = await self._registry.manifest_bytes(self._source)
        self._plan.source = fetched.digest
        try:
            document = read_manifest(fetched.media_type, fetched.body)
        except ManifestError:
            if self._source.digest or fetched.media_type.partition(";")[0].strip().lower() in ACCEPT:
                raise
            # What a scan cannot tell either. Bytes of a manifest's type, or asked by their digest, are the image's own.
            kind = f"with {fetched.media_type[:80]!r}" if fetched.media_type else "without a type"
            page = f"{self._source.registry} answered {kind}, which is no manifest"
            remedy = "a proxy or a sign-in page may stand in its place. A retry can help."
            raise ImageRefused(f"{self._source}: {page}: {remedy}", retryable=True) from None
        if isinstance(document, Index):
            self._plan.top = await self._index(fetched, document)
        else:
            piece = await self._image(fetched, document)
            self._plan.top = piece if piece.config else None
        return self._plan

    # ---- an index ----

    async def _index(self, fetched: Fetched, index: Index) -> Piece | None:
        replaced: dict[str, bytes] = {}
        kept: set[str] = set()
        for entry, child in await self._children(index):
            document = read_manifest(child.media_type, child.body)
            if isinstance(document, Index):
                raise ManifestError(f"its index has another index inside, {entry.digest}: repair that by its digest")
            piece = await self._image(child, document, entry.platform)
            self._plan.pieces.append(piece)
            if piece.config:
                replaced[entry.digest] = piece.body
            else:
                kept.add(entry.digest)
        if not replaced:
            return None
        images = {entry.digest for entry in index.images}
        others = {entry.digest: entry for entry in index.entries if entry.digest not in images}
        if not self._platforms:
            kept |= {digest for digest, entry in others.items() if not entry.annotations.get(rewrite.ATTESTED)}
        body, gone = rewrite.rewrite_index(index.media_type, fetched.body, replaced, kept, source=fetched.digest)
        if gone:
            count = "1 attestation is" if len(gone) == 1 else f"{len(gone)} attestations are"
            self._plan.notes.append(f"{count} left out, about images that are not in the new index as they were.")
        stays = {entry.digest for entry in read_index(index.media_type, body).entries}
        beside = [entry for digest, entry in others.items() if digest in stays]
        if len(beside) > MOST_BESIDE:
            raise ManifestError(f"its index has more than {MOST_BESIDE} entries that are no images: name the platforms")
        for entry in beside:
            await self._other(entry)
        return Piece(index.media_type, body)

    async def _children(self, index: Index) -> list[tuple[Descriptor, Fetched]]:
        """The manifests of :meth:`_chosen`, each with its entry.

        :raises ImageRefused: one is not there, as in an index of which only some images were copied.
        """
        found: list[tuple[Descriptor, Fetched]] = []
        gone: list[tuple[Descriptor, ImageRefused]] = []
        for entry in self._chosen(index):
            try:
                found.append((entry, await self._registry.manifest_bytes(self._source, entry.digest)))
            except ImageRefused as error:
                if not error.missing:
                    raise
                gone.append((entry, error))
        if gone:
            lost = {entry.platform for entry, _ in gone}
            there = {str(entry.platform) for entry, _ in found if entry.platform and entry.platform not in lost}
            raise _not_all_there(self._source, gone[0], sorted(there))
        return found

    def _chosen(self, index: Index) -> list[Descriptor]:
        """The entries of the platforms that are asked for, each once; of all without any."""
        chosen = list(index.images)
        if self._platforms:
            missing = [platform for platform in self._platforms if not index.candidates(platform)]
            if missing:
                there = ", ".join(sorted({str(platform) for platform in index.platforms})) or "no platform at all"
                raise ManifestError(f"it is not there for {', '.join(map(str, missing))}; it has {there}")
            chosen = [entry for platform in self._platforms for entry in index.candidates(platform)]
        chosen = list({entry.digest: entry for entry in chosen}.values())
        if not chosen:
            raise ManifestError("its index has no image")
        if len(chosen) > MOST_IMAGES:
            raise ManifestError(f"its index has more than {MOST_IMAGES} images: name the platforms that you need")
        if nested := [entry.digest for entry in chosen if entry.media_type in INDEXES]:
            raise ManifestError(f"its index has another index inside, {nested[0]}: repair that by its digest")
        return chosen

    async def _other(self, entry: Descriptor) -> None:
        """What the new index names beside images: an attestation of one that stays, and the like."""
        fetched = await self._registry.manifest_bytes(self._source, entry.digest)
        document = read_manifest(fetched.media_type, fetched.body)
        if isinstance(document, Index):
            raise ManifestError(f"its index has another index inside, {entry.digest}: repair that by its digest")
        self._plan.pieces.append(Piece(document.media_type, fetched.body, _blobs(document)))

    # ---- an image ----

    async def _image(self, fetched: Fetched, manifest: Manifest, platform: Platform | None = None) -> Piece:
        """The image as it shall be, with a new config; or as it is, without one."""
        try:
            return await (self._schema_1(fetched) if manifest.schema == 1 else self._schema_2(fetched, manifest))
        except ManifestError as error:
            if platform is None:
                raise
            only = "Name the platforms that can be (--platform, platforms=[...])"
            raise ManifestError(f"its image for {platform}: {str(error).rstrip('.')}. {only}") from None

    def _wanted(self, found: Platform) -> None:
        """Refuse an image for another platform than was asked for: one alone, or one whose index does not say."""
        if self._platforms and not any(found.fits(platform) for platform in self._platforms):
            asked = ", ".join(map(str, self._platforms))
            raise ManifestError(f"it is not there for {asked}; it is for {found}")

    async def _schema_2(self, fetched: Fetched, manifest: Manifest) -> Piece:
        config = b""
        if manifest.config is not None and not manifest.artifact:
            config = await self._registry.small_blob(self._source, manifest.config, "the config")
        image = self._joined(fetched.digest, manifest, config)
        if why := rewrite.unrepairable(image):
            raise ManifestError(why)
        if image.config is not None:
            self._wanted(image.config.platform)
        dropped = rewrite.plan(image.layers, await self._empty(image))
        part = Part(_platform(image), fetched.digest, fetched.digest, len(image.layers), tuple(dropped))
        if not dropped:
            self._plan.parts.append(part)
            return Piece(manifest.media_type, fetched.body, _blobs(manifest))
        return self._rewritten(manifest, fetched.body, config, part)

    async def _schema_1(self, fetched: Fetched) -> Piece:
        steps = schema1.read_steps(fetched.body)
        self._wanted(schema1.platform(steps))
        body, config = schema1.convert(steps, await self._measure(steps))
        manifest = read_manifest("", body)
        assert isinstance(manifest, Manifest)
        image = self._joined(fetched.digest, manifest, config)
        dropped = rewrite.plan(image.layers, await self._empty(image))
        part = Part(_platform(image), fetched.digest, "", len(image.layers), tuple(dropped), converted=True)
        return self._rewritten(manifest, body, config, part, "converted from schema 1")

    def _rewritten(self, manifest: Manifest, body: bytes, config: bytes, part: Part, before: str = "") -> Piece:
        new = rewrite.rewrite(manifest.media_type, body, config, part.dropped, source=part.source, before=before)
        self._plan.parts.append(replace(part, digest=new.digest, notes=new.notes))
        blobs = tuple(blob for blob in manifest.layers if blob.digest in new.blobs)
        return Piece(manifest.media_type, new.manifest, blobs, new.config)

    def _joined(self, digest: str, manifest: Manifest, config: bytes) -> Image:
        read = read_config(config) if config else None
        return Image(self._source, digest, digest, LINUX_AMD64, manifest, read)

    async def _empty(self, image: Image) -> set[int]:
        """Indexes of the layers that are empty, by looks like a scan's.

        :raises ImageRefused: a layer may be empty and could not be told. Without it the image would be half repaired,
            and the next run, which can read it, would give another digest.
        """
        seen = await looked_into(self._registry, image, MOST_READ, MOST_READ_BYTES)
        empty = {layer.index for layer in layer_rules.empty_layers(seen)}
        untold = [(layer, layer_rules.why_untold(seen, layer)) for layer in seen.layers if layer.index not in empty]
        if untold := [(layer, why) for layer, why in untold if why]:
            raise self._untold(seen, untold)
        return empty

    def _untold(self, image: Image, untold: list[tuple[Layer, str]]) -> ImageRefused:
        (first, why), more = untold[0], len(untold) - 1
        why = why.removeprefix(f"{self._source}: ").rstrip(".")
        platform = f" ({_platform(image)})" if _platform(image) else ""
        others = f" and {more} more" if more else ""
        looks = [image.looks.get(layer.blob.digest) for layer, _ in untold]
        return ImageRefused(
            f"{self._source}{platform}: whether layers[{first.index}] ({first.blob.digest[:19]}){others} is empty "
            f"could not be told, so nothing was repaired or written: {why}. Repair it again where and when "
            "such layers can be read, or build the image anew without empty layers.",
            retryable=all(look is not None and look.passing for look in looks),
            untold=True,
        )

    async def _measure(self, steps: list[schema1.Step1]) -> dict[str, schema1.Measured]:
        """Download what has to be known of schema 1's layers, one after the other; nothing of them is kept."""
        digests = list(dict.fromkeys(step.digest for step in steps if not step.throwaway))
        if len(digests) > MOST_READ:
            raise ManifestError(f"it has {len(digests):,} layers, and {MOST_READ} are read at most: build it again")
        sizes = [await self._registry.blob_size(self._source, digest) for digest in digests]
        total = f"{sum(size or 0 for size in sizes):,} bytes" if all(sizes) else "of a size that is not told"
        layers = "1 layer" if len(digests) == 1 else f"{len(digests)} layers"
        self._say(f"{self._source} is of schema 1, which does not tell what its layers are: reading {layers}, {total}.")
        found = {}
        for digest in digests:
            measuring = schema1.Measuring(digest, self._largest, self._measured)
            async with self._registry.layer(self._source, digest) as pieces:
                async for piece in pieces:
                    measuring.feed(piece)
            found[digest] = measuring.done()
            self._measured += max(found[digest].unpacked, found[digest].size)
        return found


def _not_all_there(source: Reference, gone: tuple[Descriptor, ImageRefused], there: list[str]) -> ImageRefused:
    """The error for an index that names images which the registry does not have, with the way out if there is one."""
    entry, error = gone
    if not there:
        return error
    why = str(error).removeprefix(f"{source}: ")
    words = " ".join(f"--platform {platform}" for platform in there)
    way = f"Name the platforms that are there ({words}; platforms={json.dumps(there)})."
    return ImageRefused(f"{source}: its image for {entry.platform or entry.digest}: {why} {way}", missing=True)


def read_index(media_type: str, body: bytes) -> Index:
    """The index that was just written."""
    index = read_manifest(media_type, body)
    assert isinstance(index, Index)
    return index


def _platform(image: Image) -> str:
    return str(image.config.platform) if image.config else ""


def _blobs(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Config and layers, those of other hosts left out."""
    config = (manifest.config,) if manifest.config else ()
    return tuple(blob for blob in (*config, *manifest.layers) if not blob.urls)
