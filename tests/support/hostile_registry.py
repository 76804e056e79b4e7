"""A registry over real HTTP on loopback that behaves until it is told not to.

It serves ``/v2/NAME/...`` for the host that is asked (header ``Host``), and ``/v2/HOST/NAME/...`` as a local Batch
does, and Artifact Registry's API, where every repository is a standard one unless it is said to be another.
:class:`Detour` brings requests for any host name here, so that the client's rules about hosts, TLS and tokens are
exercised as they are, while the bytes still travel through sockets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import httpx2
from served import Served
from small_images import Made, as_json, sha256
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

Fault = Callable[[Request], Response | None]
"""Answers a request in the registry's place, or leaves it alone."""

_REPOSITORY = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/]+)")
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags)/(?P<what>[^/]+)")


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    host: str
    path: str
    authorization: str


@dataclass
class HostileRegistry(Served):
    """The registry, running in a thread of its own; used as a context manager.

    :param app: serve another registry instead.
    """

    app: Starlette | None = None
    tags: dict[tuple[str, str], Made] = field(default_factory=dict)
    manifests: dict[str, Made] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    repositories: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    standing: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        routes = [Route("/{path:path}", self._answer, methods=["GET", "HEAD"])]
        app = self.app or Starlette(routes=routes)
        super().__init__(app)

    def put(self, name: str, made: Made, tag: str = "latest") -> Made:
        """Hold an image under a name with its host: ``us-docker.pkg.dev/p/r/i``."""
        self.tags[name, tag] = made
        self._keep(made)
        return made

    def reset(self) -> None:
        """Forget images, faults and requests: a new registry at the same address."""
        for held in (self.tags, self.manifests, self.blobs, self.repositories, self.seen, self.faults, self.standing):
            held.clear()

    def fail(self, *faults: Fault) -> None:
        """Let each fault answer one request, in this order, before the registry behaves again."""
        self.faults += faults

    def always(self, fault: Fault) -> None:
        """Let a fault answer whatever it wants to, from now on."""
        self.faults += [fault] * 200

    def stands(self, fault: Fault) -> None:
        """Let a fault look at each request once, as often as there are any."""
        self.standing.append(fault)

    def _keep(self, made: Made) -> None:
        self.manifests[made.digest] = made
        self.blobs |= made.blobs
        for child in made.children:
            self._keep(child)

    async def _answer(self, request: Request) -> Response:
        headers = request.headers
        self.seen.append(
            Seen(request.method, headers.get("host", ""), request.url.path, headers.get("authorization", ""))
        )
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                self.faults.remove(fault)
                return answer
        for fault in self.standing:
            if (answer := fault(request)) is not None:
                return answer
        return self._behave(request)

    def _behave(self, request: Request) -> Response:
        if asked := _REPOSITORY.fullmatch(request.url.path):
            standard = as_json({"name": asked[1], "format": "DOCKER", "mode": "STANDARD_REPOSITORY"})
            return Response(self.repositories.get(asked[1], standard), media_type="application/json")
        found = _PATH.fullmatch(request.url.path)
        if not found:
            return error(404, "NOT_FOUND", "no such page")
        name = found["name"]
        if "." not in name.partition("/")[0]:  # asked by the name's own host
            name = f"{request.headers['host']}/{name}"
        if found["kind"] == "tags":
            tags = [tag for held, tag in self.tags if held == name]
            return Response(as_json({"name": name, "tags": tags})) if tags else error(404, "NAME_UNKNOWN", "no image")
        if found["kind"] == "blobs":
            blob = self.blobs.get(found["what"])
            return Response(blob) if blob is not None else error(404, "BLOB_UNKNOWN", "no blob")
        made = self.tags.get((name, found["what"])) or self.manifests.get(found["what"])
        if made is None:
            return error(404, "MANIFEST_UNKNOWN", "no manifest")
        return Response(made.body, media_type=made.media_type, headers={"Docker-Content-Digest": made.digest})


class Detour(httpx2.AsyncHTTPTransport):
    """Takes requests for any host to one address, over plain HTTP, with the ``Host`` they were meant for.

    :param port: of 127.0.0.1.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._port = int(address.rpartition(":")[2])
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        there = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(
            httpx2.Request(
                request.method, there, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )


def error(status: int, code: str, message: str, **headers: str) -> Response:
    """An error as registries word it."""
    body = as_json({"errors": [{"code": code, "message": message}]})
    return Response(body, status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def status(code: int, message: str = "", on: str = "", **headers: str) -> Fault:
    """Answer with an error where the path contains ``on``."""
    return lambda request: error(code, "CODE", message, **headers) if on in request.url.path else None


def redirect(location: str, on: str = "/blobs/", code: int = 307) -> Fault:
    """Send the client elsewhere."""
    return lambda request: Response(b"", code, headers={"Location": location}) if on in request.url.path else None


def body(data: bytes, on: str, **headers: str) -> Fault:
    """Other bytes than it should be."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Response(data, headers=named) if on in request.url.path else None


def endless(on: str, chunk: bytes, pause: float = 0.0, length: int | None = None) -> Fault:
    """A body that never ends: fast (a flood) or with pauses (a drip, or a stall).

    :param length: what Content-Length claims, if anything.
    """

    async def chunks() -> AsyncGenerator[bytes]:
        while True:
            yield chunk
            await asyncio.sleep(pause)

    headers = {} if length is None else {"Content-Length": str(length)}
    return lambda request: StreamingResponse(chunks(), headers=headers) if on in request.url.path else None


__all__ = [
    "Detour",
    "Fault",
    "HostileRegistry",
    "Seen",
    "body",
    "endless",
    "error",
    "redirect",
    "sha256",
    "status",
]
