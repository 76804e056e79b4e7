"""Many images of one call, and a host that asks for fewer requests, is out of order, or gives out only a part."""

from __future__ import annotations

import time
from dataclasses import replace

import small_images as make
from hostile_registry import HostileRegistry, endless, error, status
from registry_calls import NAME, QUICK
from starlette.requests import Request
from starlette.responses import Response
from waves import UNASKED, in_waves, told

from airflow_batchstream.clients.hosts import MOST_PROBES

SHORT = replace(QUICK, pause=0.2, tries=3)


def served(hostile: HostileRegistry, count: int) -> None:
    """Images that differ, so that each has a config of its own."""
    for i in range(count):
        hostile.put(f"{NAME}{i}", make.image([make.tar({"a": str(i).encode()})]))


class Quota:
    """So many requests a second, and as many at once; the others are told to come back in a second."""

    def __init__(self, rate: float) -> None:
        self.rate = self.left = rate
        self.seen = time.monotonic()
        self.refused = 0

    def __call__(self, request: Request) -> Response | None:
        now = time.monotonic()
        self.left = min(self.rate, self.left + (now - self.seen) * self.rate)
        self.seen = now
        if self.left < 1:
            self.refused += 1
            return error(429, "TOOMANYREQUESTS", "quota", Retry_After="1")
        self.left -= 1
        return None


class TestAHostWithAQuota:
    def test_gives_out_all_images_at_its_pace(self, hostile: HostileRegistry) -> None:
        served(hostile, 30)
        quota = Quota(15)
        hostile.stands(quota)
        begin = time.monotonic()
        found = in_waves(hostile.address, 30, replace(QUICK, total=60, longest_wait=1), wide=10)
        assert told(found) == list(range(30))
        assert 2 < time.monotonic() - begin < 15  # 60 requests at 15 a second, 15 of them at once
        assert 0 < quota.refused < 60

    def test_is_asked_oftener_than_any_other_as_long_as_it_answers_some(self, hostile: HostileRegistry) -> None:
        served(hostile, 2)
        refusals = iter([status(429)] * 3 * QUICK.tries)
        hostile.stands(lambda request: next(refusals, lambda _: None)(request) if _number(request) == 1 else None)
        assert told(in_waves(hostile.address, 2, wide=1)) == [0, 1]


class TestAHostThatRefusesAll:
    def test_with_a_time_to_come_back_is_waited_for_by_all_together(self, hostile: HostileRegistry) -> None:
        hostile.stands(status(429, Retry_After="60"))
        begin = time.monotonic()
        found = in_waves(hostile.address, 100, replace(QUICK, longest_wait=0.6), wide=10)
        assert time.monotonic() - begin < 5  # a hundred images of three pauses each, ten at once: 18 s
        assert len(hostile.seen) < 30
        assert told(found) == []
        assert sum(f"{UNASKED} in any try: HTTP 429 each time" in str(one) for one in found) >= 90

    def test_without_one_is_left_alone(self, hostile: HostileRegistry) -> None:
        hostile.stands(status(429))
        found = in_waves(hostile.address, 100, wide=10)
        assert len(hostile.seen) <= 10 * QUICK.tries
        assert str(found[-1]).endswith("A retry can help.")

    def test_its_blobs_still_gives_out_manifests(self, hostile: HostileRegistry) -> None:
        served(hostile, 40)
        hostile.stands(status(429, on="/blobs/"))
        found = in_waves(hostile.address, 40, wide=4)
        assert told(found) == []
        assert len([one for one in hostile.seen if "/manifests/" in one.path]) == 40
        assert len([one for one in hostile.seen if "/blobs/" in one.path]) <= 4 * QUICK.tries


class TestAHostThatIsOutOfOrder:
    def test_is_given_up_after_some_images(self, hostile: HostileRegistry) -> None:
        hostile.stands(status(503))
        found = in_waves(hostile.address, 200, wide=10)
        assert len(hostile.seen) < 10 * QUICK.tries + MOST_PROBES + 10
        assert sum(f"{UNASKED} in any try: HTTP 503 each time" in str(one) for one in found) >= 140

    def test_for_the_first_images_only_gives_out_the_others(self, hostile: HostileRegistry) -> None:
        served(hostile, 40)
        hostile.stands(lambda request: error(500, "X", "x") if _number(request) < 6 else None)
        assert told(in_waves(hostile.address, 40, wide=3)) == list(range(6, 40))


class TestAHostWhoseBlobsStall:
    def test_is_waited_for_once_though_its_manifests_come(self, hostile: HostileRegistry) -> None:
        served(hostile, 40)
        hostile.stands(endless("/blobs/", b"", pause=20))
        begin = time.monotonic()
        found = in_waves(hostile.address, 40, SHORT)
        assert time.monotonic() - begin < 3  # ten waves of 0.6 s without it
        assert told(found) == []
        assert len([one for one in hostile.seen if "/blobs/" in one.path]) <= 4 * SHORT.tries

    def test_byte_by_byte_takes_the_time_of_one_image(self, hostile: HostileRegistry) -> None:
        served(hostile, 20)
        hostile.stands(endless("/blobs/", b" ", pause=0.05))
        begin = time.monotonic()
        found = in_waves(hostile.address, 20, replace(QUICK, total=0.6))
        assert time.monotonic() - begin < 2.5  # five waves of 0.6 s without it
        assert told(found) == []

    def test_for_one_image_gives_out_the_others(self, hostile: HostileRegistry) -> None:
        served(hostile, 30)
        slow = make.image([make.tar({"slow": b"1"})])
        hostile.put(f"{NAME}0", slow)
        hostile.stands(endless(next(d for d, blob in slow.blobs.items() if blob[:1] == b"{"), b"", pause=20))
        hostile.stands(lambda request: time.sleep(0.01))  # so that many come after the one that stalls
        assert told(in_waves(hostile.address, 30, SHORT, wide=3)) == list(range(1, 30))


def _number(request: Request) -> int:
    """Of the image that is asked for."""
    return int(request.url.path.split("/")[-3].removeprefix("i"))
