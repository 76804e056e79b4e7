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
import textwrap
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import SEVEREST_FIRST, Finding, Verdict, broken, severest
from airflow_batchstream.core.images import layer_rules, rules
from airflow_batchstream.core.images.layers import Inside, Look, look_into
from airflow_batchstream.core.images.manifest import LINUX_AMD64, LINUX_ARM64, Image, Layer, Platform
from airflow_batchstream.core.images.reference import Reference, parse

if TYPE_CHECKING:
    from airflow_batchstream.clients.registry import Registry

FailOn = Literal["broken", "unknown", "never"]
"""What of a scan stops a task: see :func:`refuse`."""
WIDTH = 100
"""Columns of the table in the task log."""
AT_ONCE = 16
"""Images that are looked at at the same time."""
MOST_SMALL_BLOBS = 8
"""Small layers of one image that are read to see whether they are empty."""
ARM_SERIES = frozenset({"t2a", "c4a", "n4a", "a4x"})
"""Compute Engine's series with Arm processors: T2A and C4A by its documentation, N4A and A4X by their announcements."""

_MARKS = {Verdict.HOLDS: "holds", Verdict.BROKEN: "BROKEN", Verdict.WARNING: "warning", Verdict.UNKNOWN: "not told"}
_MOST_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found out about an image.

    :param asked: the name as it was written in the job.
    :param digest: what the tag stood for; None where the image was not found or its name breaks a rule.
    :param pinned: the name to run: digest instead of tag. None as the digest.
    :param image: None as the digest.
    :param findings: what each rule said, those that hold included.
    :param requests: HTTP requests that it took.
    :param bytes_read: bytes of manifests, configs and small layers that were read for it.
    :param passing: the registry did not give the image out, and may do so later.
    """

    asked: str
    reference: Reference
    platform: Platform
    findings: tuple[Finding, ...]
    digest: str | None = None
    pinned: str | None = None
    image: Image | None = None
    requests: int = 0
    bytes_read: int = 0
    passing: bool = False

    @property
    def tag(self) -> str | None:
        """The tag that was resolved; None where a digest was given."""
        return None if self.reference.digest else self.reference.target

    @property
    def looked_into(self) -> dict[int, Inside]:
        """What looks into small layers showed, by the layers' indexes."""
        if self.image is None:
            return {}
        looks = self.image.looks
        return {x.index: looks[x.blob.digest].inside for x in self.image.layers if x.blob.digest in looks}

    @property
    def verdict(self) -> Verdict:
        """The severest of all findings: broken, could not be told, warning, holds."""
        return severest(finding.verdict for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready and small: the XCom ``image_scan``. Rules that hold are left out."""
        return {
            "image": self.asked,
            "pinned": self.pinned,
            "tag": self.tag,
            "digest": self.digest,
            "manifest_digest": self.image.manifest_digest if self.image else None,
            "platform": str(self.platform),
            "verdict": str(self.verdict),
            "layers": len(self.image.layers) if self.image else None,
            "compressed_bytes": self.image.size if self.image else None,
            "findings": [f.as_dict() for f in self.findings if f.verdict is not Verdict.HOLDS][:_MOST_FINDINGS],
            "looked_into": {str(index): str(inside) for index, inside in self.looked_into.items()},
            "requests": self.requests,
            "bytes_read": self.bytes_read,
        }


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
    :param missing_too: an image that does not exist becomes a scan whose rule ``image-exists`` is broken.
    :param most_small_blobs: small layers of one image that may be read to see whether they are empty.
    :raises ImageRefused: a name is none, an image does not exist (unless ``missing_too``), or a registry does not give
        one out (unless ``tolerant``); the others are then not waited for. A broken rule is no error here: see
        :func:`refuse`.
    """
    from airflow_batchstream.clients.registry import Registry

    names = [(uri, read(uri)) for uri in image_uris]
    platform, free = platform_of(machine_type), asyncio.Semaphore(AT_ONCE)

    async def one(shared: Registry, uri: str, reference: Reference) -> Scan:
        async with free:
            registry = shared.apart()
            try:
                return await _scan(registry, uri, reference, platform, region, most_small_blobs)
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
        findings=tuple(rules.check(image, region=region)),
        digest=image.digest,
        pinned=str(reference.pinned(image.manifest_digest if image.rivals > 1 else image.digest)),
        image=image,
        requests=registry.requests,
        bytes_read=registry.bytes_read,
    )


async def looked_into(registry: Registry, image: Image, most: int) -> Image:
    """The image with the answers of looks into its small layers, all at once: :func:`.layer_rules.worth_a_look`.

    :param most: layers that may be read; a layer that the registry does not give out could not be told.
    """

    async def look(layer: Layer) -> Look:
        what, largest = f"layers[{layer.index}]", layer_rules.LARGEST_LOOK
        try:
            blob = await registry.small_blob(image.reference, layer.blob, what, largest=largest)
        except ImageRefused as error:
            return Look(Inside.UNTOLD, str(error).rstrip("."))
        return await asyncio.to_thread(look_into, blob)  # up to a tenth of a second

    if image.manifest.schema != 2 or image.manifest.artifact:
        return image
    layers = await asyncio.to_thread(layer_rules.worth_a_look, image, most)
    looks = await asyncio.gather(*(look(layer) for layer in layers))
    return replace(image, looks={layer.blob.digest: one for layer, one in zip(layers, looks, strict=True)})


def _unreadable(
    registry: Registry, uri: str, reference: Reference, platform: Platform, region: str, error: ImageRefused
) -> Scan:
    """The scan of an image that the registry did not give out: only its name was judged."""
    if error.missing:
        unread = Finding("image-exists", Verdict.BROKEN, "image", str(reference), str(error))
    else:
        remedy = "Scan it again, or from where the registry can be reached and read; until then nothing tells."
        unread = Finding("image-readable", Verdict.UNKNOWN, "image", str(reference), str(error), remedy)
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


def platform_of(machine_type: str) -> Platform:
    """The platform of a Compute Engine machine type (``c4a-standard-8`` is linux/arm64).

    :param machine_type: empty where Batch chooses: it chooses x86.
    """
    return LINUX_ARM64 if machine_type.strip().lower().partition("-")[0] in ARM_SERIES else LINUX_AMD64


def refuse(scan: Scan, fail_on: FailOn = "broken") -> None:
    """Raise :class:`ImageRefused`, with all rules that forbid to go on and their remedies, if there are any.

    :param fail_on: ``"broken"``: broken rules forbid it; ``"unknown"``: so do rules that could not be told;
        ``"never"``: nothing does.
    """
    found = [] if fail_on == "never" else broken(scan.findings)
    if fail_on == "unknown":
        found += [finding for finding in scan.findings if finding.verdict is Verdict.UNKNOWN]
    if not found:
        return
    lines = "\n".join(f"  - {f.says} {f.remedy}".rstrip() for f in found)
    if scan.verdict is Verdict.BROKEN:
        raise ImageRefused(f"{scan.asked} cannot be streamed, {_broken(found)}:\n{lines}", findings=found)
    words = f"Whether {scan.asked} can be streamed could not be told (fail_on is 'unknown')"
    raise ImageRefused(f"{words}:\n{lines}", findings=found, retryable=scan.passing)


def table(scan: Scan) -> list[str]:
    """The scan as lines of plain text, at most :data:`WIDTH` columns, for the task log and the terminal."""
    lines = [row("Image", scan.asked)]
    if scan.image and scan.digest:
        layers = f"{len(scan.image.layers)} layers" if len(scan.image.layers) != 1 else "1 layer"
        lines += [row("Digest", scan.digest)]
        if scan.image.manifest_digest != scan.digest:
            lines += [row("Manifest", scan.image.manifest_digest)]
        lines += [row("Platform", f"{scan.platform}, {layers}, {_size(scan.image.size)} compressed")]
    asked = "1 request" if scan.requests == 1 else f"{scan.requests} requests"
    small = len(scan.image.looks) if scan.image else 0
    looked = f"{small} small layer{'s' if small > 1 else ''} looked into, no other" if small else "no layer"
    read_so_far = f"{asked}, {_size(scan.bytes_read)}; {looked} was downloaded"
    lines += [row("Read", read_so_far if scan.requests else "nothing: the name alone tells"), ""]
    lines += [*finding_rows(scan.findings), "", row("Verdict", _conclusion(scan))]
    return [line for part in lines for line in part.split("\n")]


def finding_rows(findings: Sequence[Finding]) -> list[str]:
    """Findings as lines of the table, the severest first."""
    column = max((len(finding.rule) for finding in findings), default=0) + 2
    in_order = sorted(findings, key=lambda finding: SEVEREST_FIRST.index(finding.verdict))
    return [line for finding in in_order for line in _finding_lines(finding, column)]


def _finding_lines(finding: Finding, column: int) -> list[str]:
    """One line for a rule that holds; a paragraph for any other, with room for commands and names."""
    mark = f"  {_MARKS[finding.verdict]:<9}"
    if finding.verdict is Verdict.HOLDS:
        return _wrapped(finding.says, f"{mark}{finding.rule:<{column}}")
    indent = " " * len(mark)
    remedy = _wrapped(finding.remedy, f"{indent}-> ") if finding.remedy else []
    return [f"{mark}{finding.rule}", *_wrapped(finding.says, indent), *remedy]


def _conclusion(scan: Scan) -> str:
    said = [finding for finding in scan.findings if finding.verdict is scan.verdict]
    if scan.verdict is Verdict.BROKEN:
        return f"does not stream: {_broken(said)}."
    if scan.verdict is Verdict.UNKNOWN:
        return "could not be told: see above for what would tell."
    if scan.verdict is Verdict.WARNING:
        return "no rule is broken, but see the warning above."
    return "may be streamed: every rule that can be checked beforehand holds."


def _broken(findings: Iterable[Finding]) -> str:
    """``1 rule is broken`` or ``2 rules are broken``: rules, not findings, as three empty layers break one rule."""
    count = len({finding.rule for finding in broken(findings)})
    return "1 rule is broken" if count == 1 else f"{count} rules are broken"


def row(name: str, value: str) -> str:
    """A name and its value, in as many lines as it takes."""
    return "\n".join(_wrapped(value, f"{name:<10}"))


def _wrapped(text: str, head: str) -> list[str]:
    """The text behind a head, in as many lines as it takes; names with dashes in them stay whole where they fit."""
    indent = " " * len(head)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False) or [head]


def _size(count: int) -> str:
    """Bytes as people say them, in powers of 1,000 as registries do."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} TB"
