"""Look at an image before a job is submitted: may it be streamed, and which digest is it?

Text -> :class:`Reference` -> the rules about its name -> the registry -> the rules about the image -> :class:`Scan`. A
name that breaks a rule is not asked about, so no token goes to a registry that cannot stream anyway.

**What is pinned.** A tag becomes the digest of what the tag names: the index where there is one, not the manifest of
the platform. It is the digest that registries, ``docker`` and vulnerability reports show, it stays right when the job's
machines change their architecture, and it is as immutable as the manifest. Only where several entries of the index fit
the platform, and a machine may therefore choose another than the one that was looked at, the manifest is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Finding, Verdict, broken
from airflow_batchstream.core.images import layer_rules, rules
from airflow_batchstream.core.images.layers import Inside, Look, look_into
from airflow_batchstream.core.images.manifest import Image, Layer, Platform
from airflow_batchstream.core.images.platforms import BY_TEMPLATE, platform_of
from airflow_batchstream.core.images.reference import Reference, parse
from airflow_batchstream.core.images.scanned import Scan

if TYPE_CHECKING:
    from airflow_batchstream.clients.registry import Registry

AT_ONCE = 16
"""Images that are looked at at the same time."""
MOST_SMALL_BLOBS = 8
"""Small layers of one image that are read to see whether they are empty."""
_MEND, _UNTIL_THEN = "Mend that, and scan it again", "until then nothing tells."
_LOOKS_AT_ONCE = 16
"""Layers of one image that are read at the same time."""


async def scan(
    image_uri: str,
    *,
    region: str,
    endpoint: Endpoint,
    token: Callable[[], Awaitable[str]] | None = None,
    machine_type: str = "",
    tolerant: bool = False,
    most_small_blobs: int = MOST_SMALL_BLOBS,
) -> Scan:
    """:func:`scan_all` of one image."""
    (one,) = await scan_all(
        [image_uri],
        region=region,
        endpoint=endpoint,
        token=token,
        machine_type=machine_type,
        tolerant=tolerant,
        most_small_blobs=most_small_blobs,
    )
    return one


async def scan_all(
    image_uris: Sequence[str],
    *,
    region: str,
    endpoint: Endpoint,
    token: Callable[[], Awaitable[str]] | None = None,
    machine_type: str = "",
    tolerant: bool = False,
    missing_too: bool = False,
    most_small_blobs: int = MOST_SMALL_BLOBS,
) -> list[Scan]:
    """Resolve the names of images and apply the streaming rules to them: :data:`AT_ONCE` at once, in their order.

    :param image_uris: the names as the job has them. They share connections and the access token.
    :param region: the job's region; empty where it is not known, then the images' locations could not be told.
    :param endpoint: where to ask: the registries themselves, or a local Batch.
    :param token: gives a Google access token; None to ask without.
    :param machine_type: of the job, which decides the platform; empty where Batch chooses, which are x86 machines.
    :param tolerant: an image that a registry does not give out (no connection, 401, 403, 5xx, what cannot be read)
        becomes a scan whose rule ``image-readable`` could not be told, instead of an error.
    :param missing_too: an image that does not exist becomes a scan whose rule ``image-exists`` is broken, and a name
        that is none one whose rule ``image-name`` is.
    :param most_small_blobs: small layers of one image that may be read to see whether they are empty.
    :raises ImageRefused: a name is none or an image does not exist (unless ``missing_too``), or a registry does not
        give one out (unless ``tolerant``); the others are then not waited for. A broken rule is no error here: see
        :func:`.scanned.refuse`.
    """
    from airflow_batchstream.clients.registry import Registry

    if not image_uris:  # no client is needed
        return []
    platform, free = platform_of(machine_type), asyncio.Semaphore(AT_ONCE)
    names = [(uri, _named(uri, platform, tolerant=missing_too)) for uri in image_uris]

    async def one(shared: Registry, uri: str, reference: Reference | Scan) -> Scan:
        if isinstance(reference, Scan):
            return reference
        async with free:
            registry = shared.apart()
            try:
                found = await _scan(registry, uri, reference, platform, region, most_small_blobs)
                if machine_type != BY_TEMPLATE:
                    return found
                return replace(found, findings=tuple(rules.of_template(finding) for finding in found.findings))
            except ImageRefused as error:
                if error.findings or not (missing_too if error.missing else tolerant):
                    raise
                return _unreadable(registry, uri, reference, platform, region, error)

    async with Registry(endpoint.emulator, token) as shared:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(shared, uri, reference)) for uri, reference in names]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]


def _named(uri: str, platform: Platform, *, tolerant: bool) -> Reference | Scan:
    """The name, read; of one that is none the whole scan, or an error."""
    try:
        return read(uri)
    except ImageRefused as error:
        if not tolerant:
            raise
        return Scan(rules.one_line(uri), None, platform, error.findings)


async def _scan(
    registry: Registry, uri: str, reference: Reference, platform: Platform, region: str, most_small_blobs: int
) -> Scan:
    named = rules.check_reference(reference, region=region)
    if broken(named):
        return Scan(uri, reference, platform, tuple(named))
    try:
        image = await registry.resolve(reference, platform)
    except ImageRefused as error:
        if not error.findings:
            raise
        found = (*named, *error.findings)
        return Scan(uri, reference, platform, found, requests=registry.requests, bytes_read=registry.bytes_read)
    image = await looked_into(registry, image, most_small_blobs)
    return Scan(
        asked=uri,
        reference=reference,
        platform=platform,
        findings=tuple(await asyncio.to_thread(rules.check, image, region=region)),  # of thousands of layers, perhaps
        digest=image.digest,
        pinned=str(reference.pinned(image.manifest_digest if image.rivals > 1 else image.digest)),
        image=image,
        requests=registry.requests,
        bytes_read=registry.bytes_read,
    )


async def looked_into(registry: Registry, image: Image, most: int, most_bytes: int = layer_rules.MOST_LOOKED) -> Image:
    """The image with the answers of looks into its small layers, all at once: :func:`.layer_rules.worth_a_look`.

    :param most: layers that may be read; a layer that the registry does not give out could not be told.
    :param most_bytes: of all of them together.
    """

    async def look(layer: Layer) -> Look:
        what, largest = f"layers[{layer.index}]", layer_rules.LARGEST_LOOK
        try:
            async with free:
                blob = await registry.small_blob(image.reference, layer.blob, what, largest=largest)
        except ImageRefused as error:
            return Look(Inside.UNTOLD, str(error).rstrip("."), error.retryable)
        return await asyncio.to_thread(look_into, blob)  # up to a tenth of a second

    if image.manifest.schema != 2 or image.manifest.artifact:
        return image
    free = asyncio.Semaphore(_LOOKS_AT_ONCE)
    layers = await asyncio.to_thread(layer_rules.worth_a_look, image, most, most_bytes)
    looks = await asyncio.gather(*(look(layer) for layer in layers))
    return replace(image, looks={layer.blob.digest: one for layer, one in zip(layers, looks, strict=True)})


def _unreadable(
    registry: Registry, uri: str, reference: Reference, platform: Platform, region: str, error: ImageRefused
) -> Scan:
    """The scan of an image that the registry did not give out: only its name was judged."""
    says = str(error).removesuffix(error.remedy).rstrip()
    if error.missing:
        unread = Finding("image-exists", Verdict.BROKEN, "image", str(reference), says, error.remedy)
    else:
        again = "Scan it again, or from where the registry can be reached and read" if error.retryable else _MEND
        remedy = error.remedy or f"{again}; {_UNTIL_THEN}"
        unread = Finding("image-readable", Verdict.UNKNOWN, "image", str(reference), says, remedy)
    return Scan(
        asked=uri,
        reference=reference,
        platform=platform,
        findings=(*rules.check_reference(reference, region=region), rules.printable(unread)),
        requests=registry.requests,
        bytes_read=registry.bytes_read,
        passing=error.retryable,
    )


def read(image_uri: str) -> Reference:
    """The name, read; :class:`ImageRefused` with a finding if it is none."""
    try:
        return parse(image_uri)
    except ValueError as error:
        finding = Finding("image-name", Verdict.BROKEN, "image", str(image_uri)[:200], f"{error}.")
        raise ImageRefused(f"The image name cannot be read: {error}.", findings=[finding]) from None
