"""Many images of one call, and a host that gives no answer: it is waited for once, not once for each image."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import small_images as make
from hostile_registry import Detour, HostileRegistry, endless, redirect
from raw_server import RawServer, repeated
from registry_calls import HOST, NAME, QUICK
from waves import UNASKED, in_waves

from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.manifest import Image
from airflow_batchstream.core.images.reference import parse

SHORT = replace(QUICK, pause=0.2, tries=3)


class TestARegistryThatStalls:
    def test_is_waited_for_once_by_those_that_ask_at_once_and_by_no_others(self) -> None:
        with RawServer(lambda connection: time.sleep(20)) as silent:
            begin = time.monotonic()
            found = in_waves(silent.address, 40, SHORT)
            seconds, heard = time.monotonic() - begin, len(silent.heard)
        assert seconds < 2  # ten waves of 0.6 s without it
        assert heard <= 4 * SHORT.tries
        assert all(isinstance(one, ImageRefused) and one.retryable for one in found)
        assert sum(UNASKED in str(one) for one in found) >= 36
        assert "did not answer in time" in str(found[-1])
        assert str(found[-1]).endswith("A retry can help.")

    def test_nobody_at_the_address_is_the_same(self) -> None:
        found = in_waves("127.0.0.1:1", 40, SHORT)
        assert sum(UNASKED in str(one) for one in found) >= 36
        assert "could not be reached" in str(found[-1])

    def test_one_that_drips_takes_the_time_of_one_image(self) -> None:
        drip = repeated(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ", pause=0.05)
        with RawServer(drip) as slow:
            begin = time.monotonic()
            found = in_waves(slow.address, 20, replace(QUICK, total=0.5))
            assert time.monotonic() - begin < 2
        assert sum(UNASKED in str(one) for one in found) >= 16
        assert "took more than 0.5 s altogether" in str(found[-1])

    def test_is_asked_again_by_the_next_call(self) -> None:
        with RawServer(lambda connection: time.sleep(20)) as silent:
            for _ in range(2):
                in_waves(silent.address, 2, SHORT)
            assert len(silent.heard) == 2 * 2 * SHORT.tries


class TestARegistryThatAnswers:
    def test_all_but_one_image_keeps_the_others(self, hostile: HostileRegistry) -> None:
        for i in range(40):
            hostile.put(f"{NAME}{i}", make.image())
        hostile.fail(lambda request: time.sleep(0.02))  # so that many come after the one that stalls was given up
        hostile.always(endless("i1/manifests", b"", pause=20))

        found = in_waves(hostile.address, 40, SHORT, wide=3)
        assert [i for i, one in enumerate(found) if isinstance(one, ImageRefused)] == [1]

    def test_is_asked_again_once_it_has_answered_one(self, hostile: HostileRegistry) -> None:
        """The image that found it silent may go on, and what it gets is good for all."""

        async def go() -> tuple[list[str], Image]:
            async with Registry(hostile.address, limits=SHORT) as shared:
                first, second = shared.apart(), shared.apart()
                said = []
                for one in (first, second):
                    try:
                        await one.digest(parse(NAME))
                    except ImageRefused as error:
                        said.append(str(error))
                hostile.faults.clear()
                await first.digest(parse(NAME))
                return said, await second.resolve(parse(NAME), kind=False)

        hostile.put(NAME, make.image())
        hostile.always(endless("/manifests/", b"", pause=20))
        (told, unasked), image = asyncio.run(go())
        assert UNASKED not in told
        assert UNASKED in unasked
        assert image.config is not None


class TestAHostThatBlobsAreRedirectedTo:
    def test_is_told_from_the_registry_which_answers(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, make.image())
        hostile.always(redirect("https://storage.googleapis.com/blob", on="/blobs/"))
        hostile.always(endless("/blob", b"", pause=20))

        async def go() -> list[str]:
            async with Registry(limits=SHORT, transport=Detour(hostile.address)) as shared:
                said = []
                for _ in range(2):
                    try:
                        await shared.apart().resolve(parse(NAME), kind=False)
                    except ImageRefused as error:
                        said.append(str(error))
                return said

        first, second = asyncio.run(go())
        assert "storage.googleapis.com did not answer in time" in first
        assert f"storage.googleapis.com was not asked, for it {UNASKED}" in second
        assert [seen.host for seen in hostile.seen].count(HOST) == 2 + SHORT.tries + 1
