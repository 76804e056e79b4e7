"""The registry client against a registry that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
import small_images as make
from hostile_registry import Detour, HostileRegistry, body, endless, error, redirect, status
from starlette.requests import Request
from starlette.responses import Response

from airflow_batchstream.clients import fetch
from airflow_batchstream.clients.fetch import Limits
from airflow_batchstream.clients.registry import Registry, TokenSource
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import LINUX_ARM64, Image, Platform
from airflow_batchstream.core.images.reference import parse

HOST = "us-docker.pkg.dev"
NAME = f"{HOST}/p/r/i"
AMD64 = Platform("linux", "amd64")
QUICK = Limits(connect=2, pause=0.5, total=5, backoff=0.01, longest_wait=0.05)


@pytest.fixture(scope="module")
def running() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


@pytest.fixture
def hostile(running: HostileRegistry) -> HostileRegistry:
    running.reset()
    return running


def local(
    hostile: HostileRegistry, name: str = f"{NAME}:latest", platform: Platform = AMD64, limits: Limits = QUICK
) -> Image:
    """Resolve as against a local Batch."""

    async def go() -> Image:
        async with Registry(hostile.address, limits=limits) as registry:
            return await registry.resolve(parse(name), platform)

    return asyncio.run(go())


def refused(hostile: HostileRegistry, name: str = f"{NAME}:latest", limits: Limits = QUICK) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        local(hostile, name, limits=limits)
    return caught.value


class Tokens:
    """A source of tokens that counts."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)

    async def __call__(self) -> str:
        return self.left.pop(0)


def outside(hostile: HostileRegistry, name: str = f"{NAME}:latest", token: TokenSource | None = None) -> Image:
    """Resolve as against Google: https, the real host names, a token."""

    async def go() -> Image:
        async with Registry(None, token, limits=QUICK, transport=Detour(hostile.address)) as registry:
            return await registry.resolve(parse(name), AMD64)

    return asyncio.run(go())


class TestAnImageIsFound:
    def test_by_tag_with_manifest_and_config_only(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image([make.tar({"a": b"1"}), make.tar({"b": b"2"})]), "1.0")
        image = local(hostile, f"{NAME}:1.0")
        assert image.digest == image.manifest_digest == made.digest
        assert len(image.layers) == 2
        assert image.config is not None
        assert image.config.entrypoint == ("/bin/hello",)
        assert [seen.path.rpartition("/")[2] for seen in hostile.seen] == ["1.0", image.manifest.config.digest]  # type: ignore[union-attr]

    def test_by_digest(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        assert local(hostile, f"{NAME}@{made.digest}").digest == made.digest

    def test_through_an_index_to_the_platform(self, hostile: HostileRegistry) -> None:
        amd, arm = make.image(), make.image(architecture="arm64")
        both = hostile.put(NAME, make.index((amd, make.AMD64), (arm, make.ARM64)))
        image = local(hostile, platform=LINUX_ARM64)
        assert (image.digest, image.manifest_digest, image.rivals) == (both.digest, arm.digest, 1)

    def test_through_an_index_of_indexes(self, hostile: HostileRegistry) -> None:
        amd = make.image()
        inner = make.index((amd, make.AMD64))
        hostile.put(NAME, make.index((inner, None)))
        assert local(hostile).manifest_digest == amd.digest

    def test_entries_that_fit_as_well_are_counted(self, hostile: HostileRegistry) -> None:
        fast = make.image(history=[])
        hostile.put(NAME, make.index((make.image(), make.AMD64), (fast, make.AMD64 | {"variant": "v3"})))
        assert local(hostile).rivals == 2

    def test_a_registry_that_does_not_tell_the_digest_is_no_matter(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        hostile.fail(body(made.body, "/manifests/"))
        assert local(hostile).digest == made.digest

    def test_schema_1_and_artifacts_come_back_without_a_config(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.Made("application/json", make.as_json({"schemaVersion": 1, "fsLayers": []})), "old")
        config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": make.sha256(b""), "size": 0}
        hostile.put(NAME, make.image(extra={"config": config}), "chart")
        assert local(hostile, f"{NAME}:old").manifest.schema == 1
        assert local(hostile, f"{NAME}:chart").manifest.artifact == "a Helm chart"
        assert len(hostile.seen) == 2

    def test_head_tells_the_digest_in_one_request(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())

        async def go() -> str:
            async with Registry(hostile.address, limits=QUICK) as registry:
                return await registry.digest(parse(NAME))

        assert asyncio.run(go()) == made.digest
        assert [seen.method for seen in hostile.seen] == ["HEAD"]

    def test_requests_and_bytes_are_counted(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())

        async def go() -> tuple[int, int]:
            async with Registry(hostile.address, limits=QUICK) as registry:
                await registry.resolve(parse(NAME))
                return registry.requests, registry.bytes_read

        config = next(blob for blob in made.blobs.values() if blob.startswith(b"{"))
        assert asyncio.run(go()) == (2, len(made.body) + len(config))


class TestWhatIsNotThere:
    def test_an_unknown_tag_is_told_with_the_nearest(self, hostile: HostileRegistry) -> None:
        for tag in ("v1.2.0", "v1.3.0", "nightly"):
            hostile.put(NAME, make.image(), tag)
        failure = refused(hostile, f"{NAME}:v1.2")
        assert "the image has no tag v1.2 (HTTP 404). The nearest are v1.2.0, v1.3.0." in str(failure)
        assert not failure.retryable

    def test_a_missing_latest_says_that_none_was_written(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image(), "1.0")
        assert "no tag latest (none was written, so latest was looked for)" in str(refused(hostile, NAME))

    def test_an_unknown_digest(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image(), "1.0")
        gone = make.sha256(b"gone")
        assert f"the image has no version {gone}" in str(refused(hostile, f"{NAME}@{gone}"))

    def test_an_unknown_image_is_told_with_the_place_that_was_looked_in(self, hostile: HostileRegistry) -> None:
        failure = refused(hostile, f"{HOST}/example.com/acme/tools/train:1")
        assert f"there is no image {HOST}/example.com/acme/tools/train (HTTP 404)" in str(failure)
        assert "project example.com:acme, location us, repository tools" in str(failure)

    def test_where_tags_may_not_be_listed_it_is_told_without_them(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image(), "1.0")
        hostile.fail(status(403, on="/tags/"))
        assert "does not have the manifest (HTTP 404)" in str(refused(hostile, f"{NAME}:2"))

    def test_an_index_without_the_platform_has_a_finding_with_those_it_has(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.index((make.image(architecture="arm64"), make.ARM64)))
        failure = refused(hostile)
        assert "not there for linux/amd64, which the job's machines are; it has linux/arm64" in str(failure)
        assert [finding.rule for finding in failure.findings] == ["image-platform"]

    def test_a_missing_config_is_the_registrys_fault(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        for digest in made.blobs:
            del hostile.blobs[digest]
        assert "does not have the config (HTTP 404)" in str(refused(hostile))


class TestRefusalsInTheirOwnWords:
    def test_403_names_the_role_and_the_repository(self, hostile: HostileRegistry) -> None:
        hostile.fail(lambda _: error(403, "DENIED", "Permission denied on p/r"))
        failure = refused(hostile)
        assert "roles/artifactregistry.reader on projects/p/locations/us/repositories/r" in str(failure)
        assert 'It said: "DENIED: Permission denied on p/r".' in str(failure)
        assert not failure.retryable

    def test_401_without_a_token(self, hostile: HostileRegistry) -> None:
        hostile.fail(status(401))
        failure = refused(hostile)
        assert "it wants credentials and none were sent" in str(failure)
        assert not failure.retryable

    @pytest.mark.parametrize(("code", "words"), [(429, "asks for fewer requests"), (503, "has trouble of its own")])
    def test_what_stays_is_retryable_after_a_few_tries(self, hostile: HostileRegistry, code: int, words: str) -> None:
        hostile.always(status(code))
        failure = refused(hostile)
        assert words in str(failure)
        assert failure.retryable
        assert len(hostile.seen) == QUICK.tries

    @pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
    def test_what_passes_is_waited_out(self, hostile: HostileRegistry, code: int) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(status(code, Retry_After="1"), status(code))
        assert local(hostile).config is not None
        assert len(hostile.seen) == 4

    def test_retry_after_is_obeyed_up_to_a_bound(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(status(429, Retry_After="3600"))
        before = time.monotonic()
        local(hostile, limits=replace(QUICK, longest_wait=0.3))
        assert 0.3 <= time.monotonic() - before < 2

    def test_a_status_that_nobody_expects_is_not_repeated(self, hostile: HostileRegistry) -> None:
        hostile.fail(status(418))
        assert "HTTP 418, which was not expected" in str(refused(hostile))
        assert len(hostile.seen) == 1

    def test_a_page_of_html_is_not_quoted_and_control_characters_are_not_either(self, hostile: HostileRegistry) -> None:
        hostile.fail(lambda _: Response(b"<html>" + b"x" * 200_000, 403))
        assert "x" * 20 not in str(refused(hostile))
        hostile.fail(lambda _: error(403, "DENIED", "a\x1b[31m\nb" + "y" * 5000))
        text = str(refused(hostile))
        assert "\x1b" not in text
        assert len(text) < 1000

    def test_nobody_at_the_address(self) -> None:
        async def go() -> None:
            async with Registry("127.0.0.1:1", limits=QUICK) as registry:
                await registry.resolve(parse(NAME))

        with pytest.raises(ImageRefused, match=r"could not be reached .* A retry can help") as caught:
            asyncio.run(go())
        assert caught.value.retryable

    @pytest.mark.parametrize("host", ["a" * 70 + ".example", "localhost:99999"])
    def test_a_host_that_cannot_be_one(self, host: str) -> None:
        async def go() -> None:
            async with fetch.Fetcher(QUICK) as fetcher:
                await fetcher.fetch("GET", f"https://{host}/v2/", limit=10)

        with pytest.raises(fetch.FetchError, match=r"is no (host name|address)|could not be reached"):
            asyncio.run(go())

    def test_credentials_that_give_no_token(self, hostile: HostileRegistry) -> None:
        async def broken() -> str:
            raise RuntimeError("reauthentication is needed")

        with pytest.raises(ImageRefused, match=r"no access token .*reauthentication is needed"):
            outside(hostile, token=broken)


class TestBytesAreBelievedOnlyWithTheirDigest:
    def test_a_manifest_asked_by_digest(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        hostile.fail(body(make.image(os="windows").body, "/manifests/"))
        assert "sent other bytes for the manifest than its digest" in str(refused(hostile, f"{NAME}@{made.digest}"))

    def test_a_manifest_asked_by_tag_against_the_header(self, hostile: HostileRegistry) -> None:
        hostile.fail(body(make.image().body, "/manifests/", Docker_Content_Digest=make.sha256(b"other")))
        assert "sent other bytes for the manifest" in str(refused(hostile))

    def test_the_entry_of_an_index(self, hostile: HostileRegistry) -> None:
        amd = make.image()
        hostile.put(NAME, make.index((amd, make.AMD64)))
        hostile.fail(body(make.image(os="windows").body, amd.digest))
        assert "sent other bytes for the manifest" in str(refused(hostile))

    def test_a_config(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(body(b"{}", "/blobs/"))
        failure = refused(hostile)
        assert "sent other bytes for the config" in str(failure)
        assert failure.retryable

    def test_half_a_manifest_is_asked_for_again(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        hostile.fail(endless("/manifests/", made.body[:10], pause=60, length=len(made.body)))
        assert local(hostile).digest == made.digest

    def test_what_has_the_digest_and_is_no_manifest(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.Made("text/html", b"<html>"))
        failure = refused(hostile)
        assert "cannot be read: the manifest is not JSON" in str(failure)
        assert not failure.retryable


class TestSizeAndTimeAreBounded:
    def test_a_manifest_that_says_it_is_huge_is_not_read(self, hostile: HostileRegistry) -> None:
        hostile.fail(endless("/manifests/", b" " * 1000, length=100_000_000))
        assert "more than the 4,194,304 bytes" in str(refused(hostile))

    def test_a_manifest_that_does_not_end_is_read_up_to_the_bound(self, hostile: HostileRegistry) -> None:
        hostile.fail(endless("/manifests/", b" " * 65536))

        async def go() -> int:
            async with Registry(hostile.address, limits=replace(QUICK, manifest=200_000)) as registry:
                with pytest.raises(ImageRefused, match="more than the 200,000 bytes"):
                    await registry.resolve(parse(NAME))
                return registry.bytes_read

        assert asyncio.run(go()) < 2_000_000

    def test_a_config_that_declares_too_much_is_not_asked_for(self, hostile: HostileRegistry) -> None:
        config = {"mediaType": make.OCI_CONFIG, "digest": make.sha256(b""), "size": 10**12}
        hostile.put(NAME, make.image(extra={"config": config}))
        assert "its config has 1,000,000,000,000 bytes" in str(refused(hostile))
        assert len(hostile.seen) == 1

    def test_a_config_of_100_mb_is_cut_off(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.fail(endless("/blobs/", b" " * 65536))
        assert "more than the 8,388,608 bytes" in str(refused(hostile))

    def test_a_packed_answer_is_not_unpacked(self, hostile: HostileRegistry) -> None:
        hostile.fail(body(gzip.compress(bytes(10_000_000)), "/manifests/", Content_Encoding="gzip"))
        assert "sent a packed answer" in str(refused(hostile))

    def test_a_server_that_stalls_is_left_after_a_few_tries(self, hostile: HostileRegistry) -> None:
        hostile.always(endless("/manifests/", b"{", pause=60))
        failure = refused(hostile, limits=replace(QUICK, pause=0.1, tries=2))
        assert "did not answer in time" in str(failure)
        assert failure.retryable

    def test_a_server_that_drips_for_ever_is_left_when_the_time_is_up(self, hostile: HostileRegistry) -> None:
        hostile.fail(endless("/manifests/", b" ", pause=0.05))
        before = time.monotonic()
        failure = refused(hostile, limits=replace(QUICK, total=0.6))
        assert time.monotonic() - before < 3
        assert "more than 0.6 s altogether" in str(failure)
        assert failure.retryable

    def test_a_tower_of_indexes_is_not_climbed(self, hostile: HostileRegistry) -> None:
        tower = make.image()
        for _ in range(10):
            tower = make.index((tower, None))
        hostile.put(NAME, tower)
        assert "nested more than 3 deep" in str(refused(hostile))
        assert len(hostile.seen) < 6


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
        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(0, 0, 0, "", ("127.0.0.1", 443))]

        hostile.put(NAME, make.image())
        hostile.fail(redirect("https://rebind.example/x"))
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
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


class TestTheTaskLog:
    def test_does_not_get_the_addresses_which_may_be_signed(
        self, hostile: HostileRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        hostile.put(NAME, make.image())
        with caplog.at_level(logging.INFO):
            local(hostile)
        assert caplog.records == []
        with caplog.at_level(logging.INFO), httpx2.Client(trust_env=False) as somebody_else:
            somebody_else.get(f"http://{hostile.address}/v2/")
        assert [record.name for record in caplog.records] == ["httpx2"]


class TestTheToken:
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


class TestManyImages:
    def test_share_connections_and_run_at_once(self, hostile: HostileRegistry) -> None:
        made = [hostile.put(f"{NAME}{i}", make.image([make.tar({str(i): b""})])) for i in range(50)]

        async def go() -> list[Image]:
            async with Registry(hostile.address, limits=QUICK) as registry:
                return await asyncio.gather(*(registry.resolve(parse(f"{NAME}{i}")) for i in range(50)))

        assert [image.digest for image in asyncio.run(go())] == [one.digest for one in made]
