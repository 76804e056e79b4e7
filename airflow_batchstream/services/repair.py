"""Make an image eligible for Image streaming without moving its layers: source -> :class:`Plan` -> target.

First everything is read and decided (:mod:`.repair_plan`), then the target's tag is looked at, and only then anything
is written: blobs are mounted, configs uploaded, the manifests of an index's images put under their digests, and last of
all the tag, by one request. A run that is killed leaves blobs and manifests that nobody names, and nothing under the
tag; the next run of the same source gives the same digests. The source is only ever read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused, InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images.documents import ManifestError
from airflow_batchstream.core.images.manifest import Descriptor, Platform
from airflow_batchstream.core.images.reference import Reference, parse
from airflow_batchstream.core.images.repaired import Repair
from airflow_batchstream.core.words import printable
from airflow_batchstream.services.repair_plan import Piece, Plan, Planner, Say

if TYPE_CHECKING:
    from airflow_batchstream.clients.registry_write import WritableRegistry

_LONGEST_WORDS = 2000
"""Characters of a reason, which may hold a registry's own words."""
_PLATFORM = re.compile(r"[a-z0-9._-]+/[a-z0-9._-]+(/[a-z0-9._-]+)?")
_AT_ONCE = 8
"""Blobs that are mounted at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants, the names read.

    :param platforms: of an index's images; empty for all.
    """

    source: Reference
    target: Reference
    platforms: tuple[Platform, ...] = ()
    move_tag: bool = False
    dry_run: bool = False
    copy_layers: bool = False

    @property
    def tag(self) -> str:
        """The target's name with its tag."""
        return f"{self.target.name}:{self.target.target}"


async def repair(
    source: str,
    target: str,
    *,
    endpoint: Endpoint,
    token: Callable[[], Awaitable[str]] | None = None,
    platforms: Sequence[str] = (),
    move_tag: bool = False,
    dry_run: bool = False,
    copy_layers: bool = False,
    say: Say = lambda _: None,
) -> Repair:
    """Write the image without empty and duplicate layers, and as schema 2, to another name.

    :param source: the image's name, with a tag or digest; only read.
    :param target: where the repaired one shall be, with a tag (else ``latest``); in the source's own repository, or
        another one of the same registry.
    :param endpoint: the registries themselves, or a local Batch.
    :param token: gives a Google access token that may write; None to ask without.
    :param platforms: of an index, ``linux/amd64``; the target then holds only these. Empty for all.
    :param move_tag: move the target's tag if it names another image; without, that is refused.
    :param dry_run: find out and write nothing.
    :param copy_layers: read and write the layers where the registry does not mount them.
    :param say: gets a line before anything that takes long.
    :raises InvalidInput: a name or a platform is none.
    :raises ImageRefused: it cannot be repaired, the tag is taken, or a registry does not read or write.
    """
    asked = replace(read(source, target, platforms), move_tag=move_tag, dry_run=dry_run, copy_layers=copy_layers)

    from airflow_batchstream.clients.registry_write import WritableRegistry

    async with WritableRegistry(endpoint.emulator, token) as registry:
        try:
            plan = await Planner(registry, asked.source, asked.platforms, say).plan()
        except ManifestError as error:
            why = printable(str(error)[:_LONGEST_WORDS].rstrip("."))
            raise ImageRefused(f"{asked.source} cannot be repaired: {why}.") from None
        except ImageRefused as error:
            error.untold = not error.missing  # what was not read is neither repaired nor beyond repair
            raise
        writer = _Writer(registry, asked, say)
        written = plan.top is not None and await writer.write(plan, plan.top)
        return replace(
            _result(asked, plan),
            written=written,
            mounted=writer.mounted,
            copied=writer.copied,
            uploaded=writer.uploaded,
            requests=registry.requests,
            read=registry.bytes_read,
        )


def read(source: str, target: str, platforms: Sequence[str] = ()) -> Asked:
    """Names and platforms, read.

    :raises InvalidInput: one of them is none, or the two names are the same.
    """
    findings: list[Finding] = []

    def refuse(rule: str, path: str, value: str, says: str, remedy: str = "") -> None:
        findings.append(Finding(rule, Verdict.BROKEN, path, value[:200], says, remedy))

    names: list[Reference] = []
    for text, path in ((source, "source"), (target, "target")):
        try:
            names.append(parse(text))
        except ValueError as error:
            refuse("image-name", path, str(text), f"{error}.")
    if len(names) == 2:
        if names[1].digest:
            says = "it has a digest, which is known only when the repaired image is made."
            refuse("repair-target", "target", target, says, "Write a tag instead.")
        elif (names[0].name, names[0].target) == (names[1].name, names[1].target):
            says = "source and target are the same name, and the source is never changed."
            refuse("repair-target", "target", target, says, "Write another tag.")
    for text in platforms:
        if why := _no_platform(text):
            refuse("platform", "platforms", text, *why)
    if findings:
        raise InvalidInput(findings, lead="Nothing was repaired")
    return Asked(names[0], names[1], tuple(map(_platform, platforms)))


class _Writer:
    """The writing half of a repair; counts what it moves."""

    def __init__(self, registry: WritableRegistry, asked: Asked, say: Say) -> None:
        self._registry, self._asked, self._say = registry, asked, say
        self._inside = asked.source.name == asked.target.name
        self.mounted = self.copied = self.uploaded = 0

    async def write(self, plan: Plan, top: Piece) -> bool:
        """Write what is missing, the tag last; False if there is nothing to write, or nothing shall be."""
        if await self._there(top.digest) or self._asked.dry_run:
            return False
        for piece in plan.pieces:
            await self._bring(piece)
            if piece.config or not self._inside:
                await self._put(piece.digest, piece)
        await self._bring(top)
        if not await self._there(top.digest):  # once more: all that took a while
            await self._put(self._asked.target.target, top)
            await self._kept(top.digest)
        return True

    async def _kept(self, digest: str) -> None:
        """Ask whether the tag is as the registry said that it is; a proxy in between may say so and keep nothing."""
        found = await self._registry.tagged(self._asked.target)
        if found != digest:
            names = f"names {found}, which somebody else may have put there since" if found else "is not there"
            words = f"{self._asked.target.registry} said that it took {digest}, but the tag {names}. A retry can help."
            raise ImageRefused(f"{self._asked.tag}: {words}", retryable=True)

    async def _there(self, digest: str) -> bool:
        """Whether the target's tag names that image already; refused if it names another."""
        found = await self._registry.tagged(self._asked.target)
        if found is not None and found != digest and not self._asked.move_tag:
            raise ImageRefused(
                f"{self._asked.tag} is there already and names another image ({found}); the repaired one would be "
                f"{digest}. Write another tag, or say that the tag may be moved (--move-tag, move_tag=True)."
            )
        return found == digest

    async def _put(self, where: str, piece: Piece) -> None:
        await self._registry.put_manifest(self._asked.target, where, piece.media_type, piece.body)
        self.uploaded += len(piece.body)

    async def _bring(self, piece: Piece) -> None:
        """Everything that the registry wants to have before it takes the manifest."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(blob: Descriptor) -> None:
            async with limit:
                await self._bring_blob(blob)

        if not self._inside:
            try:
                async with asyncio.TaskGroup() as group:
                    for blob in {blob.digest: blob for blob in piece.blobs}.values():
                        group.create_task(one(blob))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if piece.config:
            await self._registry.upload(self._asked.target, piece.config, "the config")
            self.uploaded += len(piece.config)

    async def _bring_blob(self, blob: Descriptor) -> None:
        source, target = self._asked.source, self._asked.target
        if source.registry == target.registry:
            if await self._registry.mount(target, blob.digest, source):
                self.mounted += 1
                return
            why = f"{target.registry} does not mount blobs of {source.repository} into {target.repository}"
        else:
            why = f"{source.registry} and {target.registry} are different registries, which share no blobs"
        if not self._asked.copy_layers:
            raise ImageRefused(
                f"{target}: the layers would have to be moved: {why}. Name a target in the source's repository "
                f"({source.name}:TAG), or say that layers may be copied (--copy-layers, copy_layers=True)."
            )
        self._say(f"Copying {blob.digest[:19]}, {blob.size or 0:,} bytes.")
        await self._registry.copy(target, blob, source)
        self.copied += blob.size or 0


def _result(asked: Asked, plan: Plan) -> Repair:
    found = plan.top.digest if plan.top else plan.source
    there = plan.top is not None and not asked.dry_run
    return Repair(
        source=str(asked.source),
        source_digest=plan.source,
        target=asked.tag,
        digest=found,
        pinned=str(asked.target.pinned(found) if there else asked.source.pinned(plan.source)),
        parts=tuple(plan.parts),
        notes=tuple(plan.notes),
        dry_run=asked.dry_run,
    )


def _no_platform(text: str) -> tuple[()] | tuple[str, str]:
    """Why a text is no platform, and the way out; empty if it is one."""
    if _PLATFORM.fullmatch(text):
        return ()
    several = re.split(r"[\s,;]+", text.strip())
    if len(several) > 1 and all(map(_PLATFORM.fullmatch, several)):
        listed = ", ".join(f'"{one}"' for one in several)
        return f"{text!r} is several platforms in one text.", f"Write a list, [{listed}], or --platform for each."
    if _PLATFORM.fullmatch(text.strip().lower()):
        return f"{text!r} is no platform: they are written in lower case.", f"Write {text.strip().lower()}."
    remedy = "Write OS/ARCHITECTURE, as in linux/amd64 or linux/arm64, or leave it out for all platforms of the image."
    return f"{text[:100]!r} is no platform.", remedy


def _platform(text: str) -> Platform:
    os, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    return Platform.of(os, architecture, variant)
