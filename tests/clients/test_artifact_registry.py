"""One question to Artifact Registry's API over real sockets, and what becomes of it where nobody answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
import small_images as make
from hostile_registry import Detour, HostileRegistry, body, endless, redirect, status
from registry_calls import QUICK, Tokens

from airflow_batchstream.clients.artifact_registry import HOST
from airflow_batchstream.clients.fetch import Limits
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.repository import Mode, Repository

IMAGE = "us-docker.pkg.dev/acme/batch/train:1"
NAME = "projects/acme/locations/us/repositories/batch"


def ask(at: HostileRegistry, *images: str, token: Tokens | None = None, limits: Limits = QUICK) -> list[Repository]:
    """All at once, as at Google."""

    async def go() -> list[Repository | None]:
        async with Registry(token=token or Tokens("t"), limits=limits, transport=Detour(at.address)) as shared:
            return await asyncio.gather(*(shared.apart().repository(parse(image)) for image in images or [IMAGE]))

    found = asyncio.run(go())
    assert None not in found
    return [one for one in found if one]


class TestTheQuestion:
    def test_goes_to_googles_api_with_the_token(self, hostile: HostileRegistry) -> None:
        hostile.repositories[NAME] = make.as_json({"mode": "REMOTE_REPOSITORY"})
        (found,) = ask(hostile)
        assert (found.name, found.mode) == (NAME, Mode.REMOTE)
        (seen,) = hostile.seen
        assert (seen.host, seen.path, seen.authorization) == (HOST, f"/v1/{NAME}", "Bearer t")

    def test_keeps_the_colon_of_a_domain_scoped_project_on_its_way(self, hostile: HostileRegistry) -> None:
        detour = Detour(hostile.address)

        async def go() -> None:
            async with Registry(token=Tokens("t"), transport=detour) as registry:
                await registry.repository(parse("us-docker.pkg.dev/example.com/acme/batch/train"))

        asyncio.run(go())
        assert detour.asked == [f"https://{HOST}/v1/projects/example.com:acme/locations/us/repositories/batch"]

    def test_is_asked_once_however_many_images_a_repository_has(self, hostile: HostileRegistry) -> None:
        images = [f"us-docker.pkg.dev/acme/{repository}/train{i}" for i in range(30) for repository in ("a", "b")]
        assert len(ask(hostile, *images)) == 60
        assert len(hostile.seen) == 2

    def test_goes_to_a_local_batch_without_a_token(self, hostile: HostileRegistry) -> None:
        async def go() -> Repository | None:
            async with Registry(hostile.address, limits=QUICK) as registry:
                return await registry.repository(parse(IMAGE))

        assert asyncio.run(go()) == Repository(NAME, Mode.STANDARD)
        (seen,) = hostile.seen
        assert (seen.host, seen.path, seen.authorization) == (hostile.address, f"/v1/{NAME}", "")

    @pytest.mark.parametrize("image", ["quay.io/a/b", "gcr.io/acme/train", "python:3.12"])
    def test_is_not_asked_about_other_registries(self, hostile: HostileRegistry, image: str) -> None:
        async def go() -> Repository | None:
            async with Registry(token=Tokens("t"), transport=Detour(hostile.address)) as registry:
                return await registry.repository(parse(image))

        assert (asyncio.run(go()), hostile.seen) == (None, [])

    def test_is_not_asked_without_credentials(self, hostile: HostileRegistry) -> None:
        async def go() -> Repository | None:
            async with Registry(transport=Detour(hostile.address)) as registry:
                return await registry.repository(parse(IMAGE))

        assert (asyncio.run(go()), hostile.seen) == (None, [])

    def test_is_not_asked_where_no_token_comes(self, hostile: HostileRegistry) -> None:
        async def go() -> Repository | None:
            async with Registry(token=Tokens(), transport=Detour(hostile.address)) as registry:
                return await registry.repository(parse(IMAGE))

        assert (asyncio.run(go()), hostile.seen) == (None, [])


class TestNoAnswerIsNoError:
    @pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
    def test_of_a_refusal_after_one_try(self, hostile: HostileRegistry, code: int) -> None:
        hostile.always(status(code, on="/repositories/"))
        assert [one.untold for one in ask(hostile)] == [f"HTTP {code}"]
        assert len(hostile.seen) == 1

    def test_of_a_stall_within_its_time_and_only_once(self, hostile: HostileRegistry) -> None:
        hostile.always(endless("/repositories/", b" ", pause=0.05))
        begun = time.monotonic()

        async def go() -> list[str]:
            limits = replace(QUICK, aside=0.4)
            async with Registry(token=Tokens("t"), limits=limits, transport=Detour(hostile.address)) as registry:
                found = [await registry.repository(parse(f"us-docker.pkg.dev/acme/r{i}/i")) for i in range(20)]
                return [one.untold for one in found if one]

        assert asyncio.run(go()) == ["no answer within 0.4 s"] * 20
        assert time.monotonic() - begun < 3
        assert len(hostile.seen) == 1

    def test_of_a_flood_beyond_its_bound(self, hostile: HostileRegistry) -> None:
        hostile.always(endless("/repositories/", bytes(100_000)))
        (found,) = ask(hostile)
        assert "more than the 65,536 bytes" in found.untold

    def test_of_a_redirect_into_the_machine(self, hostile: HostileRegistry) -> None:
        hostile.fail(redirect("https://127.0.0.1/x", on="/repositories/"))
        (found,) = ask(hostile)
        assert "which is refused" in found.untold

    @pytest.mark.parametrize("said", [b"", b"{", b"[]", b"null", b'{"mode": {"a": 1}}', b"[" * 60_000])
    def test_of_what_is_no_repository(self, hostile: HostileRegistry, said: bytes) -> None:
        hostile.fail(body(said, on="/repositories/"))
        (found,) = ask(hostile)
        assert (found.mode, bool(found.untold)) == (None, True)

    def test_of_nobody_there(self) -> None:
        async def go() -> Repository | None:
            async with Registry("127.0.0.1:9", limits=QUICK) as registry:
                return await registry.repository(parse(IMAGE))

        found = asyncio.run(go())
        assert found is not None
        assert "could not be reached" in found.untold
