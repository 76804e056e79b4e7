"""What a registry answers, read: bytes -> :class:`Manifest` or :class:`Index`, and the image's :class:`Config`.

Readers only: nothing is fetched here. The bytes come from a registry that may be broken or hostile, so they give a
result or a :class:`ManifestError`, never another exception. What a document *is* is told by its media type *and* by its
content, since registries and proxies lose the first; one that could be read in two ways is refused (CVE-2021-41190).

Sources: the OCI image specification 1.1; Docker's "Image Manifest Version 2, Schema 1" and "Schema 2".
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_batchstream.core.images.documents import ManifestError, integer, load, mapping, objects, text, texts
from airflow_batchstream.core.images.model import (
    ACCEPT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEXES,
    LINUX_AMD64,
    LINUX_ARM64,
    MANIFESTS,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
    SCHEMA_1_SIGNED,
    SCHEMAS_1,
    Config,
    Descriptor,
    Image,
    Index,
    Layer,
    Manifest,
    Platform,
    Step,
)
from airflow_batchstream.core.images.reference import read_digest

__all__ = [
    "ACCEPT",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "INDEXES",
    "LINUX_AMD64",
    "LINUX_ARM64",
    "MANIFESTS",
    "OCI_ARTIFACT",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "SCHEMAS_1",
    "SCHEMA_1",
    "SCHEMA_1_SIGNED",
    "Config",
    "Descriptor",
    "Image",
    "Index",
    "Layer",
    "Manifest",
    "ManifestError",
    "Platform",
    "Step",
    "digest_of",
    "read_config",
    "read_manifest",
    "signed_part",
]

_LAYER = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",  # written by Docker 1.10 and older
    }
)
_ARTIFACTS = {
    "application/vnd.cncf.helm.": "a Helm chart",
    "application/vnd.in-toto": "an attestation (provenance or SBOM)",
    "application/vnd.dev.cosign.simplesigning": "a cosign signature",
    "application/vnd.dev.sigstore.bundle": "a Sigstore signature or attestation",
    "application/vnd.cncf.notary.": "a Notary signature",
    "application/vnd.dev.cosign.artifact.sbom": "an SBOM",
    "application/spdx": "an SBOM",
    "application/vnd.cyclonedx": "an SBOM",
    "application/vnd.syft": "an SBOM",
    "text/spdx": "an SBOM",
    "application/vnd.buildkit.cacheconfig": "a BuildKit cache",
    "application/vnd.docker.plugin": "a Docker plugin",
    "application/vnd.wasm": "a WebAssembly module",
    "application/wasm": "a WebAssembly module",
    "application/vnd.docker.ai": "an AI model",
    "application/vnd.cncf.model": "an AI model",
}
"""Beginnings of media types, and what people call such a thing."""


def read_manifest(media_type: str, body: bytes) -> Manifest | Index:
    """Read what a registry answered to ``GET /v2/NAME/manifests/REFERENCE``.

    :param media_type: the answer's Content-Type; its parameters are ignored. May be empty.
    :raises ManifestError: it is neither manifest nor index.
    """
    document = load(body, "the manifest")
    declared = text(document, "mediaType") or media_type.partition(";")[0].strip().lower()
    if declared in SCHEMAS_1 or "fsLayers" in document or document.get("schemaVersion") == 1:
        return _read_schema_1(document)
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ManifestError("the manifest has both `manifests` and `layers` or `config`: it could be read in two ways")
    if "manifests" in document:
        return Index(declared if declared in INDEXES else OCI_INDEX, _descriptors(document, "manifests"))
    if declared == OCI_ARTIFACT:
        return Manifest(declared, 2, None, _descriptors(document, "blobs"), _name(text(document, "artifactType")))
    if declared in INDEXES:
        raise ManifestError(f"the manifest calls itself an index ({declared}) and has no `manifests`")
    if "layers" not in document or "config" not in document:
        raise ManifestError("the manifest has neither `manifests` nor `layers` and `config`: it is no image manifest")
    config = _descriptor(mapping(document, "config"), "config")
    layers = _descriptors(document, "layers")
    kind = declared if declared in MANIFESTS else OCI_MANIFEST
    return Manifest(kind, 2, config, layers, _artifact(text(document, "artifactType"), config, layers))


def read_config(body: bytes) -> Config:
    """Read an image's config blob.

    :raises ManifestError: it is none, and stays so: its bytes have the digest that the manifest names.
    """
    try:
        return _config(load(body, "the config"))
    except ManifestError as error:
        raise ManifestError(str(error), remedy="Build and push it again.") from None


def _config(document: Mapping[str, Any]) -> Config:
    runs = mapping(document, "config")  # optional in OCI
    rootfs = mapping(document, "rootfs")
    history = objects(document, "history")
    return Config(
        platform=_platform(document),
        diff_ids=tuple(_digest(value, "rootfs.diff_ids") for value in texts(rootfs, "diff_ids")),
        history=tuple(Step(text(step, "created_by"), step.get("empty_layer") is True) for step in history),
        entrypoint=texts(runs, "Entrypoint"),
        cmd=texts(runs, "Cmd"),
        env=texts(runs, "Env"),
        working_dir=text(runs, "WorkingDir"),
        user=text(runs, "User"),
        labels=_labels(runs, "Labels"),
    )


def digest_of(body: bytes, like: str = "sha256:") -> str:
    """The digest of a manifest or a blob, in the algorithm of ``like``.

    :param like: a digest, whose algorithm is taken; sha256 or sha512.
    """
    algorithm = "sha512" if like.startswith("sha512:") else "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def signed_part(body: bytes) -> bytes:
    """The bytes of a signed schema 1 manifest that its digest is about: all but the signatures.

    They are the first ``formatLength`` bytes and ``formatTail``, which the signature's ``protected`` part gives.
    Any other body is returned as it is.
    """
    try:
        signatures = objects(load(body, "the manifest"), "signatures")
        protected = load(_unpadded(text(signatures[0], "protected")), "the signature")
        length = integer(protected, "formatLength") or 0
        return body[:length] + _unpadded(text(protected, "formatTail"))
    except (ValueError, IndexError):
        return body


def _read_schema_1(document: Mapping[str, Any]) -> Manifest:
    kind = SCHEMA_1_SIGNED if "signatures" in document else SCHEMA_1
    sums = [text(row, "blobSum") for row in objects(document, "fsLayers")]
    blobs = [Descriptor("", _digest(value, "fsLayers.blobSum"), None) for value in sums]
    return Manifest(kind, 1, None, tuple(reversed(blobs)))  # schema 1 lists the highest layer first


def _descriptors(document: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    return tuple(_descriptor(value, f"{key}[{i}]") for i, value in enumerate(objects(document, key)))


def _descriptor(value: Mapping[str, Any], where: str) -> Descriptor:
    platform = mapping(value, "platform")
    size = integer(value, "size")
    if size is None or not 0 <= size < 2**63:
        raise ManifestError(f"{where}.size is {value.get('size')!r:.30}: a number of bytes belongs here")
    return Descriptor(
        media_type=text(value, "mediaType"),
        digest=_digest(text(value, "digest"), f"{where}.digest"),
        size=size,
        annotations=_labels(value, "annotations"),
        urls=texts(value, "urls"),
        platform=_platform(platform) if platform else None,
    )


def _platform(document: Mapping[str, Any]) -> Platform:
    return Platform.of(text(document, "os"), text(document, "architecture"), text(document, "variant"))


def _digest(value: str, where: str) -> str:
    try:
        return read_digest(value)
    except ValueError as error:
        raise ManifestError(f"{where}: {error}") from None


def _labels(document: Mapping[str, Any], key: str) -> dict[str, str]:
    found = mapping(document, key)
    return {name: text(found, name) for name in found}


def _artifact(artifact_type: str, config: Descriptor, layers: Sequence[Descriptor]) -> str:
    """What it is if it is no image: its config is none, or none of its layers is a file system's."""
    layered = not layers or any(layer.media_type.startswith(_LAYER) for layer in layers)
    if config.media_type in _CONFIGS and layered:
        return ""
    kinds = [artifact_type, config.media_type, *(layer.media_type for layer in layers)]
    named = next((_name(kind) for kind in kinds if kind.startswith(tuple(_ARTIFACTS))), "")
    if named or artifact_type or config.media_type not in _CONFIGS:
        return named or _name(artifact_type or config.media_type)
    kind = layers[0].media_type[:80]
    return f"an OCI artifact (its layers[0] {f'is of type {kind}, no file system' if kind else 'has no media type'})"


def _name(kind: str) -> str:
    known = next((words for start, words in _ARTIFACTS.items() if kind.startswith(start)), "")
    return known or (f"an OCI artifact of type {kind[:80]}" if kind else "an OCI artifact")


def _unpadded(value: str) -> bytes:
    """base64url without padding, as JWS writes it."""
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
