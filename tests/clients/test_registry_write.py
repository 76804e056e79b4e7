"""Writing as against Google: https, real host names, a token, at a registry that really takes what is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import small_images as make
from hostile_registry import Detour, error
from registry_calls import QUICK, Tokens
from starlette.responses import Response, StreamingResponse
from writable_registry import WritableRegistry as Server

from airflow_batchstream.clients.registry_write import WritableRegistry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import Descriptor
from airflow_batchstream.core.images.reference import parse

NAME = "us-docker.pkg.dev/acme/batch/train"
SOURCE, TARGET = parse(f"{NAME}:1"), parse("us-docker.pkg.dev/acme/elsewhere/train:2")
BODY = b"{}"
Found = TypeVar("Found")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as one:
        yield one


def call(
    server: Server, work: Callable[[WritableRegistry], Awaitable[Found]], *tokens: str, detour: Detour | None = None
) -> Found:
    async def go() -> Found:
        transport = detour or Detour(server.address)
        token = Tokens(*tokens) if tokens else None
        async with WritableRegistry(None, token, limits=QUICK, transport=transport) as registry:
            return await asyncio.wait_for(work(registry), 20)

    return asyncio.run(go())


class TestABlob:
    def test_is_mounted_under_the_names_that_the_host_knows(self, server: Server) -> None:
        made = server.put(NAME, make.image())
        digest = next(iter(made.blobs))
        assert call(server, lambda r: r.mount(TARGET, digest, SOURCE), "token")
        assert server.seen[-1].query == f"mount={digest}&from=acme/batch/train"
        assert server.seen[-1].authorization == "Bearer token"
        assert server.store.blob(digest, TARGET.name).is_file()

    def test_that_is_not_mounted_may_be_there_all_the_same(self, server: Server) -> None:
        digest = server.store.put_blob(TARGET.name, BODY)
        server.faults.append(begins_an_upload)
        assert call(server, lambda r: r.mount(TARGET, digest, SOURCE))
        assert not call(server, lambda r: r.mount(TARGET, make.sha256(b"other"), SOURCE))

    def test_leaves_no_upload_behind_where_the_registry_began_one(self, server: Server) -> None:
        assert not call(server, lambda r: r.mount(TARGET, make.sha256(b"other"), SOURCE))
        assert server.writes[-1] == "DELETE blobs/uploads/ID"
        assert list((server.store.root / "uploads").iterdir()) == []

    def test_is_uploaded(self, server: Server) -> None:
        call(server, lambda r: r.upload(TARGET, BODY, "the config"), "token")
        assert server.store.blob(make.sha256(BODY), TARGET.name).read_bytes() == BODY
        assert {told.authorization for told in server.seen} == {"Bearer token"}

    def test_is_copied_without_being_held_whole(self, server: Server) -> None:
        data = bytes(range(256)) * 40_000
        server.store.put_blob(NAME, data)
        blob = Descriptor("", make.sha256(data), len(data))
        call(server, lambda r: r.copy(TARGET, blob, SOURCE), "token")
        assert server.store.blob(blob.digest, TARGET.name).stat().st_size == len(data)

    @pytest.mark.parametrize("size", [-1, 1])
    def test_that_is_longer_or_shorter_than_it_was_said_to_be_is_not_copied(self, server: Server, size: int) -> None:
        data = b"x" * 200_000
        server.store.put_blob(NAME, data)
        blob = Descriptor("", make.sha256(data), len(data) + size)
        with pytest.raises(ImageRefused):
            call(server, lambda r: r.copy(TARGET, blob, SOURCE))
        assert not (server.store.root / "repositories" / TARGET.name / "_blobs").exists()

    def test_that_breaks_off_while_it_is_copied_is_an_error_that_a_retry_may_mend(self, server: Server) -> None:
        async def half() -> Any:
            yield b"x" * 1000
            raise ConnectionError("gone")

        def broken(request: Any) -> Response | None:
            wanted = request.method == "GET" and "/blobs/" in request.url.path
            return StreamingResponse(half(), headers={"Content-Length": "5000"}) if wanted else None

        server.faults.append(broken)
        blob = Descriptor("", make.sha256(b"x" * 5000), 5000)
        with pytest.raises(ImageRefused) as caught:
            call(server, lambda r: r.copy(TARGET, blob, SOURCE))
        assert caught.value.retryable


def begins_an_upload(request: Any) -> Response | None:
    """Instead of a mount."""
    if request.method != "POST":
        return None
    return Response(status_code=202, headers={"Location": f"{request.url.path}nowhere"})


class TestTheToken:
    def test_that_has_expired_is_renewed(self, server: Server) -> None:
        def expired(request: Any) -> Response | None:
            old = request.headers.get("authorization") == "Bearer old"
            return error(401, "UNAUTHORIZED", "expired") if old else None

        server.faults.append(expired)
        call(server, lambda r: r.upload(TARGET, BODY, "the config"), "old", "new")
        assert server.store.blob(make.sha256(BODY), TARGET.name).is_file()

    def test_does_not_go_where_an_upload_is_sent_to_instead(self, server: Server) -> None:
        def elsewhere(request: Any) -> Response | None:
            if request.method != "POST":
                return None
            return Response(status_code=202, headers={"Location": "https://uploads.example.com/v2/x/blobs/uploads/1"})

        server.faults.append(elsewhere)
        detour = Detour(server.address)
        with pytest.raises(ImageRefused):
            call(server, lambda r: r.upload(TARGET, BODY, "the config"), "token", detour=detour)
        assert detour.asked[-1].startswith("https://uploads.example.com/")
        assert [told.authorization for told in server.seen] == ["Bearer token", ""]

    @pytest.mark.parametrize("place", ["https://127.0.0.1/x", "http://us-docker.pkg.dev/x", "https://metadata/x", ""])
    def test_nor_is_anything_sent_into_this_network(self, server: Server, place: str) -> None:
        server.faults.append(
            lambda request: (
                Response(status_code=202, headers={"Location": place} if place else {})
                if request.method == "POST"
                else None
            )
        )
        with pytest.raises(ImageRefused, match=r"refused|nowhere"):
            call(server, lambda r: r.upload(TARGET, BODY, "the config"), "token")
        assert len(server.seen) == 1


class TestATag:
    def test_that_is_not_there_is_none(self, server: Server) -> None:
        assert call(server, lambda r: r.tagged(TARGET), "token") is None

    def test_names_a_digest(self, server: Server) -> None:
        made = server.put(TARGET.name, make.image(), "2")
        assert call(server, lambda r: r.tagged(TARGET), "token") == made.digest

    def test_that_may_not_be_looked_at_is_an_error(self, server: Server) -> None:
        server.faults.append(lambda _: error(403, "DENIED", "no"))
        with pytest.raises(ImageRefused, match=r"reading the tag 2 is not allowed"):
            call(server, lambda r: r.tagged(TARGET), "token")


class TestALayer:
    def test_is_asked_for_again_with_a_new_token_where_the_old_one_has_expired(self, server: Server) -> None:
        digest = server.store.put_blob(NAME, BODY)

        def expired(request: Any) -> Response | None:
            old = request.headers.get("authorization") == "Bearer old"
            return error(401, "UNAUTHORIZED", "expired") if old else None

        server.faults.append(expired)

        async def read(registry: WritableRegistry) -> bytes:
            async with registry.layer(SOURCE, digest) as pieces:
                return b"".join([piece async for piece in pieces])

        assert call(server, read, "old", "new") == BODY
        with pytest.raises(ImageRefused, match="the access token was not accepted"):
            call(server, read, "old", "old")

    def test_is_given_piece_by_piece_after_redirects_without_the_token(self, server: Server) -> None:
        data = b"x" * 300_000
        server.store.put_blob("storage.example.com/a/b", data)
        digest = make.sha256(data)
        place = f"https://storage.example.com/v2/a/b/blobs/{digest}"
        server.faults.append(
            lambda request: (
                Response(status_code=307, headers={"Location": place})
                if request.headers["host"].startswith("us-docker")
                else None
            )
        )

        async def read(registry: WritableRegistry) -> list[int]:
            async with registry.layer(SOURCE, digest) as pieces:
                return [len(piece) async for piece in pieces]

        sizes = call(server, read, "token")
        assert sum(sizes) == len(data)
        assert max(sizes) < len(data)
        assert [told.authorization for told in server.seen] == ["Bearer token", ""]

    def test_that_is_redirected_into_this_network_is_refused(self, server: Server) -> None:
        server.faults.append(lambda _: Response(status_code=307, headers={"Location": "https://169.254.169.254/x"}))

        async def read(registry: WritableRegistry) -> None:
            async with registry.layer(SOURCE, make.sha256(b"")) as pieces:
                async for _ in pieces:
                    pass

        with pytest.raises(ImageRefused, match="bare IP address"):
            call(server, read, "token")
        assert len(server.seen) == 1

    def test_that_breaks_off_while_it_is_copied_is_told_of_its_source(self, server: Server) -> None:
        async def a_part() -> AsyncIterator[bytes]:
            yield b"x" * 1000

        def breaks_off(request: Any) -> Response | None:
            if request.method != "GET":
                return None
            return StreamingResponse(a_part(), headers={"Content-Length": "5000"})

        server.faults.append(breaks_off)
        blob = Descriptor("", make.sha256(b"x" * 5000), 5000)
        elsewhere = parse("europe-docker.pkg.dev/acme/batch/train:2")
        with pytest.raises(ImageRefused) as caught:
            call(server, lambda registry: registry.copy(elsewhere, blob, SOURCE), "token")
        assert str(caught.value).startswith(f"{SOURCE}: the layer {blob.digest} was not read: us-docker.pkg.dev ")
        assert caught.value.retryable
        assert "europe" not in str(caught.value)

    def test_whose_refusal_tells_the_token_is_quoted_without_it(self, server: Server) -> None:
        server.faults.append(lambda request: error(403, "DENIED", f"you sent {request.headers['authorization']}"))

        async def read(registry: WritableRegistry) -> None:
            async with registry.layer(SOURCE, make.sha256(b"")):
                pass

        with pytest.raises(ImageRefused, match=r"HTTP 403.*Bearer \*\*\*") as caught:
            call(server, read, "ya29.very-secret")
        assert "very-secret" not in str(caught.value)
