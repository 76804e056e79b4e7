"""Layers that may be empty and could not be told: a repair that guessed would give another digest the next time."""

from __future__ import annotations

import io
import tarfile

import pytest
import small_images as make
from repairing import NAME, mend, refused, verdict
from writable_registry import WritableRegistry, refuse

from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.services.repair_plan import MOST_READ

A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000}), make.tar({})
ZEROS = bytes(10_000_000)
"""An empty layer whose diff id is not among the known ones."""


class TestALayerThatMayBeEmptyAndIsNotGivenOut:
    @pytest.mark.parametrize("others", [[A], [A, EMPTY], [A, B, A]])
    @pytest.mark.parametrize(("status", "passing"), [(403, False), (500, True), (404, False)])
    def test_is_neither_repaired_nor_said_to_need_nothing(
        self, registry: WritableRegistry, others: list[bytes], status: int, passing: bool
    ) -> None:
        registry.put(NAME, make.image([*others, ZEROS]))
        zeros = make.sha256(make.gz(ZEROS))
        registry.faults.append(refuse("GET", zeros, status))
        failure = refused(registry)
        assert f"whether layers[{len(others)}] ({zeros[:19]}) is empty could not be told" in str(failure)
        assert f"HTTP {status}" in str(failure)
        assert (failure.untold, failure.retryable) == (True, passing)
        assert registry.writes == []
        registry.faults.clear()
        assert verdict(registry, mend(registry).pinned) is Verdict.HOLDS

    def test_of_an_index_is_told_with_its_platform(self, registry: WritableRegistry) -> None:
        arm = make.image([A, ZEROS], architecture="arm64")
        registry.put(NAME, make.index((make.image([A, EMPTY]), make.AMD64), (arm, make.ARM64)))
        registry.faults.append(refuse("GET", make.sha256(make.gz(ZEROS)), 403))
        assert f"{NAME}:1 (linux/arm64): whether layers[1]" in str(refused(registry))
        assert mend(registry, platforms=["linux/amd64"]).written

    def test_or_that_nobody_can_read_is_not_taken_for_a_full_one(self, registry: WritableRegistry) -> None:
        damaged = make.gz(ZEROS)[:-9]
        registry.put(NAME, make.image([A, EMPTY, ZEROS], compressed=[make.gz(A), make.gz(EMPTY), damaged]))
        failure = refused(registry)
        assert "its gzip ends too early" in str(failure)
        assert not failure.retryable

    def test_is_read_however_many_there_are(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A, *(bytes(5_000_192 + 512 * i) for i in range(20))]))
        done = mend(registry)
        assert [one.layer.index for one in done.parts[0].dropped] == list(range(1, 21))
        assert verdict(registry, done.pinned) is Verdict.HOLDS

    def test_or_that_is_small_is_read_however_many_there_are(self, registry: WritableRegistry) -> None:
        """Nothing but global headers of pax, each of its own: their diff ids are known to nobody."""
        registry.put(NAME, make.image([A, *(pax(f"comment={i}") for i in range(40))]))
        done = mend(registry)
        assert len(done.parts[0].dropped) == 40
        assert verdict(registry, done.pinned) is Verdict.HOLDS

    def test_is_refused_where_there_are_more_than_are_read(self, registry: WritableRegistry) -> None:
        zeros, count = bytes(5_000_192), MOST_READ + 1
        packed = make.gz(zeros)
        registry.put(NAME, make.image([zeros] * count, compressed=[packed + bytes(i) for i in range(count)]))
        failure = refused(registry)
        assert "they were not looked into" in str(failure)
        assert not failure.retryable


def pax(words: str) -> bytes:
    """A tar that has a global header and no entry."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": words}):
        pass
    return out.getvalue()


class TestASource:
    @pytest.mark.parametrize("on", ["/manifests/1", "/blobs/"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_that_is_not_given_out_could_not_be_told(self, registry: WritableRegistry, on: str, status: int) -> None:
        registry.put(NAME, make.image([A, EMPTY]))
        registry.faults.append(refuse("GET", on, status))
        failure = refused(registry)
        assert (failure.untold, failure.missing) == (True, False)

    def test_that_is_not_there_or_cannot_be_repaired_is_told(self, registry: WritableRegistry) -> None:
        assert not refused(registry).untold
        registry.put(NAME, make.image([EMPTY]))
        assert not refused(registry).untold
