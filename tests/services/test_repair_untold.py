"""Layers that may be empty and could not be told: a repair that guessed would give another digest the next time."""

from __future__ import annotations

import io
import tarfile

import pytest
import small_images as make
from repairing import NAME, mend, refused, verdict
from starlette.requests import Request
from starlette.responses import Response
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

    @pytest.mark.parametrize(
        ("kind", "page", "words"),
        [
            ("text/html; charset=utf-8", b"<html>sign in</html>", "with 'text/html; charset=utf-8'"),
            ("application/json", b'{"error": 1}', "with 'application/json'"),
            (None, b"busy", "without a type"),
        ],
    )
    def test_in_whose_place_a_page_stands_could_not_be_told(
        self, registry: WritableRegistry, kind: str | None, page: bytes, words: str
    ) -> None:
        made = registry.put(NAME, make.image([A, EMPTY]))

        def proxy(request: Request) -> Response | None:
            return Response(page, media_type=kind) if "/manifests/1" in request.url.path else None

        registry.faults.append(proxy)
        failure = refused(registry)
        assert f"us-docker.pkg.dev answered {words}, which is no manifest: a proxy" in str(failure)
        assert (failure.untold, failure.retryable, registry.writes) == (True, True, [])
        assert mend(registry, source=f"{NAME}@{made.digest}").written

    def test_whose_own_manifest_cannot_be_read_is_told(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A, EMPTY]))

        def broken(request: Request) -> Response | None:
            there = "/manifests/1" in request.url.path
            return Response(b'{"schemaVersion": 2}', media_type=make.OCI_MANIFEST) if there else None

        registry.faults.append(broken)
        failure = refused(registry)
        assert "cannot be repaired: the manifest has neither" in str(failure)
        assert not failure.untold

    def test_that_is_not_there_or_cannot_be_repaired_is_told(self, registry: WritableRegistry) -> None:
        assert not refused(registry).untold
        registry.put(NAME, make.image([EMPTY]))
        assert not refused(registry).untold

    def test_whose_config_cannot_be_read_is_told_to_be_built_again(self, registry: WritableRegistry) -> None:
        odd = make.image([A, EMPTY], config={"config": {"Env": "A=1"}})
        why = "`Env` has a text where a list belongs. Build and push it again."
        registry.put(NAME, odd)
        assert str(refused(registry)) == f"{NAME}:1 cannot be repaired: {why}"
        registry.put(NAME, make.index((odd, make.AMD64)))
        assert f"its image for linux/amd64: {why} Name the platforms" in str(refused(registry))

    def test_without_layers_is_broken_and_stays_so(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([]))
        failure = refused(registry)
        assert str(failure).endswith(
            "cannot be repaired: it has no layers, and no file in it. Build and push it again."
        )
        assert (failure.untold, failure.retryable) == (False, False)


class TestAnIndexThatIsNotAllThere:
    """As tools leave it that copy one platform's image, and the index with all."""

    def gone(self, registry: WritableRegistry, *, all_of_it: bool = False) -> None:
        ours = (make.image([A, EMPTY]), make.AMD64)
        lost = [(make.image([B, EMPTY], architecture="arm64"), make.ARM64)]
        lost += [ours] if all_of_it else []
        registry.put(NAME, make.index(*([] if all_of_it else [ours]), *lost))
        registry.faults += [refuse("GET", f"/manifests/{made.digest}", 404) for made, _ in lost]

    def test_names_the_platforms_that_are_there(self, registry: WritableRegistry) -> None:
        self.gone(registry)
        failure = refused(registry)
        assert f"{NAME}:1: its image for linux/arm64: the image has no version sha256:" in str(failure)
        way = 'Name the platforms that are there (--platform linux/amd64; platforms=["linux/amd64"]).'
        assert str(failure).endswith(way)
        assert (failure.untold, registry.writes) == (False, [])
        assert mend(registry, platforms=["linux/amd64"]).written

    def test_names_none_where_there_is_none(self, registry: WritableRegistry) -> None:
        self.gone(registry, all_of_it=True)
        assert "--platform" not in str(refused(registry))
