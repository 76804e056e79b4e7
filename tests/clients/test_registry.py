"""The registry client against a registry that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from dataclasses import replace

import httpx2
import pytest
import small_images as make
from google.auth.exceptions import RefreshError
from hostile_registry import HostileRegistry, body, endless, error, status
from registry_calls import HOST, NAME, QUICK, local, outside, refused
from starlette.responses import Response

from airflow_batchstream.clients import fetch
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import LINUX_ARM64, Image
from airflow_batchstream.core.images.reference import parse


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

    def test_through_the_second_of_two_indexes_that_do_not_say_what_is_in_them(self, hostile: HostileRegistry) -> None:
        amd, arm = make.image(), make.image(architecture="arm64")
        inner = make.index((arm, make.ARM64))
        hostile.put(NAME, make.index((inner, None), (inner, None), (make.index((amd, make.AMD64)), None)))
        image = local(hostile)
        assert (image.manifest_digest, image.rivals) == (amd.digest, 3)

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

    @pytest.mark.parametrize("kind", [True, False])
    def test_requests_and_bytes_are_counted_the_question_about_the_repository_too(
        self, hostile: HostileRegistry, kind: bool
    ) -> None:
        made = hostile.put(NAME, make.image())
        hostile.repositories["projects/p/locations/us/repositories/r"] = b'{"mode": "REMOTE_REPOSITORY"}'

        async def go() -> tuple[int, int, bool]:
            async with Registry(hostile.address, limits=QUICK) as registry:
                image = await registry.resolve(parse(NAME), kind=kind)
                return registry.requests, registry.bytes_read, image.repository is not None

        config = next(blob for blob in made.blobs.values() if blob.startswith(b"{"))
        size = len(made.body) + len(config)
        assert asyncio.run(go()) == ((3, size + 29, True) if kind else (2, size, False))

    def test_no_question_about_the_repository_outlives_an_image_that_cannot_be_read(
        self, hostile: HostileRegistry
    ) -> None:
        hostile.put(NAME, make.image())
        hostile.always(endless("/repositories/", b" ", pause=0.1))
        hostile.fail(status(403, on="/blobs/"))
        begun = time.monotonic()

        async def go() -> list[str]:
            async with Registry(hostile.address, limits=replace(QUICK, aside=30)) as registry:
                with pytest.raises(ImageRefused, match="HTTP 403"):
                    await registry.resolve(parse(NAME))
                return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

        assert asyncio.run(go()) == []
        assert time.monotonic() - begun < 10


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

    def test_several_indexes_without_the_platform_tell_what_all_of_them_have(self, hostile: HostileRegistry) -> None:
        old = make.image(architecture="s390x")
        of_old = make.index((old, {"os": "linux", "architecture": "s390x"}))
        of_arm = make.index((make.image(architecture="arm64"), make.ARM64))
        hostile.put(NAME, make.index((of_old, None), (of_arm, None)))
        assert "it has linux/arm64, linux/s390x" in str(refused(hostile))

    def test_a_missing_config_is_the_registrys_fault(self, hostile: HostileRegistry) -> None:
        made = hostile.put(NAME, make.image())
        for digest in made.blobs:
            del hostile.blobs[digest]
        assert "does not have the config (HTTP 404)" in str(refused(hostile))


class TestAMissingImage:
    def test_has_a_remedy_in_every_form(self, hostile: HostileRegistry) -> None:
        said = [refused(hostile, f"{NAME}:1")]
        hostile.put(NAME, make.image())
        said += [refused(hostile, f"{NAME}:1"), refused(hostile, f"{NAME}@{make.sha256(b'gone')}")]
        for failure in said:
            assert failure.missing
            assert failure.remedy == "Push it, or write a name that is there."
            assert str(failure).endswith(failure.remedy)

    @pytest.mark.parametrize("page", [b"<html>not here</html>", b"404 page not found\n", b"[" * 100_000])
    def test_is_not_believed_of_a_web_server(self, hostile: HostileRegistry, page: bytes) -> None:
        hostile.stands(lambda _: Response(page, 404))
        failure = refused(hostile)
        assert not failure.missing
        assert failure.untold
        assert "HTTP 404, but not as a registry does" in str(failure)
        assert "a proxy or a gateway" in failure.remedy
        assert len(hostile.seen) == 1

    @pytest.mark.parametrize("page", [b"", b"{}"])
    def test_is_believed_of_a_registry_that_says_little(self, hostile: HostileRegistry, page: bytes) -> None:
        hostile.stands(lambda _: Response(page, 404))
        assert refused(hostile).missing


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
            raise RefreshError("reauthentication is needed")

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

    def test_is_asked_for_as_it_is(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        asked: list[str] = []
        hostile.stands(lambda request: asked.append(request.headers["accept-encoding"]))
        local(hostile)
        assert asked == ["identity", "identity"]

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

    def test_a_row_of_indexes_is_not_walked_to_its_end(self, hostile: HostileRegistry) -> None:
        arms = [make.image([make.tar({"n": bytes([i])})], architecture="arm64") for i in range(30)]
        hostile.put(NAME, make.index(*((make.index((arm, make.ARM64)), None) for arm in arms)))
        assert "more than 8 manifests would have to be read" in str(refused(hostile))
        assert len(hostile.seen) < 12


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


class TestManyImages:
    def test_share_connections_and_run_at_once(self, hostile: HostileRegistry) -> None:
        made = [hostile.put(f"{NAME}{i}", make.image([make.tar({str(i): b""})])) for i in range(50)]

        async def go() -> list[Image]:
            async with Registry(hostile.address, limits=QUICK) as registry:
                return await asyncio.gather(*(registry.resolve(parse(f"{NAME}{i}")) for i in range(50)))

        assert [image.digest for image in asyncio.run(go())] == [one.digest for one in made]
