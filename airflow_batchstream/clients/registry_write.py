"""What a repair needs of a registry beyond reading: documents as bytes, blobs mounted and uploaded, manifests put.

A blob goes from one repository to another of the same registry without being moved: it is *mounted*. A registry that
does not want to answers 202 instead of 201, which is told apart here. A tag appears by the one request that puts a
manifest under it, so nothing half done is ever seen there.

Source: the OCI distribution specification 1.1, "Push".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from airflow_batchstream.clients import registry_words
from airflow_batchstream.clients.fetch import Answer, FetchError, whole_number
from airflow_batchstream.clients.registry import Fetched, Registry, told
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import ACCEPT, Descriptor, digest_of
from airflow_batchstream.core.images.reference import Reference

LONGEST_MOVE = 3600.0
"""Seconds that one layer may take to be read or copied."""
_SMALL = 64 * 1024
"""Bytes of an answer to a request that writes."""


class WritableRegistry(Registry):
    """Images of all registries, to be read and written."""

    # ---- reading ----

    async def manifest_bytes(self, reference: Reference, target: str = "") -> Fetched:
        """A manifest or an index as it is, its digest checked.

        :param target: a tag or digest instead of the reference's own.
        :raises ImageRefused: it is not there or may not be read.
        """
        async with self._bounded(reference):
            return await self._manifest(reference, target or reference.target)

    async def blob_size(self, reference: Reference, digest: str) -> int | None:
        """Bytes of a blob; None where the registry does not tell, or has none."""
        async with self._bounded(reference):
            answer = await self._send("HEAD", self._url(reference, f"blobs/{digest}"), reference)
        return whole_number(answer.headers.get("content-length", "")) if answer.status == 200 else None

    async def tagged(self, reference: Reference) -> str | None:
        """The digest that a tag names just now; None if there is no such tag, or no such image yet.

        :raises ImageRefused: the registry does not tell.
        """
        async with self._bounded(reference):
            url = self._url(reference, f"manifests/{reference.target}")
            answer = await self._send("HEAD", url, reference, accept=", ".join(ACCEPT))
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise registry_words.refusal(reference, answer, f"the tag {reference.target}", authorized=True)
            return told(answer) or (await self._manifest(reference, reference.target)).digest

    @asynccontextmanager
    async def layer(self, reference: Reference, digest: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """A layer's bytes, piece by piece. Whoever reads them checks their digest, and bounds them.

        :raises ImageRefused: it is not there, may not be read, or breaks off.
        """
        what, url = f"the layer {digest}", self._url(reference, f"blobs/{digest}")
        try:
            async with asyncio.timeout(LONGEST_MOVE):
                token = ""
                for again in (False, True):
                    token = await self._authorization(reference, renew=token)
                    async with self._fetcher.stream(url, authorization=token) as (answer, pieces):
                        if answer.status == 401 and token and not again:
                            continue  # others before it may have taken longer than a token lives
                        if answer.status != 200:
                            raise registry_words.refusal(reference, answer, what, authorized=bool(token))
                        yield pieces
                        return
        except FetchError as error:
            raise registry_words.no_answer(reference, what, "read", error) from None
        except TimeoutError:
            words = f"{reference}: {what} took more than {LONGEST_MOVE:,.0f} s. A retry can help."
            raise ImageRefused(words, retryable=True) from None

    # ---- writing ----

    async def mount(self, target: Reference, digest: str, source: Reference) -> bool:
        """Let the target's repository have a blob that the source's has; False where the registry does not do that.

        :param source: of the same registry.
        :raises ImageRefused: the target may not be written.
        """
        origin = source.name if self._emulator else source.repository
        asked = f"blobs/uploads/?mount={quote(digest, safe=':')}&from={quote(origin, safe='/')}"
        what = f"the blob {digest}"
        async with self._bounded(target):
            answer = await self._send("POST", self._url(target, asked), target, content=b"")
            if answer.status == 201:
                return True
            if answer.status != 202:
                raise await self._refused(target, answer, what)
            await self._forget_upload(target, answer)
            had = await self._send("HEAD", self._url(target, f"blobs/{digest}"), target)
            return had.status == 200

    async def upload(self, target: Reference, body: bytes, what: str) -> None:
        """Bring a small blob into the target's repository.

        :raises ImageRefused: it may not be written.
        """
        async with self._bounded(target):
            await self._upload(target, digest_of(body), lambda: body, len(body), what)

    async def copy(self, target: Reference, blob: Descriptor, source: Reference) -> None:
        """Bring a blob from one registry to another, through this machine's memory piece by piece.

        :raises ImageRefused: it may not be read, or not be written.
        """
        what = f"the layer {blob.digest}"
        async with self.layer(source, blob.digest) as pieces:
            whole = _exactly(pieces, blob.size or 0, source, what)
            await self._upload(target, blob.digest, lambda: whole, blob.size or 0, what)

    async def put_manifest(self, target: Reference, where: str, media_type: str, body: bytes) -> None:
        """Put a manifest or an index under its digest or under a tag.

        :param where: the digest, or the tag, which names it from then on.
        :raises ImageRefused: it may not be written.
        """
        what = f"the manifest {where}"
        async with self._bounded(target):
            sent = {"Content-Type": media_type}
            url = self._url(target, f"manifests/{where}")
            answer = await self._send("PUT", url, target, content=body, sent=sent)
            if answer.status not in (200, 201):
                fixed = None if ":" in where else registry_words.immutable(target, answer, where)
                raise fixed or await self._refused(target, answer, what)
        said = answer.headers.get("docker-content-digest", "")
        if said.startswith("sha256:") and said != digest_of(body):
            words = f"{target.registry} keeps {what} as {said}, but {digest_of(body)} was sent: it changed the bytes."
            moved = "" if ":" in where else f" The tag {where} may name that one already: look before anything runs it."
            raise ImageRefused(f"{target}: {words}{moved}")

    async def _upload(self, target: Reference, digest: str, content: Callable[[], Any], size: int, what: str) -> None:
        begun = await self._send("POST", self._url(target, "blobs/uploads/"), target, content=b"")
        if begun.status != 202:
            raise await self._refused(target, begun, what)
        try:
            place, same = await self._fetcher.place(begun)
        except FetchError as error:
            raise registry_words.no_answer(target, what, "answered", error) from None
        place += f"{'&' if '?' in place else '?'}digest={quote(digest, safe=':')}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        # Once: after an answer that was lost the upload may be gone, because it was finished.
        answer = await self._send("PUT", place, target, content=content(), sent=headers, tries=1, credential=same)
        if answer.status != 201:
            raise await self._refused(target, answer, what)

    async def _forget_upload(self, target: Reference, answer: Answer) -> None:
        """A registry that does not mount has begun an upload instead; one that is not cancelled expires by itself."""
        try:
            place, same = await self._fetcher.place(answer)
            await self._send("DELETE", place, target, tries=1, credential=same)
        except (FetchError, ImageRefused):
            pass

    async def _send(
        self,
        method: str,
        url: str,
        target: Reference,
        *,
        accept: str = "*/*",
        content: Any = None,
        sent: Mapping[str, str] | None = None,
        tries: int | None = None,
        credential: bool = True,
    ) -> Answer:
        """The answer, whatever its status; a token that has expired is renewed once."""

        async def ask(token: str) -> Answer:
            return await self._fetcher.fetch(
                method,
                url,
                limit=_SMALL,
                accept=accept,
                authorization=token,
                tries=tries,
                content=content,
                sent=sent,
            )

        try:
            if not credential:
                return await ask("")
            answer, _ = await self._authorized(target, ask, again=isinstance(content, bytes | None))
            return answer
        except FetchError as error:
            asked = f"{method} {url.partition('?')[0]}"
            raise registry_words.no_answer(target, asked, "answered", error) from None

    async def _refused(self, target: Reference, answer: Answer, what: str) -> ImageRefused:
        sent = bool(await self._authorization(target))
        return registry_words.refusal(target, answer, what, authorized=sent, writing=True)


async def _exactly(pieces: AsyncIterator[bytes], size: int, source: Reference, what: str) -> AsyncIterator[bytes]:
    """The pieces, if they are as many bytes together as were promised: the target was told so."""
    sent = 0
    try:
        async for piece in pieces:
            sent += len(piece)
            if sent > size:
                break
            yield piece
    except FetchError as error:  # the source's, which the target would be blamed for
        raise registry_words.no_answer(source, what, "read", error) from None
    if sent != size:
        more = "more" if sent > size else f"{sent:,}"
        raise ImageRefused(
            f"{source}: {what} has {more} bytes where {size:,} were said. A retry can help.", retryable=True
        )
