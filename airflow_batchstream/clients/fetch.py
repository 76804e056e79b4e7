"""HTTP with bounds: one GET or HEAD to a server that may be slow, wrong or hostile. Below :mod:`.registry`.

Bounded are the bytes of an answer, the time of a connection, of a pause in an answer and of all together, the hops of
a redirect and the repetitions after a passing failure. A credential goes to the host it was meant for and to no other,
and never over plain text.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2

from airflow_batchstream.clients.connections import Connections, NoConnections
from airflow_batchstream.clients.hosts import MOST_PROBES, Hosts, Origin, Place

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that a repetition may mend."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_ERROR = 64 * 1024
"""Bytes of an error's body that are read; the rest is left."""
_ASKING: ContextVar[bool] = ContextVar("asking", default=False)
logging.getLogger("httpx2").addFilter(lambda record: not _ASKING.get())


@contextmanager
def _unlogged() -> Iterator[None]:
    """The HTTP client tells each address to the task log, and a registry redirects to addresses that are signed."""
    token = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(token)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is borne of a registry.

    :param connect: seconds to connect, TLS included.
    :param pause: longest seconds without a byte.
    :param total: seconds for one question about an image, all its requests and tries together: for manifest and config,
        and for each small layer, of which many are asked for at once.
    :param token: seconds for an access token.
    :param aside: seconds for a question whose answer can be done without.
    :param manifest: bytes of a manifest; the distribution specification asks registries to take 4 MiB.
    :param config: bytes of a config.
    :param redirects: hops of one request.
    :param tries: of one request, the first included.
    :param backoff: seconds before the second try; doubled for each further one, with jitter.
    :param longest_wait: seconds that a server's Retry-After is obeyed at most.
    """

    connect: float = 10.0
    pause: float = 20.0
    total: float = 90.0
    token: float = 20.0
    aside: float = 3.0
    manifest: int = 4 * 1024 * 1024
    config: int = 8 * 1024 * 1024
    redirects: int = 5
    tries: int = 4
    backoff: float = 0.3
    longest_wait: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer, read whole.

    :param url: where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def host(self) -> str:
        """Who answered."""
        return httpx2.URL(self.url).host


class FetchError(Exception):
    """There is no answer, or none that may be used.

    :param passing: whether the same request can succeed later.
    :param silent: the host that gave no answer, or could not be connected to; None where there was another reason.
    :param again: whether to repeat it within the same call.
    :param remedy: what to do, where that is not about the image or the host.
    """

    def __init__(
        self, message: str, *, passing: bool, silent: Origin | None = None, again: bool = True, remedy: str = ""
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.passing, self.silent, self.again = passing, silent, passing and again


class Fetcher:
    """The connections to some servers, in one event loop; counts what it asks and reads.

    :param local: ``HOST:PORT`` of a local Batch, the only address that is spoken to without TLS; empty for none.
    :param transport: how the bytes travel, for tests.
    """

    def __init__(self, limits: Limits, *, local: str = "", transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes_read = 0
        self._local = local.lower()
        self._hosts = Hosts()
        self._broken_off: dict[Place, float] = {}
        timeout = httpx2.Timeout(limits.pause, connect=limits.connect)
        # A proxy for the world outside is none for a local Batch.
        self._connections = Connections(timeout, environment=not local, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()

    def apart(self) -> Self:
        """The same connections and what is known of hosts, with counts of its own: for one of several images."""
        one = copy.copy(self)
        one.requests = one.bytes_read = 0
        one._broken_off = {}
        return one

    def gave_up(self, why: str) -> None:
        """One image took all its time. No other asks where most of it went, unless somebody got an answer meanwhile."""
        for place, begun in self._broken_off.items():
            if time.monotonic() - begun >= self.limits.total / 2:
                self._hosts.no_answer(place, since=begun, found_by=self, why=why)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        limit: int,
        accept: str = "*/*",
        authorization: str = "",
        tries: int | None = None,
        content: bytes | AsyncIterable[bytes] | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a request, whatever its status, after redirects and repetitions.

        :param limit: bytes of the body of a successful answer; a longer one is refused unread.
        :param authorization: header for the first host only; never sent without TLS.
        :param tries: instead of the limits' own.
        :param content: what to send, for methods that send; a redirect of theirs is returned, not followed. A stream
            can be sent once, so ``tries`` is then 1.
        :param sent: further headers: the content's type, its length if it is a stream.
        :raises FetchError: no answer, or one that breaks a bound.
        """
        # Nothing to unpack, so nothing that explodes.
        headers = {"Accept": accept, "Accept-Encoding": "identity"} | dict(sent or {})
        here, begun = _url(url), time.monotonic()
        kind, shared = _kind(here), tries is None  # a few tries tell others nothing
        most = tries or self._hosts.tries((_origin(here), kind), self, self.limits.tries)
        for attempt in itertools.count(1):
            try:
                answer = await self._follow(method, here, headers, authorization, limit, content)
            except FetchError as failure:
                if not failure.again or attempt >= most:
                    if failure.silent and failure.again and shared:
                        self._hosts.no_answer((failure.silent, kind), since=begun, found_by=self, why=str(failure))
                    raise
                asked = 0.0
            else:
                if not self._asks_again(answer, kind, begun, last=attempt >= most, shared=shared):
                    return answer
                asked = _retry_after(answer.headers)
            await asyncio.sleep(self._pause(min(attempt, most), asked))
        raise AssertionError("unreachable")

    def _asks_again(self, answer: Answer, kind: str, begun: float, *, last: bool, shared: bool) -> bool:
        """Whether an answer is passing trouble that is waited out; if it is not any more, the others hear of it.

        :param begun: when the first try began.
        :param last: whether this was the last of as many tries as one thing gets.
        :param shared: whether what becomes of it counts for others.
        """
        if answer.status not in PASSING:
            return False
        place, why, fewer = (_origin(_url(answer.url)), kind), f"HTTP {answer.status} each time", _fewer(answer)
        if fewer and self._hosts.hopeless(place, self.limits.tries):
            self._hosts.no_answer(place, since=math.inf, found_by=self, why=why)
            return False
        if not last or (fewer and shared and self._hosts.goes_on(place)):
            return True
        if shared:
            self._hosts.no_answer(place, since=begun, found_by=self, why=why, probes=0 if fewer else MOST_PROBES)
        return False

    async def _follow(
        self,
        method: str,
        url: httpx2.URL,
        headers: dict[str, str],
        authorization: str,
        limit: int,
        content: bytes | AsyncIterable[bytes] | None = None,
    ) -> Answer:
        here, kind = url, _kind(url)
        secret = authorization if here.scheme == "https" else ""
        for _ in range(self.limits.redirects + 1):
            sent = headers | {"Authorization": secret} if secret else headers
            with _unlogged():
                answer = await self._once(method, here, sent, limit, kind, content)
            if answer.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return answer
            target = _url(answer.headers.get("location", ""), here)
            await self._refuse_unsafe(here, target)
            if _origin(target) != _origin(here):
                secret = ""  # for good: a foreign host that redirects back has chosen the path
            here = target
        raise FetchError(f"{_shown(str(url))} redirects more than {self.limits.redirects} times", passing=False)

    async def _once(
        self,
        method: str,
        url: httpx2.URL,
        headers: dict[str, str],
        limit: int,
        kind: str,
        content: bytes | AsyncIterable[bytes] | None = None,
    ) -> Answer:
        async with self._opened(method, url, headers, kind, content) as response:
            # An error or a redirect is read to be quoted, and no further; a success must be whole.
            whole = 200 <= response.status_code < 300
            body = await self._read(response, limit if whole else _LONGEST_ERROR, whole)
            if not whole:
                body = _without_secret(body, headers.get("Authorization", ""))
            answer = Answer(response.status_code, dict(response.headers), body, str(url))
            if _fewer(answer):
                self._hosts.fewer((_origin(url), kind), min(_retry_after(answer.headers), self.limits.longest_wait))
            elif answer.status not in PASSING:
                self._hosts.answered((_origin(url), kind))
            return answer

    @asynccontextmanager
    async def stream(self, url: str, *, authorization: str = "") -> AsyncGenerator[tuple[Answer, AsyncIterator[bytes]]]:
        """A body of any length, piece by piece, after redirects; not repeated. Whoever reads it bounds it.

        :param authorization: header for the first host only; never sent without TLS.
        :return: the answer, without its body unless it is an error, and the pieces.
        :raises FetchError: no answer; also while the pieces are read.
        """
        here, headers = _url(url), {"Accept": "*/*", "Accept-Encoding": "identity"}
        secret = authorization if here.scheme == "https" else ""
        for _ in range(self.limits.redirects + 1):
            sent = headers | {"Authorization": secret} if secret else headers
            with _unlogged():
                async with self._opened("GET", here, sent, "blobs") as response:
                    status, told = response.status_code, dict(response.headers)
                    if status not in _REDIRECTS:
                        error = b"" if status == 200 else await self._read(response, _LONGEST_ERROR, False)
                        yield Answer(status, told, _without_secret(error, secret), str(here)), self._pieces(response)
                        return
            target = _url(told.get("location", ""), here)
            await self._refuse_unsafe(here, target)
            secret = secret if _origin(target) == _origin(here) else ""
            here = target
        raise FetchError(f"{_shown(url)} redirects more than {self.limits.redirects} times", passing=False)

    async def place(self, answer: Answer) -> tuple[str, bool]:
        """The address in an answer's ``Location``, which something is to be sent to, and whether its host is the same.

        :raises FetchError: there is none, or one into the machine or the network that this runs in.
        """
        here = _url(answer.url)
        target = _url(answer.headers.get("location", ""), here)
        same = _origin(target) == _origin(here)
        if not same:
            await self._refuse_unsafe(here, target)
        return str(target), same

    @asynccontextmanager
    async def _opened(
        self,
        method: str,
        url: httpx2.URL,
        headers: dict[str, str],
        kind: str,
        content: bytes | AsyncIterable[bytes] | None = None,
    ) -> AsyncGenerator[httpx2.Response]:
        """A response whose body has yet to be read; what goes wrong until it is closed becomes a FetchError."""
        origin = _origin(url)
        try:
            client = self._connections.client
        except NoConnections as error:
            raise FetchError(error.says, passing=False, remedy=error.remedy) from None
        if why := await self._hosts.turn((origin, kind), self):
            words = f"{url.host} was not asked, for it gave another image no good answer in any try: {why}"
            raise FetchError(words, passing=True, again=False)
        self.requests += 1
        begun = time.monotonic()
        try:
            with self._told(url):
                async with client.stream(
                    method, url, headers=headers, content=content, follow_redirects=False
                ) as response:
                    yield response
        except asyncio.CancelledError:
            self._broken_off[origin, kind] = begun
            raise

    @contextmanager
    def _told(self, url: httpx2.URL) -> Iterator[None]:
        """What goes wrong with a server becomes a FetchError with its name."""
        origin = _origin(url)
        try:
            yield
        except httpx2.TimeoutException:
            bounds = f"{self.limits.connect:g} s to connect, {self.limits.pause:g} s of silence"
            words = f"{url.host} did not answer in time ({bounds} are allowed)"
            raise FetchError(words, passing=True, silent=origin) from None
        except httpx2.ProtocolError:  # unquoted: its words may hold a header
            raise FetchError(f"{url.host} did not answer as HTTP does", passing=True) from None
        except httpx2.TransportError as error:
            silent = origin if isinstance(error, httpx2.ConnectError) else None
            raise FetchError(_words(url, error), passing=not _certificate(error), silent=silent) from None
        except httpx2.HTTPError as error:
            raise FetchError(f"{url.host} did not answer as HTTP does ({type(error).__name__})", passing=True) from None
        except UnicodeError:  # a label of more than 63 characters
            raise FetchError(f"{_shown(url.host)} is no host name", passing=False) from None

    async def _read(self, response: httpx2.Response, limit: int, whole: bool) -> bytes:
        if whole and response.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError(f"{response.url.host} sent a packed answer, which was not asked for", passing=False)
        declared = response.headers.get("content-length", "")
        too_long = FetchError(
            f"{response.url.host} sent more than the {limit:,} bytes that such a document may have", passing=False
        )
        if whole and response.request.method != "HEAD" and (whole_number(declared) or 0) > limit:
            raise too_long
        body = bytearray()  # no list of pieces: a hostile server sends them byte by byte
        async for chunk in response.aiter_raw():
            self.bytes_read += len(chunk)
            body += chunk
            if len(body) > limit:
                if whole:
                    raise too_long
                break
        return bytes(body[:limit])

    async def _pieces(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        with self._told(response.url):  # not later: they may be on their way to another server
            async for chunk in response.aiter_raw():
                self.bytes_read += len(chunk)
                yield chunk

    async def _refuse_unsafe(self, here: httpx2.URL, target: httpx2.URL) -> None:
        """Refuse a redirect into the machine or the network that this runs in; a local Batch's own address excepted."""
        if self._local and target.scheme == "http" and _authority(target) == self._local:
            return
        reason = _unsafe(target)
        if not reason and _origin(target) != _origin(here):  # where it is now, it has been let before
            reason = await self._hosts.unsafe(target.host)
        if reason:
            words = f"{here.host} redirects to {_shown(str(target))}, which is refused: {reason}"
            raise FetchError(words, passing=False)

    def _pause(self, attempt: int, asked: float) -> float:
        own = self.limits.backoff * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)
        return max(own, min(asked, self.limits.longest_wait))


def _url(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    if base is not None and not text:
        raise FetchError(f"{base.host} redirects to nowhere", passing=False)
    try:
        url = base.join(text) if base is not None else httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise FetchError(f"{_shown(text)} is no address", passing=False) from None
    if not 0 < (url.port or 443) < 65536:
        raise FetchError(f"{_shown(text)} is no address: its port is {url.port}", passing=False)
    return url


def _unsafe(target: httpx2.URL) -> str:
    """Why an address is not followed, judged by its text; empty if it may be."""
    host = target.host.lower().rstrip(".")
    last = host.rpartition(".")[2]
    if target.scheme != "https":
        return "it is not https"
    if target.userinfo:
        return "it carries a name or a password"
    if ":" in host or last[:1].isdigit():
        return "it is a bare IP address"
    if "." not in host or last in {"localhost", "local", "internal", "localdomain"}:
        return "it is inside the local network"
    return ""


def _without_secret(body: bytes, authorization: str) -> bytes:
    """An error that is going to be quoted: a proxy may say in it what it was sent."""
    secret = authorization.rpartition(" ")[2].encode()
    return body.replace(secret, b"***") if secret else body


def _origin(url: httpx2.URL) -> Origin:
    return url.scheme, url.host.lower(), url.port or {"https": 443, "http": 80}.get(url.scheme)


def _authority(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii", "replace").lower()


def whole_number(text: str) -> int | None:
    """A header's number; None where it is none, as ``²`` is, or has more than 18 digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait; its form as a date is left to our own backoff."""
    return float(whole_number(headers.get("retry-after", "")) or 0)


def _fewer(answer: Answer) -> bool:
    """Whether the server asks for fewer requests: by 429, or by 503 with the time to come back."""
    return answer.status == 429 or (answer.status == 503 and _retry_after(answer.headers) > 0)


def _kind(url: httpx2.URL) -> str:
    """What a registry is asked for: blobs may be elsewhere than all the rest, behind the same address."""
    return "blobs" if "/blobs/" in url.path else ""


def _certificate(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _words(url: httpx2.URL, error: Exception) -> str:
    if _certificate(error):
        return (
            f"{url.host} showed a certificate that is not trusted here ({error}): behind a proxy that opens TLS, set "
            "SSL_CERT_FILE to its certificate"
        )
    kind = "could not be reached" if isinstance(error, httpx2.ConnectError) else "broke off its answer"
    return f"{url.host} {kind} ({str(error)[:200] or type(error).__name__})"


def _shown(url: str) -> str:
    """An address without its query, which may be signed."""
    return repr(url.partition("?")[0][:150])
