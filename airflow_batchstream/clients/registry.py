"""The registry client: the name of an image -> :class:`Image`, by the OCI distribution API. No layer but small ones.

Manifests and configs are believed only if their bytes have the digest they were asked by. Against Google the host of
the name is asked over TLS, with a Google access token that only Google's registries and their API ever see; against a
local Batch host ``H`` is asked as ``http://ADDRESS/v2/H/...``, without any.

Source: the OCI distribution specification 1.1.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx2

from airflow_batchstream.clients import registry_words
from airflow_batchstream.clients.artifact_registry import Repositories
from airflow_batchstream.clients.fetch import Answer, Fetcher, FetchError, Limits
from airflow_batchstream.clients.tokens import is_token
from airflow_batchstream.core.errors import ImageRefused, NoCredentials
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import manifest as reading
from airflow_batchstream.core.images.manifest import Config, Descriptor, Image, Index, Manifest, ManifestError, Platform
from airflow_batchstream.core.images.reference import Reference, is_tag, read_digest
from airflow_batchstream.core.images.repository import Repository, resource_name
from airflow_batchstream.core.images.rules import printable

TokenSource = Callable[[], Awaitable[str]]
"""Gives a Google access token, a fresh one each time it is called."""

DEFAULT_LIMITS = Limits()
_DEEPEST = 3
"""Indexes inside indexes; real ones have one level."""
_MOST_MANIFESTS = 8
"""Read of one image to find its platform's."""
_NO_TOKEN = "the credentials gave something that is no access token (one is printable ASCII without spaces)."
_SEE_CREDENTIALS = "Look after the credentials, and the token server that they name; until then nothing tells."
_LONGEST_TAGS = 256 * 1024
_MOST_TAGS = 1000


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest's bytes, whose digest has been checked."""

    media_type: str
    digest: str
    body: bytes


@dataclass(slots=True)
class _Token:
    """The header with the access token, empty before the first is there.

    :param failure: why the first did not come.
    :param refused_by: the registries that refused one which was fresh: the next would be no better.
    """

    header: str = ""
    failure: Exception | None = None
    refused_by: set[str] = field(default_factory=set)
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class Registry:
    """Images of all registries, through one set of connections, in one event loop.

    :param emulator: ``HOST:PORT`` of a local Batch, or empty or None for the registries themselves.
    :param token: where to get an access token; None to ask without.
    :param transport: how the bytes travel, for tests.
    """

    def __init__(
        self,
        emulator: str | None = None,
        token: TokenSource | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.limits = limits
        self._emulator = emulator or ""
        self._source = None if emulator else token
        self._token = _Token()
        self._repositories = Repositories(self._emulator)
        self._fetcher = Fetcher(limits, local=self._emulator, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._fetcher.__aexit__(kind, error, trace)

    def apart(self) -> Self:
        """The same connections and access token, what is known of hosts and repositories, and counts of its own.

        For one of several images.
        """
        one = copy.copy(self)
        one._fetcher = self._fetcher.apart()
        return one

    @property
    def requests(self) -> int:
        """HTTP requests so far, redirects and repetitions included."""
        return self._fetcher.requests

    @property
    def bytes_read(self) -> int:
        """Bytes of bodies read so far."""
        return self._fetcher.bytes_read

    async def resolve(
        self, reference: Reference, platform: Platform = reading.LINUX_AMD64, *, kind: bool = True
    ) -> Image:
        """Find the image of a platform: manifest and config, through an index if there is one.

        :param kind: ask what kind of repository it is in as well: see :meth:`repository`.
        :raises ImageRefused: it is not there or may not be read. With findings where the registry did answer and the
            image does not exist for this platform.
        """
        async with self._bounded(reference):
            try:
                return await self._resolve(reference, platform, kind)
            except ManifestError as error:
                says = f"{reference}: what {reference.registry} sent cannot be read: {str(error).rstrip('.')}."
                raise ImageRefused(says, remedy=error.remedy) from None

    async def small_blob(self, reference: Reference, blob: Descriptor, what: str, *, largest: int = 0) -> bytes:
        """The bytes of a config or a small layer, their digest checked.

        :param what: for the error: "the config".
        :param largest: bytes that it may have; 0 for those of a config. A larger one is not read.
        :raises ImageRefused: it is not there, may not be read, is too large, or is another.
        """
        limit = largest or self.limits.config
        if (blob.size or 0) > limit:
            raise ImageRefused(f"{reference}: {what} has {blob.size:,} bytes, {limit:,} are read at most.")
        async with self._bounded(reference):
            answer = await self._ask("GET", reference, f"blobs/{blob.digest}", what, limit=limit)
        _checked(reference, answer.body, blob.digest, what)
        return answer.body

    async def repository(self, reference: Reference) -> Repository | None:
        """What kind of repository the image is in, by one request at most; no error, it is only good to know.

        :returns: None where it is not asked: outside Artifact Registry, or without credentials, which its API wants.
        """
        name = resource_name(reference)
        if name is None or not (self._emulator or self._source):
            return None
        try:
            authorization = await self._authorization(reference)
        except ImageRefused:
            return None
        return await self._repositories.of(name, self._fetcher, authorization)

    async def digest(self, reference: Reference) -> str:
        """What the name stands for just now, by one HEAD request where the registry supports it."""
        async with self._bounded(reference):
            answer = await self._ask("HEAD", reference, f"manifests/{reference.target}", "the manifest", limit=0)
            return told(answer) or (await self._manifest(reference, reference.target)).digest

    async def tags(self, reference: Reference) -> list[str] | None:
        """The image's tags, as many as one answer holds; None if the registry knows no such image.

        :raises ImageRefused: it does not tell.
        """
        url = self._url(reference, f"tags/list?n={_MOST_TAGS}")
        token = await self._authorization(reference)
        try:
            answer = await self._fetcher.fetch("GET", url, limit=_LONGEST_TAGS, authorization=token, tries=1)
            if answer.status == 404:
                return None
            tags = json.loads(answer.body)["tags"] or []  # null for an image without any
            return [tag for tag in tags[:_MOST_TAGS] if isinstance(tag, str) and is_tag(tag)]
        except (FetchError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ImageRefused(f"{reference}: its tags could not be listed: {error}", retryable=True) from None

    async def _resolve(self, reference: Reference, platform: Platform, kind: bool) -> Image:
        top = await self._manifest(reference, reference.target)
        fetched, document, rivals = await self._chosen(reference, platform, top, {top.digest}, [])
        # Beside the config, so that it costs no time.
        asked = asyncio.create_task(self.repository(reference)) if kind else None
        try:
            config = await self._config(reference, document)
            repository = await asked if asked else None
        finally:
            if asked:
                asked.cancel()
                await asyncio.wait([asked])
        return Image(reference, top.digest, fetched.digest, platform, document, config, rivals, repository=repository)

    async def _chosen(
        self,
        reference: Reference,
        platform: Platform,
        fetched: Fetched,
        seen: set[str],
        without: list[Index],
        deep: int = 0,
    ) -> tuple[Fetched, Manifest, int]:
        """The platform's manifest in what was fetched, and how many entries fit as well as its own.

        An entry that names no platform may be an index without the platform: then the next one is looked into.

        :param seen: digests of what was fetched so far.
        :param without: the indexes so far that do not have the platform.
        """
        document = reading.read_manifest(fetched.media_type, fetched.body)
        if not isinstance(document, Index):
            return fetched, document, 1
        candidates, before = document.candidates(platform), len(without)
        if not candidates:
            without.append(document)
        for candidate in {entry.digest: entry for entry in candidates}.values():
            if candidate.digest in seen or deep == _DEEPEST:
                raise ManifestError(f"its indexes point at each other, or are nested more than {_DEEPEST} deep")
            if len(seen) > _MOST_MANIFESTS:
                raise ManifestError(f"more than {_MOST_MANIFESTS} manifests would have to be read to find the platform")
            seen.add(candidate.digest)
            entry = await self._manifest(reference, candidate.digest)
            try:
                found, manifest, rivals = await self._chosen(reference, platform, entry, seen, without, deep + 1)
            except ImageRefused as error:
                if not error.findings:
                    raise
                continue
            return found, manifest, max(rivals, len(candidates))
        raise _no_platform(reference, without[before:], platform)

    async def _manifest(self, reference: Reference, target: str) -> Fetched:
        what, path = "the manifest", f"manifests/{target}"
        accept = ", ".join(reading.ACCEPT)
        answer = await self._ask("GET", reference, path, what, limit=self.limits.manifest, accept=accept)
        media_type = answer.headers.get("content-type", "")
        expected = target if ":" in target else told(answer)
        return Fetched(media_type, _checked(reference, answer.body, expected, what), answer.body)

    async def _config(self, reference: Reference, manifest: Manifest) -> Config | None:
        blob = manifest.config
        if blob is None or manifest.artifact:
            return None
        if (blob.size or 0) > self.limits.config:
            raise ManifestError(f"its config has {blob.size:,} bytes, {self.limits.config:,} are read at most")
        what = "the config"
        answer = await self._ask("GET", reference, f"blobs/{blob.digest}", what, limit=self.limits.config)
        _checked(reference, answer.body, blob.digest, what)
        return reading.read_config(answer.body)

    async def _ask(
        self, method: str, reference: Reference, path: str, what: str, *, limit: int, accept: str = "*/*"
    ) -> Answer:
        """A successful answer, or the error that says why there is none."""

        async def ask(token: str) -> Answer:
            url = self._url(reference, path)
            return await self._fetcher.fetch(method, url, limit=limit, accept=accept, authorization=token)

        try:
            answer, token = await self._authorized(reference, ask)
        except FetchError as error:
            raise registry_words.no_answer(reference, what, "read", error) from None
        if answer.status == 200:
            return answer
        if answer.status == 404 and path.startswith("manifests/"):
            if not registry_words.of_a_registry(answer):
                raise registry_words.of_another(reference, answer)
            target = path.removeprefix("manifests/")
            raise await self._not_found(reference, target, answer)
        raise registry_words.refusal(reference, answer, what, authorized=bool(token))

    async def _not_found(self, reference: Reference, target: str, answer: Answer) -> ImageRefused:
        """Ask once more, so that the error can tell a missing tag from a missing image."""
        try:
            tags = await self.tags(reference)
        except ImageRefused:
            return registry_words.refusal(reference, answer, "the manifest", authorized=True)
        if tags is None:
            return registry_words.no_image(reference, answer)
        return registry_words.no_version(reference, target, answer, tags)

    def _url(self, reference: Reference, path: str) -> str:
        if self._emulator:
            return f"http://{self._emulator}/v2/{reference.name}/{path}"
        return f"https://{reference.registry}/v2/{reference.repository}/{path}"

    async def _authorization(self, reference: Reference, *, renew: str = "") -> str:
        """The header for a host. A Google token is for Google's registries alone, whatever else a job may name.

        :param renew: a header that was refused, and is not given again.
        """
        if self._source is None or not (reference.is_artifact_registry or reference.is_container_registry):
            return ""
        async with self._token.fetching:  # of several images at once, one asks and the others wait
            if self._token.header in ("", renew):
                self._token.header = f"Bearer {await self._fresh(reference, self._source)}"
            return self._token.header

    async def _authorized(
        self, reference: Reference, ask: Callable[[str], Awaitable[Answer]], *, again: bool = True
    ) -> tuple[Answer, str]:
        """An answer, and the header that it was asked with: another one after the first was refused.

        :param ask: asks with a header, or with none if it is empty.
        :param again: whether it can ask twice.
        """
        token = await self._authorization(reference)
        answer = await ask(token)
        if again and answer.status == 401 and (other := await self._renewed(reference, token)):
            token, answer = other, await ask(other)
            if answer.status == 401:
                self._token.refused_by.add(reference.registry)  # though it was fresh
        return answer, token

    async def _renewed(self, reference: Reference, refused: str) -> str:
        """Another header after one was refused; empty if there is none, or one would not help."""
        if not refused or (refused == self._token.header and reference.registry in self._token.refused_by):
            return ""
        other = await self._authorization(reference, renew=refused)
        if other != refused:
            return other
        self._token.refused_by.add(reference.registry)  # the source holds it for good
        return ""

    async def _fresh(self, reference: Reference, source: TokenSource) -> str:
        error = self._token.failure  # of another image: it would take as long again, and be no other
        if error is None:
            try:
                async with asyncio.timeout(self.limits.token):
                    token = await source()
                if is_token(token):
                    return token
                error = NoCredentials(_NO_TOKEN, remedy=_SEE_CREDENTIALS, retryable=False)
            except TimeoutError:
                words = f"the credentials gave no access token within {self.limits.token:g} s."
                error = NoCredentials(words, remedy="A retry can help.", retryable=True)
            except Exception as raised:  # whatever the credentials' library raises
                error = raised
            self._token.failure = None if self._token.header else error
        raise registry_words.no_token(reference, error) from error

    @asynccontextmanager
    async def _bounded(self, reference: Reference) -> AsyncGenerator[None]:
        """All requests about one image together take no longer than the limit: a server may drip for ever."""
        try:
            async with asyncio.timeout(self.limits.total):
                yield
        except TimeoutError:
            words = f"{reference.registry} took more than {self.limits.total:g} s altogether"
            self._fetcher.gave_up(words)
            raise ImageRefused(f"{reference}: {words}. A retry can help.", retryable=True) from None


def told(answer: Answer) -> str:
    """The digest that a registry says it answers with; empty where it says none, or what is none."""
    try:
        return read_digest(answer.headers.get("docker-content-digest", ""))
    except ValueError:
        return ""


def _checked(reference: Reference, body: bytes, expected: str, what: str) -> str:
    """The digest of what was read, if it is the expected one; any, where none is expected."""
    found = reading.digest_of(body, expected)
    if expected in ("", found):
        return found
    if what == "the manifest" and reading.digest_of(reading.signed_part(body), expected) == expected:
        return expected
    # Not for ever: a cache on the way may have spoiled it.
    raise ImageRefused(
        f"{reference}: {reference.registry} sent other bytes for {what} than its digest {expected} stands for (these "
        f"have {found}); nothing of it is believed. A retry can help.",
        retryable=True,
    )


def _no_platform(reference: Reference, indexes: list[Index], wanted: Platform) -> ImageRefused:
    there = ", ".join(sorted({str(platform) for index in indexes for platform in index.platforms}))
    says = f"The image is not there for {wanted}, which the job's machines are; it has {there or 'no platform at all'}."
    remedy = f"Build it for {wanted} too (docker buildx build --platform), or choose a machine type that fits."
    finding = printable(Finding("image-platform", Verdict.BROKEN, "image", there, says, remedy))
    return ImageRefused(f"{reference}: {finding}", findings=[finding])
