"""The registry of the local Batch: the OCI distribution API over a :class:`.store.Store`, as an ASGI app.

It stands in the place of every registry: the first part of a repository's path is the host it is reached at elsewhere,
so ``us-docker.pkg.dev/p/r/i`` is ``/v2/us-docker.pkg.dev/p/r/i/...`` here. No sign-in: it listens on loopback.

Errors have the specification's form, ``{"errors": [{"code", "message", "detail"}]}``. Every way to upload that the
specification knows is there: in one POST, POST then PUT, POST then PATCHes then PUT, and mount.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from airflow_batchstream.emulator.images.store import MANIFEST_BYTES, Manifest, Store, StoreError, Upload

STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "MANIFEST_UNKNOWN": 404,
    "NAME_UNKNOWN": 404,
    "UNSUPPORTED": 405,
    "SIZE_INVALID": 413,
    "BLOB_UPLOAD_INVALID": 416,
}
"""HTTP status by error code; 400 for all others."""
API_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
PAGE = 1000
PIECE = 1 << 20

Handler = Callable[[Request, str, str], Awaitable[Response]]


def registry_app(store: Store) -> Starlette:
    """The ASGI app that serves ``/v2/...``."""
    registry = Registry(store)
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(
        routes=[
            Route("/v2", registry.root, methods=methods),
            Route("/v2/{rest:path}", registry.serve, methods=methods),
        ]
    )


class Registry:
    """Takes requests apart, and asks the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._routes: list[tuple[re.Pattern[str], dict[str, Handler]]] = [
            (re.compile(r"(.+)/manifests/([^/]+)"), self._manifest_methods()),
            (re.compile(r"(.+)/blobs/uploads/([^/]*)"), self._upload_methods()),
            (re.compile(r"(.+)/blobs/([^/]+)"), self._blob_methods()),
            (re.compile(r"(.+)/tags/(list)"), {"GET": self._tags, "HEAD": self._tags}),
            (re.compile(r"(.+)/referrers/([^/]+)"), {"GET": self._referrers}),
            (re.compile(r"()(_catalog)"), {"GET": self._catalog}),
        ]

    async def root(self, _request: Request) -> Response:
        """Says that this is a registry."""
        return Response("{}", media_type="application/json", headers=API_VERSION)

    async def serve(self, request: Request) -> Response:
        """Answer one request, errors in the specification's form."""
        rest = request.path_params["rest"]
        if not rest:
            return await self.root(request)
        try:
            for pattern, methods in self._routes:
                if found := pattern.fullmatch(rest):
                    handler = methods.get(request.method)
                    if handler is None:
                        said = f"{request.method} is not for {request.url.path}"
                        raise StoreError("UNSUPPORTED", said)
                    return await handler(request, found[1], found[2])
            raise StoreError("NAME_UNKNOWN", f"no such address in a registry: {request.url.path}")
        except StoreError as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)

    # ---- manifests ----

    def _manifest_methods(self) -> dict[str, Handler]:
        return {
            "GET": self._get_manifest,
            "HEAD": self._get_manifest,
            "PUT": self._put_manifest,
            "DELETE": self._delete_manifest,
        }

    async def _get_manifest(self, request: Request, name: str, reference: str) -> Response:
        manifest = await asyncio.to_thread(self.store.manifest, name, reference)
        headers = API_VERSION | {
            "Docker-Content-Digest": manifest.digest,
            "ETag": f'"{manifest.digest}"',
            "Content-Length": str(len(manifest.content)),
        }
        if request.headers.get("if-none-match", "").strip('"') == manifest.digest:
            return Response(status_code=304, headers=headers | {"Content-Length": "0"})
        content = b"" if request.method == "HEAD" else manifest.content
        # The type as a plain header: starlette would add a charset to some.
        return Response(content, headers=headers | {"Content-Type": manifest.media_type})

    async def _put_manifest(self, request: Request, name: str, reference: str) -> Response:
        content = b""
        async for piece in request.stream():
            content += piece
            if len(content) > MANIFEST_BYTES:
                raise StoreError("SIZE_INVALID", f"a manifest may have {MANIFEST_BYTES} bytes at most")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip() or _declared_type(content)
        digest = await asyncio.to_thread(self.store.put_manifest, name, reference, media_type, content)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if subject := _subject(content):
            headers["OCI-Subject"] = subject
        return Response(status_code=201, headers=API_VERSION | headers)

    async def _delete_manifest(self, _request: Request, name: str, reference: str) -> Response:
        await asyncio.to_thread(self.store.delete_manifest, name, reference)
        return Response(status_code=202, headers=API_VERSION)

    # ---- blobs ----

    def _blob_methods(self) -> dict[str, Handler]:
        return {"GET": self._get_blob, "HEAD": self._get_blob, "DELETE": self._delete_blob}

    async def _get_blob(self, request: Request, name: str, digest: str) -> Response:
        path = await asyncio.to_thread(self.store.blob, digest, name)
        size = path.stat().st_size
        headers = API_VERSION | {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
        }
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(size)})
        if "range" not in request.headers:
            return FileResponse(path, headers=headers)
        wanted = _range(request.headers["range"], size)
        if wanted is None:
            return Response(status_code=416, headers=API_VERSION | {"Content-Range": f"bytes */{size}"})
        first, last = wanted
        headers |= {"Content-Range": f"bytes {first}-{last}/{size}", "Content-Length": str(last - first + 1)}

        async def pieces() -> AsyncIterator[bytes]:
            with path.open("rb") as file:
                file.seek(first)
                left = last - first + 1
                while left and (piece := await asyncio.to_thread(file.read, min(left, PIECE))):
                    left -= len(piece)
                    yield piece

        return StreamingResponse(pieces(), status_code=206, headers=headers)

    async def _delete_blob(self, _request: Request, name: str, digest: str) -> Response:
        await asyncio.to_thread(self.store.delete_blob, name, digest)
        return Response(status_code=202, headers=API_VERSION)

    # ---- uploads ----

    def _upload_methods(self) -> dict[str, Handler]:
        return {
            "POST": self._begin,
            "GET": self._progress,
            "PATCH": self._append,
            "PUT": self._finish,
            "DELETE": self._cancel,
        }

    async def _begin(self, request: Request, name: str, upload_name: str) -> Response:
        if upload_name:
            raise StoreError("UNSUPPORTED", "an upload begins with POST to .../blobs/uploads/")
        query = request.query_params
        if "mount" in query:
            mounted = await asyncio.to_thread(self.store.mount, name, query["mount"], query.get("from"))
            if mounted:
                return _created(name, query["mount"])
        upload = await asyncio.to_thread(self.store.upload, name)
        if "digest" not in query:
            return _accepted(upload)
        await _receive(request, upload)
        return _created(name, await asyncio.to_thread(upload.finish, query["digest"]))

    async def _progress(self, _request: Request, name: str, upload_name: str) -> Response:
        return _accepted(self.store.upload(name, upload_name), status=204)

    async def _append(self, request: Request, name: str, upload_name: str) -> Response:
        upload = self.store.upload(name, upload_name)
        if declared := request.headers.get("content-range"):
            found = re.fullmatch(r"(?:bytes[ =])?(\d+)-(\d+)(?:/.*)?", declared)
            if not found or int(found[1]) != upload.size:
                return _accepted(upload, status=416)
        await _receive(request, upload)
        return _accepted(upload)

    async def _finish(self, request: Request, name: str, upload_name: str) -> Response:
        upload = self.store.upload(name, upload_name)
        if "digest" not in request.query_params:
            raise StoreError("DIGEST_INVALID", "an upload ends with PUT and ?digest=sha256:...")
        await _receive(request, upload)
        return _created(name, await asyncio.to_thread(upload.finish, request.query_params["digest"]))

    async def _cancel(self, _request: Request, name: str, upload_name: str) -> Response:
        self.store.upload(name, upload_name).cancel()
        return Response(status_code=204, headers=API_VERSION)

    # ---- lists ----

    async def _tags(self, request: Request, name: str, _list: str) -> Response:
        found = await asyncio.to_thread(self.store.tags, name)
        return _page(request, f"/v2/{name}/tags/list", {"name": name}, "tags", found)

    async def _catalog(self, request: Request, _name: str, _list: str) -> Response:
        found = await asyncio.to_thread(self.store.repositories)
        return _page(request, "/v2/_catalog", {}, "repositories", found)

    async def _referrers(self, request: Request, name: str, digest: str) -> Response:
        manifests = await asyncio.to_thread(self.store.referrers, name, digest)
        kind = request.query_params.get("artifactType")
        listed = [d for d in map(_descriptor, manifests) if kind is None or d.get("artifactType") == kind]
        headers = dict(API_VERSION) | ({"OCI-Filters-Applied": "artifactType"} if kind else {})
        media_type = "application/vnd.oci.image.index.v1+json"
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": listed})
        return Response(content, headers=headers | {"Content-Type": media_type})


def _refusal(error: StoreError) -> Response:
    body = {"errors": [{"code": error.code, "message": str(error), "detail": error.detail}]}
    status = STATUS.get(error.code, 400)
    return Response(json.dumps(body), status_code=status, media_type="application/json", headers=API_VERSION)


def _created(name: str, digest: str) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest, "Content-Length": "0"}
    return Response(status_code=201, headers=API_VERSION | headers)


def _accepted(upload: Upload, status: int = 202) -> Response:
    headers = {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.name}",
        "Docker-Upload-UUID": upload.name,
        "Range": f"0-{max(upload.size - 1, 0)}",
    }
    return Response(status_code=status, headers=API_VERSION | headers)


async def _receive(request: Request, upload: Upload) -> None:
    """Write the body to the upload as it comes; what did come stays, if the client goes away."""
    gathered, size = [], 0
    async for piece in request.stream():
        gathered.append(piece)
        size += len(piece)
        if size >= PIECE:
            await asyncio.to_thread(upload.append, gathered)
            gathered, size = [], 0
    if size:
        await asyncio.to_thread(upload.append, gathered)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a ``Range`` header; None if that cannot be given. Several ranges are not for blobs."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.replace(" ", ""))
    if not found or found[0] == "bytes=-":
        return None
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    return (first, last) if first <= last else None


def _page(request: Request, address: str, body: dict[str, Any], key: str, found: list[str]) -> Response:
    """One page of a list, and where the next one is."""
    last, wanted = request.query_params.get("last"), request.query_params.get("n")
    if wanted is not None and not wanted.isdecimal():
        raise StoreError("PAGINATION_NUMBER_INVALID", f"n={wanted} is no number")
    size = min(int(wanted), PAGE) if wanted is not None else PAGE
    rest = [entry for entry in found if last is None or entry > last]
    page = rest[:size]
    headers = dict(API_VERSION)
    if page and len(rest) > size:
        headers["Link"] = f'<{address}?n={size}&last={quote(page[-1], safe="")}>; rel="next"'
    return Response(json.dumps(body | {key: page}), media_type="application/json", headers=headers)


def _read(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _declared_type(content: bytes) -> str:
    """For clients that send no Content-Type."""
    return str(_read(content).get("mediaType", ""))


def _subject(content: bytes) -> str:
    subject = _read(content).get("subject")
    return str(subject.get("digest", "")) if isinstance(subject, dict) else ""


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    """How the list of referrers shows a manifest."""
    read = _read(manifest.content)
    shown = {"mediaType": manifest.media_type, "size": len(manifest.content), "digest": manifest.digest}
    config = read.get("config")
    kind = read.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    if kind:
        shown["artifactType"] = kind
    if "annotations" in read:
        shown["annotations"] = read["annotations"]
    return shown
