"""What an image is made of: the frozen types that :mod:`.manifest` reads and :mod:`.rules` judges.

Names and meanings are those of the OCI image specification 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_batchstream.core.images.layers import Look
from airflow_batchstream.core.images.reference import Reference
from airflow_batchstream.core.images.repository import Repository

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA_1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
SCHEMAS_1 = frozenset({SCHEMA_1, SCHEMA_1_SIGNED})
ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, OCI_ARTIFACT, SCHEMA_1_SIGNED, SCHEMA_1)
"""What to ask a registry for. Schema 1 and artifacts are in it so that they can be named as what they are."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on.

    :param variant: of the processor (``v7``); ``v8`` of arm64 and ``v1`` of amd64 say nothing and are read as none.
    """

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """The platform under its usual names (``x86_64`` is ``amd64``)."""
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(architecture, architecture)
        same = {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}
        return cls(os, architecture, "" if (architecture, variant) in same else variant)

    def fits(self, wanted: Platform) -> bool:
        """Whether a machine of the wanted platform may run this; a variant matters only where both name one."""
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and (not wanted.variant or not self.variant or self.variant == wanted.variant)


LINUX_AMD64 = Platform("linux", "amd64")
LINUX_ARM64 = Platform("linux", "arm64")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob or a manifest, as in OCI.

    :param size: in bytes as declared; None in schema 1, which does not say.
    :param platform: of an index's entry, where it says one.
    """

    media_type: str
    digest: str
    size: int | None
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    platform: Platform | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """An index (OCI) or manifest list (Docker): one name for several platforms' images."""

    media_type: str
    entries: tuple[Descriptor, ...]

    @property
    def images(self) -> tuple[Descriptor, ...]:
        """The entries that can be images or further indexes: no attestations, no caches."""
        return tuple(e for e in self.entries if e.media_type in MANIFESTS | INDEXES | SCHEMAS_1 and not _attests(e))

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that its entries name."""
        return tuple(e.platform for e in self.images if e.platform)

    def candidates(self, wanted: Platform) -> tuple[Descriptor, ...]:
        """The entries for a platform, the plainest variant first; the ones that name none where no other fits."""
        fit = [e for e in self.images if e.platform and e.platform.fits(wanted)]
        silent = [e for e in self.images if e.platform is None]
        return tuple(sorted(fit, key=lambda e: e.platform.variant if e.platform else "") or silent)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image's manifest.

    :param schema: 1 or 2, Docker's numbering; OCI's is 2.
    :param config: None in schema 1, which has none.
    :param layers: lowest first.
    :param artifact: what it is, if it is no image ("a Helm chart"); else empty.
    """

    media_type: str
    schema: int
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    artifact: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the build, from the config's history.

    :param created_by: the command, as the build tool wrote it. It may hold secrets: see :mod:`.steps`.
    :param empty_layer: whether it says that it made no layer. A hint, not a proof.
    """

    created_by: str
    empty_layer: bool


@dataclass(frozen=True, slots=True)
class Config:
    """An image's config: what a container starts with, and what its layers are uncompressed.

    :param diff_ids: digests of the uncompressed layers, lowest first.
    :param env: ``KEY=value`` each.
    """

    platform: Platform
    diff_ids: tuple[str, ...]
    history: tuple[Step, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, with all that manifest and config say of it.

    :param index: counted from 0, lowest first.
    :param diff_id: digest of the uncompressed layer; None where the config does not tell.
    :param created_by: the build step that made it, or empty where history does not tell. It may hold secrets.
    """

    index: int
    blob: Descriptor
    diff_id: str | None = None
    created_by: str = ""

    @property
    def compression(self) -> str:
        """``gzip``, ``zstd``, ``none``, or empty where the media type is not one we know."""
        kind = self.blob.media_type.removesuffix("+encrypted")
        if kind.endswith(("+gzip", ".tar.gzip")):
            return "gzip"
        if kind.endswith(("+zstd", ".tar.zstd")):
            return "zstd"
        return "none" if kind.endswith(".tar") else ""

    @property
    def encrypted(self) -> bool:
        """Whether it can only be read with a key."""
        return self.blob.media_type.endswith("+encrypted")

    @property
    def foreign(self) -> bool:
        """Whether it is kept outside the registry, as Windows base layers were."""
        kind = self.blob.media_type
        return bool(self.blob.urls) or ".nondistributable." in kind or ".foreign." in kind

    @property
    def seekable(self) -> str:
        """``eStargz`` or ``zstd:chunked`` where the layer carries an index for other lazy pullers, else empty."""
        notes = self.blob.annotations
        if "containerd.io/snapshot/stargz/toc.digest" in notes:
            return "eStargz"
        return "zstd:chunked" if any("zstd-chunked" in key for key in notes) else ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one platform, found in a registry.

    :param reference: as it was asked for.
    :param digest: what the name stands for in the registry: the index's digest where there is one, else the manifest's.
    :param manifest_digest: of this platform's manifest.
    :param wanted: the platform that was asked for.
    :param config: None where the manifest is no image or has none.
    :param looks: what looks into small layers showed, by the digests of their blobs.
    :param rivals: how many entries of the index fit the platform, this one included; with more than one, a machine may
        choose another.
    :param repository: what kind of repository it is in; None where nobody asked.
    """

    reference: Reference
    digest: str
    manifest_digest: str
    wanted: Platform
    manifest: Manifest
    config: Config | None
    rivals: int = 1
    looks: Mapping[str, Look] = field(default_factory=dict)
    repository: Repository | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The manifest's layers, joined with diff ids and build steps where these are as many."""
        blobs = self.manifest.layers
        diff_ids: Sequence[str | None] = self.config.diff_ids if self.config else ()
        steps = [s.created_by for s in self.config.history if not s.empty_layer] if self.config else []
        if len(diff_ids) != len(blobs):
            diff_ids = [None] * len(blobs)
        if len(steps) != len(blobs):
            steps = [""] * len(blobs)
        joined = zip(blobs, diff_ids, steps, strict=True)
        return tuple(Layer(i, blob, diff_id, step) for i, (blob, diff_id, step) in enumerate(joined))

    @property
    def size(self) -> int:
        """Compressed bytes of all layers, as declared."""
        return sum(blob.size or 0 for blob in self.manifest.layers)


def _attests(entry: Descriptor) -> bool:
    """Whether BuildKit put the entry there to describe another one. It says so in an annotation and as its platform."""
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or entry.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
