"""What a hostile registry costs: real bytes over real sockets, with the memory and the time that they take."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import small_images as make
from hostile_registry import Detour, HostileRegistry, body, endless, redirect, status
from raw_server import RawServer, closes_at_once, never_accepts, repeated
from registry_calls import HOST, NAME, QUICK, Tokens, local, outside, refused

from airflow_batchstream.clients import fetch
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.documents import MOST_VALUES
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.scanned import Scan
from airflow_batchstream.services.scan import scan

MIB = 1 << 20
PATIENT = replace(QUICK, pause=5, total=60)
"""Limits that only bytes can reach."""


@contextmanager
def costs_at_most(megabytes: float, seconds: float) -> Iterator[None]:
    """Bound what is allocated at any one time, and the time; generous, as the machine may be busy."""
    tracemalloc.start()
    before = time.monotonic()
    try:
        yield
        took, peak = time.monotonic() - before, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MIB, f"{peak / MIB:.1f} MiB"
    assert took < seconds, f"{took:.1f} s"


def at(address: str, limits: fetch.Limits = QUICK) -> ImageRefused:
    """The error of an image that is asked for at an address."""

    async def go() -> None:
        async with Registry(address, limits=limits) as registry:
            await registry.resolve(parse(NAME))

    with pytest.raises(ImageRefused) as caught:
        asyncio.run(go())
    return caught.value


def document(body: bytes, kind: str = make.OCI_MANIFEST) -> make.Made:
    return make.Made(kind, body)


class TestAHundredMegabytes:
    def test_of_a_manifest_that_says_so(self, hostile: HostileRegistry) -> None:
        hostile.fail(body(b" " * (100 * MIB), "/manifests/"))

        async def go() -> int:
            async with Registry(hostile.address, limits=QUICK) as registry:
                with pytest.raises(ImageRefused, match="more than the 4,194,304 bytes that such a document may have"):
                    await registry.resolve(parse(NAME))
                return registry.bytes_read

        with costs_at_most(10, 20):
            assert asyncio.run(go()) == 0

    def test_of_a_manifest_that_does_not_say_so(self, hostile: HostileRegistry) -> None:
        hostile.fail(endless("/manifests/", b" " * 65536))
        with costs_at_most(20, 20):
            assert "more than the 4,194,304 bytes" in str(refused(hostile, limits=PATIENT))

    def test_of_a_config(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(endless("/blobs/", b" " * 65536))
        with costs_at_most(40, 20):
            assert "more than the 8,388,608 bytes" in str(refused(hostile, limits=PATIENT))

    def test_of_an_error_s_words(self, hostile: HostileRegistry) -> None:
        hostile.fail(lambda request: _with_status(endless("/", b"x" * 65536)(request), 403))
        with costs_at_most(10, 20):
            assert len(str(refused(hostile))) < 1000

    def test_byte_by_byte(self) -> None:
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with RawServer(repeated(start, b"2\r\n  \r\n" * 1000)) as server, costs_at_most(2, 60):
            said = str(at(server.address, replace(PATIENT, manifest=150_000)))
        assert "more than the 150,000 bytes" in said


def _with_status(response: Any, status: int) -> Any:
    response.status_code = status
    return response


class TestADocumentOfManyValues:
    """A few bytes each, which become a hundred in memory."""

    @pytest.mark.parametrize(
        "content",
        [
            b'{"history":[' + b"{}," * 2_700_000 + b"{}]}",
            b'{"config":{"Env":[' + b'"",' * 2_700_000 + b'""]}}',
            b'{"x":[' + b"[]," * 2_700_000 + b"[]]}",
        ],
        ids=["history", "env", "elsewhere"],
    )
    def test_is_no_config(self, hostile: HostileRegistry, content: bytes) -> None:
        made = make.image(extra=_config_of(content))
        made.blobs[make.sha256(content)] = content
        hostile.put(NAME, made)
        with costs_at_most(80, 20):
            assert f"the config has more than {MOST_VALUES:,} values" in str(refused(hostile, limits=PATIENT))

    def test_is_no_manifest(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, document(b'{"layers":[' + b"{}," * 1_300_000 + b"{}]}"))
        with costs_at_most(60, 20):
            assert f"the manifest has more than {MOST_VALUES:,} values" in str(refused(hostile, limits=PATIENT))

    def test_that_are_just_allowed_costs_little(self, hostile: HostileRegistry) -> None:
        content = b'{"history":[' + b"{}," * (MOST_VALUES - 10) + b"{}]}"
        made = make.image(extra=_config_of(content))
        made.blobs[make.sha256(content)] = content
        hostile.put(NAME, made)
        with costs_at_most(100, 30):
            assert local(hostile, limits=PATIENT).config is not None

    def test_and_deep_inside_of_each_other_is_none_either(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, document(b"[" * 4_000_000))
        with costs_at_most(60, 20):
            assert "nested too deeply" in str(refused(hostile, limits=PATIENT))


def _config_of(content: bytes) -> dict[str, Any]:
    return {"config": {"mediaType": make.OCI_CONFIG, "digest": make.sha256(content), "size": len(content)}}


class TestAnIndex:
    def test_that_names_itself_is_not_believed(self, hostile: HostileRegistry) -> None:
        wanted = make.sha256(b"none has this")
        entry = {"mediaType": make.OCI_INDEX, "digest": wanted, "size": 1}
        round_ = document(make.as_json({"schemaVersion": 2, "manifests": [entry]}), make.OCI_INDEX)
        hostile.put(NAME, round_)
        hostile.always(body(round_.body, f"/manifests/{wanted}"))
        assert f"sent other bytes for the manifest than its digest {wanted}" in str(refused(hostile))
        assert len(hostile.seen) == 2

    def test_of_twenty_thousand_platforms_is_answered_in_a_few_words(self, hostile: HostileRegistry) -> None:
        entries = [
            {
                "mediaType": make.OCI_MANIFEST,
                "digest": make.sha256(str(i).encode()),
                "size": 1,
                "platform": {"os": "plan9", "architecture": f"m{i}"},
            }
            for i in range(20_000)
        ]
        hostile.put(NAME, document(make.as_json({"schemaVersion": 2, "manifests": entries}), make.OCI_INDEX))
        with costs_at_most(80, 30):
            failure = refused(hostile, limits=PATIENT)
        assert "it has plan9/m0, plan9/m1" in str(failure)
        assert len(str(failure)) < 3000
        assert len(json.dumps([finding.as_dict() for finding in failure.findings])) < 6000


class TestWhatARegistrySaysOfItself:
    @pytest.mark.parametrize("header", ["sha256:short", "x" * 5000, "sha512:" + "0" * 64])
    def test_a_digest_that_is_none_is_found_out_instead(self, hostile: HostileRegistry, header: str) -> None:
        made = hostile.put(NAME, make.image())
        hostile.fail(body(made.body, "/manifests/", Docker_Content_Digest=header))
        assert local(hostile).digest == made.digest
        hostile.fail(body(b"", "/manifests/", Docker_Content_Digest=header))

        async def head() -> str:
            async with Registry(hostile.address, limits=QUICK) as registry:
                return await registry.digest(parse(NAME))

        assert asyncio.run(head()) == made.digest

    def test_tags_that_are_none_are_not_told_and_a_flood_of_them_takes_no_time(self, hostile: HostileRegistry) -> None:
        flood = ["a" * 127 + chr(ord("a") + i % 26) for i in range(1900)] + ["\x1b[31m", "x" * 5000, 7, "1.3"]
        hostile.put(NAME, make.image(), "other")
        hostile.always(body(make.as_json({"name": "n", "tags": flood[::-1]}), "/tags/"))
        with costs_at_most(20, 20):
            said = str(refused(hostile, f"{NAME}:1.2"))
        assert "no tag 1.2 (HTTP 404). The nearest is 1.3." in said
        hostile.always(body(make.as_json({"name": "n", "tags": ["\x1b[31m", "x" * 5000, 7, "nightly"]}), "/tags/"))
        hostile.faults[:200] = []
        assert "no tag 1.2 (HTTP 404). It has nightly. Push it" in str(refused(hostile, f"{NAME}:1.2"))

    @pytest.mark.parametrize("answer", [b"[]", b'{"tags": {"a": 1}}', b'{"tags": 7}', b"{", b"[" * 100_000, b"\xff"])
    def test_a_list_of_tags_that_is_none_does_not_matter(self, hostile: HostileRegistry, answer: bytes) -> None:
        hostile.put(NAME, make.image(), "other")
        hostile.always(body(answer, "/tags/"))
        assert "does not have the manifest (HTTP 404)" in str(refused(hostile, f"{NAME}:1.2"))

    def test_a_label_s_name_of_a_megabyte_is_not_printed_whole(self, hostile: HostileRegistry) -> None:
        labels = {"config": {"Labels": {"\x1b[31m" + "k" * MIB: 1}}}
        hostile.put(NAME, make.image(config=labels))
        said = str(refused(hostile))
        assert "has a number where a text belongs" in said
        assert "\x1b" not in said
        assert len(said) < 1000


class TestSilence:
    """Each in its own place: before the connection, in the handshake, before the answer, in the headers, between."""

    def test_of_a_server_that_takes_no_connection(self) -> None:
        with never_accepts() as address, costs_at_most(10, 20):
            failure = at(address, replace(QUICK, connect=0.2, tries=2))
        assert "did not answer in time (0.2 s to connect" in str(failure)
        assert failure.retryable

    def test_in_the_handshake(self) -> None:
        async def go(address: str) -> None:
            async with fetch.Fetcher(replace(QUICK, connect=0.3, tries=2)) as fetcher:
                await fetcher.fetch("GET", f"https://{address}/v2/", limit=10)

        with RawServer(closes_at_once, silent=True) as server, costs_at_most(10, 20):
            with pytest.raises(fetch.FetchError, match="did not answer in time") as caught:
                asyncio.run(go(server.address))
            assert server.heard[0][:1] == b"\x16"  # a TLS handshake, and no request
        assert caught.value.passing

    def test_before_the_answer(self) -> None:
        with RawServer(closes_at_once, silent=True) as server, costs_at_most(10, 20):
            failure = at(server.address, replace(QUICK, pause=0.2, tries=2))
        assert "did not answer in time" in str(failure)
        assert failure.retryable

    @pytest.mark.parametrize(
        "answering",
        [
            repeated(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause=0.05),
            repeated(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.05),
            repeated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x", pause=0.05),
        ],
        ids=["headers", "early hints", "a chunk's extension"],
    )
    def test_that_is_broken_often_enough_ends_when_the_time_is_up(self, answering: Callable[..., None]) -> None:
        with RawServer(answering) as server, costs_at_most(10, 20):
            failure = at(server.address, replace(QUICK, total=0.6, tries=1))
        assert "took more than 0.6 s altogether" in str(failure)
        assert failure.retryable


class TestAFlood:
    @pytest.mark.parametrize(
        "answering",
        [
            repeated(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 60_000 + b"\r\n"),
            repeated(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
            repeated(b"", b"x" * 65536),
            repeated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
            repeated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"9" * 65536),
        ],
        ids=["long headers", "many headers", "no HTTP", "a chunk's extension", "a chunk's size"],
    )
    def test_around_the_body_is_cut_off(self, answering: Callable[..., None]) -> None:
        with RawServer(answering) as server, costs_at_most(20, 30):
            failure = at(server.address, replace(PATIENT, tries=1))
        assert "127.0.0.1" in str(failure)
        assert failure.retryable
        assert len(str(failure)) < 1000

    def test_of_early_hints_ends_when_the_time_is_up(self) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000
        with RawServer(repeated(b"", hints)) as server, costs_at_most(20, 30):
            failure = at(server.address, replace(PATIENT, tries=1, total=1))
        assert "took more than 1 s altogether" in str(failure)


class TestAnAnswerThatBreaksOff:
    @pytest.mark.parametrize(
        "answering",
        [
            closes_at_once,
            repeated(b"HTTP/1.1 200", b"", most=1),
            repeated(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"{", most=1),
            repeated(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", b"", most=1),
            repeated(b"HTTP/1.1 999 What\r\nContent-Length: -1\r\n\r\n", b"", most=1),
        ],
        ids=["at once", "in the status", "in the body", "in a chunk", "with a length below zero"],
    )
    def test_is_asked_for_again_and_then_told(self, answering: Callable[..., None]) -> None:
        with RawServer(answering) as server:
            failure = at(server.address, replace(QUICK, tries=3))
            assert len(server.heard) == 3
        assert "A retry can help" in str(failure)
        assert failure.retryable


class TestANameThatStandsForAnAddressInside:
    """The redirect's name is looked up before it is followed."""

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "::ffff:127.0.0.1"]
    )
    def test_is_refused_unasked(self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(redirect("https://rebind.example/computeMetadata/v1/"))
        _resolves(monkeypatch, lambda: address)
        with pytest.raises(ImageRefused, match=r"rebind\.example.* is refused: its name stands for"):
            outside(hostile, token=Tokens("secret"))
        assert {seen.host for seen in hostile.seen} == {HOST}

    def test_one_good_address_among_several_does_not_help(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(redirect("https://rebind.example/x"))
        _resolves(monkeypatch, lambda: "203.0.113.1 127.0.0.1")
        with pytest.raises(ImageRefused, match=r"stands for 127\.0\.0\.1"):
            outside(hostile)

    def test_a_private_one_is_followed_for_private_service_connect(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = hostile.put(NAME, make.image())
        config = next(digest for digest, blob in made.blobs.items() if blob.startswith(b"{"))
        hostile.fail(redirect(f"https://storage.googleapis.com/v2/p/r/i/blobs/{config}"))
        _resolves(monkeypatch, lambda: "10.1.2.3")
        assert outside(hostile, token=Tokens("secret")).config is not None
        assert hostile.seen[-1].authorization == ""

    def test_one_that_changes_after_the_look_meets_tls_and_gets_no_request(
        self, hostile: HostileRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = iter(["203.0.113.1"])
        with RawServer(closes_at_once, silent=True) as inside:
            port = inside.address.rpartition(":")[2]
            hostile.fail(redirect(f"https://rebind.example:{port}/computeMetadata/v1/", on="/"))
            _resolves(monkeypatch, lambda: next(answers, "127.0.0.1"))

            class Mixed(Detour):
                """Only the registry's own name is brought to the hostile one; others are really looked up."""

                async def handle_async_request(self, request: Any) -> Any:
                    if request.url.host == HOST:
                        return await super().handle_async_request(request)
                    return await super(Detour, self).handle_async_request(request)

            async def go() -> None:
                async with fetch.Fetcher(
                    replace(QUICK, connect=0.5, tries=1), transport=Mixed(hostile.address)
                ) as fetcher:
                    await fetcher.fetch("GET", f"https://{HOST}/v2/", limit=1000, authorization="Bearer secret")

            with pytest.raises(fetch.FetchError, match="did not answer in time"):
                asyncio.run(go())
            heard = b"".join(inside.heard)
        assert heard.startswith(b"\x16")  # a TLS handshake, and nothing more
        assert b"computeMetadata" not in heard
        assert b"secret" not in heard


def _resolves(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], str]) -> None:
    """Let ``rebind.example`` and Google's storage stand for one or several addresses; other names are as they are."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host  # anyio asks in bytes
        if name not in ("rebind.example", "storage.googleapis.com"):
            return real(host, port, *rest, **more)
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in answer().split()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


class TestEachRefusalHasWordsOfItsOwn:
    def test_no_two_are_the_same_and_each_says_what_to_do(self, hostile: HostileRegistry) -> None:
        said = {}
        for code in (401, 403, 404, 418, 429, 503):
            hostile.reset()
            hostile.always(status(code))
            said[code] = str(refused(hostile))
        assert len({text.replace(str(code), "") for code, text in said.items()}) == len(said)
        for code, text in said.items():
            assert f"HTTP {code}" in text


class TestASmallLayer:
    """Its bytes are the only ones of a layer that a scan reads."""

    def look(self, hostile: HostileRegistry, blob: bytes, diff: bytes = b"something else") -> tuple[Scan, str]:
        """Scan an image of one layer with these bytes; its verdict, and what is said of emptiness."""
        hostile.put(NAME, make.image([diff], compressed=[blob]))
        endpoint = Endpoint.local(hostile.address)
        found = asyncio.run(scan(f"{NAME}:latest", region="us-central1", endpoint=endpoint))
        (said,) = (finding for finding in found.findings if finding.rule == "image-no-empty-layers")
        return found, f"{said.verdict}: {said.says}"

    def test_that_is_a_bomb_is_not_unpacked_beyond_a_bound(self, hostile: HostileRegistry) -> None:
        # Magic number, a window of 8 MiB, then blocks of 128 KiB that are one byte again and again: four bytes each.
        blob = b"\x28\xb5\x2f\xfd\x00\x68" + ((128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0") * 15_000
        with costs_at_most(40, 30):  # of two gigabytes
            found, said = self.look(hostile, blob)
        assert found.verdict is Verdict.UNKNOWN
        assert "more than 134,217,728 bytes uncompressed" in said or "no decoder is installed" in said

    def test_that_is_as_large_as_gzip_can_be_in_so_few_bytes_is_read_to_its_end(self, hostile: HostileRegistry) -> None:
        blob = gzip.compress(bytes(60 * MIB), 9, mtime=0)
        with costs_at_most(20, 30):
            found, said = self.look(hostile, blob)
        assert len(blob) < 64 * 1024
        assert found.verdict is Verdict.BROKEN
        assert "empty" in said

    def test_that_never_ends_is_cut_off_and_could_not_be_told(self, hostile: HostileRegistry) -> None:
        blob = make.gz(make.tar({"a": b"1"}))
        hostile.always(endless(make.sha256(blob), b"x" * 65536))
        with costs_at_most(30, 30):
            found, _ = self.look(hostile, blob)
        assert found.verdict is Verdict.UNKNOWN
        assert found.bytes_read < MIB

    def test_of_other_bytes_than_its_digest_is_not_believed(self, hostile: HostileRegistry) -> None:
        blob = make.gz(make.tar({"a": b"1"}))
        hostile.always(body(make.gz(bytes(1024)), make.sha256(blob)))
        found, said = self.look(hostile, blob)
        assert found.verdict is Verdict.UNKNOWN
        assert "sent other bytes" in said
