"""The ways to a registry: redirects, and the token that goes along only where it may."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from typing import Any

import pytest
import small_images as make
from google.auth.exceptions import RefreshError
from hostile_registry import Detour, HostileRegistry, error, redirect, status
from registry_calls import HOST, NAME, QUICK, Tokens, local, outside, refused
from starlette.requests import Request
from starlette.responses import Response

from airflow_batchstream.clients import fetch
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import Image
from airflow_batchstream.core.images.reference import parse


class TestRedirects:
    def test_a_blob_may_be_elsewhere_on_the_same_host(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        config = next(digest for digest, blob in made.blobs.items() if blob.startswith(b"{"))
        hostile.fail(redirect(f"/v2/p/other/blobs/{config}"))
        image = outside(hostile, token=Tokens("t"))
        assert image.config is not None
        assert hostile.seen[-1].authorization == "Bearer t"

    def test_another_host_is_followed_without_the_token(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        config = next(digest for digest, blob in made.blobs.items() if blob.startswith(b"{"))
        hostile.fail(redirect(f"https://storage.googleapis.com/v2/p/r/i/blobs/{config}?X-Goog-Signature=s"))
        assert outside(hostile, token=Tokens("t")).config is not None
        assert [(seen.host, seen.authorization) for seen in hostile.seen] == [
            (HOST, "Bearer t"),
            (HOST, "Bearer t"),
            ("storage.googleapis.com", ""),
        ]

    def test_a_host_that_redirects_back_does_not_get_the_token_sent_where_it_chose(
        self, hostile: HostileRegistry
    ) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(redirect("https://elsewhere.example/x"), redirect(f"https://{HOST}/v2/p/r/i/blobs/x", on="/x"))
        with pytest.raises(ImageRefused):
            outside(hostile, token=Tokens("t"))
        assert (hostile.seen[-1].host, hostile.seen[-1].authorization) == (HOST, "")

    @pytest.mark.parametrize(
        ("target", "why"),
        [
            ("http://storage.googleapis.com/x", "not https"),
            ("https://127.0.0.1/x", "bare IP address"),
            ("https://169.254.169.254/computeMetadata/v1/", "bare IP address"),
            ("https://[::1]/x", "bare IP address"),
            ("https://2130706433/x", "bare IP address"),
            ("https://0x7f000001/x", "bare IP address"),
            ("https://10.0.0.0x1/x", "bare IP address"),
            ("https://localhost/x", "inside the local network"),
            ("https://metadata.google.internal/computeMetadata/v1/", "inside the local network"),
            ("https://metadata/x", "inside the local network"),
            ("https://printer.local./x", "inside the local network"),
            ("https://user:pass@storage.googleapis.com/x", "a name or a password"),
            ("ftp://storage.googleapis.com/x", "not https"),
            ("https://storage.googleapis.com:99999999/x", "no address"),
            ("", "redirects to nowhere"),
        ],
    )
    def test_into_the_own_machine_or_network_is_refused_unasked(
        self, hostile: HostileRegistry, target: str, why: str
    ) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(redirect(target))
        with pytest.raises(ImageRefused, match=why) as caught:
            outside(hostile, token=Tokens("t"))
        assert not caught.value.retryable
        assert len(hostile.seen) == 2

    def test_a_name_that_stands_for_loopback_is_refused(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(redirect("https://rebind.example/x"))
        Resolver(monkeypatch, address="127.0.0.1")
        with pytest.raises(ImageRefused, match=r"its name stands for 127\.0\.0\.1"):
            outside(hostile, token=Tokens("t"))

    def test_round_and_round_ends(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.always(redirect("/v2/p/r/i/blobs/again"))
        with pytest.raises(ImageRefused, match="redirects more than 5 times"):
            outside(hostile)

    def test_a_local_batch_may_redirect_to_itself_and_not_to_its_neighbours(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        config = next(digest for digest, blob in made.blobs.items() if blob.startswith(b"{"))
        hostile.fail(redirect(f"http://{hostile.address}/v2/{HOST}/x/y/blobs/{config}"))
        assert local(hostile).config is not None
        hostile.fail(redirect("http://127.0.0.1:1/x"))
        assert "is refused" in str(refused(hostile))


class TestTheNameOfARedirect:
    """It is looked up, which takes long where the resolver is slow or, behind a proxy, has no way out."""

    def many(self, hostile: HostileRegistry, location: str, count: int) -> list[Image]:
        """Images of a registry that sends every blob's request elsewhere, each resolved by a Registry apart."""

        async def go() -> list[Image]:
            async with Registry(None, Tokens("t"), limits=QUICK, transport=Detour(hostile.address)) as shared:
                names = [parse(f"{NAME}{i}:latest") for i in range(count)]
                return await asyncio.gather(*(shared.apart().resolve(name, kind=False) for name in names))

        made = make.image()
        (config,) = (digest for digest, blob in made.blobs.items() if blob.startswith(b"{"))
        for i in range(count):
            hostile.put(f"{NAME}{i}", made)
        answer = redirect(location + f"/v2/p/there/blobs/{config}")
        hostile.always(lambda request: None if "/there/" in request.url.path else answer(request))
        return asyncio.run(go())

    @pytest.mark.parametrize("location", ["", f"https://{HOST}", f"https://{HOST.upper()}:443"])
    def test_is_not_looked_up_where_it_is_the_same(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch, location: str
    ) -> None:
        resolver = Resolver(monkeypatch, seconds=10)
        begin = time.monotonic()
        assert all(image.config for image in self.many(hostile, location, 20))
        assert HOST not in resolver.asked
        assert time.monotonic() - begin < 5

    def test_is_looked_up_once_for_many_images_and_not_waited_for_long(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolver = Resolver(monkeypatch, seconds=10)
        begin = time.monotonic()
        assert all(image.config for image in self.many(hostile, "https://storage.googleapis.com", 20))
        assert resolver.asked == ["storage.googleapis.com"]
        assert 1.9 < time.monotonic() - begin < 5

    def test_that_is_unsafe_is_refused_to_the_second_image_too(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolver = Resolver(monkeypatch, address="169.254.169.254")

        async def go() -> list[object]:
            async with Registry(None, Tokens("t"), limits=QUICK, transport=Detour(hostile.address)) as shared:
                return [await asyncio.gather(shared.apart().digest(parse(NAME)), return_exceptions=True) for _ in "12"]

        hostile.always(redirect("https://rebind.example/x", on="/"))
        assert str(asyncio.run(go())).count("its name stands for 169.254.169.254") == 2
        assert resolver.asked == ["rebind.example"]
        assert {seen.host for seen in hostile.seen} == {HOST}


class Resolver:
    """Answers for all names but loopback's, and notes them.

    :param seconds: that an answer takes.
    :param address: that every name stands for; empty for no answer.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.0, address: str = "") -> None:
        self.asked: list[str] = []
        real = socket.getaddrinfo

        def look_up(host: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name == "127.0.0.1":
                return real(host, *rest, **more)
            self.asked.append(name)
            time.sleep(seconds)
            if not address:
                raise OSError("the resolver does not answer")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)


class TestTheToken:
    def test_is_not_quoted_where_a_proxy_says_what_it_was_sent(self, hostile: HostileRegistry) -> None:
        hostile.always(lambda request: error(403, "DENIED", f"you sent {request.headers['authorization']}"))
        with pytest.raises(ImageRefused, match=r"HTTP 403.*Bearer \*\*\*") as caught:
            outside(hostile, token=Tokens("ya29.very-secret"))
        assert "very-secret" not in str(caught.value)

    def test_is_sent_to_the_host_of_the_name_and_fetched_once(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.index((make.image(), make.AMD64)))
        outside(hostile, token=Tokens("secret"))
        assert {(seen.host, seen.authorization) for seen in hostile.seen} == {(HOST, "Bearer secret")}
        assert len(hostile.seen) == 3

    def test_is_renewed_once_when_it_is_not_accepted(self, hostile: HostileRegistry) -> None:
        def expired(request: Request) -> Response | None:
            old = request.headers.get("authorization") == "Bearer old"
            return error(401, "UNAUTHORIZED", "expired") if old else None

        hostile.put(NAME, make.image())
        hostile.always(expired)
        tokens = Tokens("old", "new")
        assert outside(hostile, token=tokens).config is not None
        assert tokens.left == []

    def test_that_is_refused_twice_says_so(self, hostile: HostileRegistry) -> None:
        hostile.always(status(401))
        with pytest.raises(ImageRefused, match="expired or revoked"):
            outside(hostile, token=Tokens("a", "b"))

    @pytest.mark.parametrize(("tokens", "sent"), [("a" * 100, 40), ("abcdefghij", 44)], ids=["held for good", "fresh"])
    def test_that_is_refused_is_not_fetched_anew_by_each_image(
        self, hostile: HostileRegistry, tokens: str, sent: int
    ) -> None:
        hostile.stands(status(401))
        source = Tokens(*tokens)

        async def one(shared: Registry, i: int) -> None:
            with pytest.raises(ImageRefused, match="expired or revoked"):
                await shared.apart().resolve(parse(f"{NAME}{i}"))

        async def go() -> None:
            async with Registry(None, source, limits=QUICK, transport=Detour(hostile.address)) as shared:
                for wave in range(10):
                    await asyncio.gather(*(one(shared, 4 * wave + i) for i in range(4)))

        asyncio.run(go())
        assert len(tokens) - len(source.left) == 2
        assert len(hostile.seen) <= sent

    def test_that_does_not_come_is_waited_for_once_for_all_images(self, hostile: HostileRegistry) -> None:
        asked, limits = [], replace(QUICK, token=0.2)

        async def hangs() -> str:
            asked.append(1)
            await asyncio.sleep(60)
            return "late"

        async def go() -> list[object]:
            async with Registry(None, hangs, limits=limits, transport=Detour(hostile.address)) as shared:
                images = (shared.apart().resolve(parse(f"{NAME}{i}")) for i in range(40))
                return list(await asyncio.gather(*images, return_exceptions=True))

        began = time.monotonic()
        failures = asyncio.run(go())
        assert time.monotonic() - began < 4  # each for itself would take 8 s
        assert all(isinstance(failure, ImageRefused) and failure.retryable for failure in failures)
        assert {str(failure).partition(": ")[2] for failure in failures} == {
            "the credentials gave no access token within 0.2 s. A retry can help."
        }
        assert (asked, hostile.seen) == ([1], [])

    def test_that_was_not_renewed_for_one_image_may_be_renewed_for_the_next(self, hostile: HostileRegistry) -> None:
        def expired(request: Request) -> Response | None:
            late = request.headers.get("authorization") == "Bearer old" and "/i0/" not in request.url.path
            return error(401, "UNAUTHORIZED", "expired") if late else None

        answers: list[str | Exception] = ["old", RefreshError("the token server is down"), "new"]

        async def source() -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def go() -> list[object]:
            async with Registry(None, source, limits=QUICK, transport=Detour(hostile.address)) as shared:
                images = [shared.apart().resolve(parse(f"{NAME}{i}")) for i in range(3)]
                return [await asyncio.gather(image, return_exceptions=True) for image in images]

        for i in range(3):
            hostile.put(f"{NAME}{i}", make.image())
        hostile.always(expired)
        (first,), (second,), (third,) = asyncio.run(go())  # type: ignore[misc]
        assert "the token server is down" in str(second)
        assert [isinstance(one, Image) for one in (first, third)] == [True, True]

    def test_is_never_sent_to_a_local_batch(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())

        async def go() -> None:
            async with Registry(hostile.address, Tokens(), limits=QUICK) as registry:
                await registry.resolve(parse(NAME))

        asyncio.run(go())
        assert {seen.authorization for seen in hostile.seen} == {""}

    @pytest.mark.parametrize("host", ["quay.io", "us-docker.pkg.dev.evil.example", "us-docker.pkg.dev:444"])
    def test_is_never_sent_to_a_registry_that_is_not_googles(self, hostile: HostileRegistry, host: str) -> None:
        hostile.put(f"{host}/p/r/i", make.image())
        assert outside(hostile, f"{host}/p/r/i", Tokens()).config is not None
        assert {seen.authorization for seen in hostile.seen} == {""}

    def test_is_never_sent_without_tls(self, hostile: HostileRegistry) -> None:
        async def go() -> None:
            async with fetch.Fetcher(QUICK, local=hostile.address) as fetcher:
                await fetcher.fetch("GET", f"http://{hostile.address}/x", limit=1000, authorization="Bearer secret")

        asyncio.run(go())
        assert [seen.authorization for seen in hostile.seen] == [""]

    def test_and_every_request_outside_is_https(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        detour = Detour(hostile.address)

        async def go() -> None:
            async with Registry("", limits=QUICK, transport=detour) as registry:
                await registry.resolve(parse(NAME))

        asyncio.run(go())
        assert all(url.startswith(f"https://{HOST}/v2/p/r/i/") for url in detour.asked)
