"""The local Batch's own registry over real HTTP, with every request told, and answers or pauses put in between.

Served for the names of a local Batch (``/v2/HOST/NAME/...``), and with :class:`hostile_registry.Detour` for real host
names, whose host is then taken from the request's ``Host``.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hostile_registry import error
from served import Served
from small_images import Made
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from airflow_batchstream.emulator.images.registry import registry_app
from airflow_batchstream.emulator.images.store import Store


@dataclass(frozen=True)
class Told:
    """A request that arrived."""

    method: str
    path: str
    query: str
    authorization: str

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")


class WritableRegistry(Served):
    """A registry in a folder, running in a thread of its own; used as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.reset(folder)
        super().__init__(self._serve, interface="asgi3")

    def reset(self, folder: Path) -> None:
        """A new registry at the same address."""
        self.store = Store(folder)
        self.seen: list[Told] = []
        self.faults: list[Callable[[Request], Response | None]] = []
        self.stalled = threading.Event()
        self._stall: tuple[int, bool] | None = None
        self._app = registry_app(self.store)

    def put(self, name: str, made: Made, tag: str = "1") -> Made:
        """Hold an image: ``us-docker.pkg.dev/p/r/i``."""
        for child in made.children:
            self.put(name, child, child.digest)
        for blob in made.blobs.values():
            self.store.put_blob(name, blob)
        self.store.put_manifest(name, tag, made.media_type, made.body)
        return made

    def tags(self, name: str) -> dict[str, str]:
        """The digest of each tag."""
        folder = self.store.root / "repositories" / name / "_tags"
        return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}

    def document(self, name: str, reference: str) -> dict[str, Any]:
        """A manifest or an index."""
        found: dict[str, Any] = json.loads(self.store.manifest(name, reference).content)
        return found

    def config(self, name: str, reference: str) -> dict[str, Any]:
        """An image's config."""
        digest = self.document(name, reference)["config"]["digest"]
        found: dict[str, Any] = json.loads(self.store.blob(digest, name).read_bytes())
        return found

    def stall(self, number: int, *, done: bool) -> None:
        """Never answer the n-th request that writes, counted from 0.

        :param done: what it asks for is done all the same.
        """
        self.stalled.clear()
        self._stall = (number + len(self.writes), done)

    @property
    def writes(self) -> list[str]:
        """The requests that wrote, shortened: ``PUT manifests/2``."""
        return [f"{told.method} {_short(told.path)}" for told in self.seen if told.writes]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        query = unquote(scope["query_string"].decode())
        self.seen.append(Told(request.method, request.url.path, query, request.headers.get("authorization", "")))
        if self._stall is not None and self.seen[-1].writes and len(self.writes) - 1 == self._stall[0]:
            if self._stall[1]:
                await self._app(scope, receive, _nothing)
            self._stall = None
            self.stalled.set()
            await asyncio.sleep(60)
            return
        for fault in list(self.faults):
            if (answer := fault(request)) is not None:
                await answer(scope, receive, send)
                return
        host = request.headers["host"]
        first = scope["path"].removeprefix("/v2/").partition("/")[0]
        if "." in first:
            await self._app(scope, receive, send)
            return

        async def shortened(message: Message) -> None:
            """Addresses as that host would give them."""
            if message["type"] == "http.response.start":
                message["headers"] = [(k, v.replace(f"/v2/{host}/".encode(), b"/v2/")) for k, v in message["headers"]]
            await send(message)

        path = scope["path"].replace("/v2/", f"/v2/{host}/", 1)
        query = re.sub(r"(^|&)from=", rf"\1from={host}/", scope["query_string"].decode())
        there: dict[str, Any] = {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
        await self._app({**scope, **there}, receive, shortened)


async def _nothing(_message: Message) -> None:
    """An answer that nobody gets."""


def refuse(method: str, on: str, status: int, words: str = "no") -> Callable[[Request], Response | None]:
    """Answer requests of a method, whose path contains ``on``, with an error."""
    return lambda request: (
        error(status, "DENIED", words) if request.method == method and on in request.url.path else None
    )


def _short(path: str) -> str:
    found = re.search(r"/((?:manifests|blobs)/.*)", path)
    return re.sub(r"uploads/.+", "uploads/ID", found[1]) if found else path
