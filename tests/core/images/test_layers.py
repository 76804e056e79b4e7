from __future__ import annotations

import gzip
import io
import tarfile
import time
import tracemalloc
import zlib

import pytest
import small_images as make
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images.layers import Inside, Look, can_read_zstd, look_into

ZSTD_OF_1024_ZEROS = bytes.fromhex("28b52ffd60000303200000")
"""One frame: magic, descriptor, content size (1,024 less 256), one last block that repeats a zero 1,024 times."""


def headers_only(count: int = 1, comment: str = "a commit") -> bytes:
    """A tar of global headers, as ``git archive`` begins one."""
    header = tarfile.TarInfo().create_pax_global_header({"comment": comment})
    return header * count + bytes(1024)


class TestAnEmptyLayer:
    @pytest.mark.parametrize("zeros", [0, 1, 511, 512, 1024, 10_240, 5 * 1024**2, 60 * 1024**2])
    def test_is_zeros_of_any_length(self, zeros: int) -> None:
        assert look_into(gzip.compress(bytes(zeros))) == Look(Inside.EMPTY)

    def test_is_zeros_that_are_not_compressed(self) -> None:
        assert look_into(bytes(10_240)) == look_into(b"") == Look(Inside.EMPTY)

    @pytest.mark.parametrize("count", [1, 3])
    def test_is_global_headers_and_nothing_else(self, count: int) -> None:
        assert look_into(gzip.compress(headers_only(count))).inside is Inside.EMPTY
        assert look_into(headers_only(count, "x" * 3000)).inside is Inside.EMPTY

    def test_may_come_in_several_members_with_padding_behind(self) -> None:
        packed = b"".join(gzip.compress(bytes(512), level) for level in (1, 6, 9))
        assert look_into(packed + bytes(100)).inside is Inside.EMPTY

    def test_of_zstd_is_told_where_a_decoder_is_installed(self) -> None:
        found = look_into(ZSTD_OF_1024_ZEROS)
        assert found.inside is (Inside.EMPTY if can_read_zstd() else Inside.UNTOLD)
        assert ("zstd" in found.why) is not can_read_zstd()


class TestALayerWithEntries:
    @pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    @pytest.mark.parametrize("name", ["a", "n" * 90, "ä.txt"])
    def test_is_told_by_the_first(self, format: int, name: str) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=format, pax_headers={"comment": "x"}) as archive:
            archive.addfile(tarfile.TarInfo(name))
        assert look_into(gzip.compress(out.getvalue())) == Look(Inside.ENTRIES)
        assert look_into(out.getvalue()) == Look(Inside.ENTRIES)

    def test_in_a_later_member_is_not_empty(self) -> None:
        data = headers_only()[:-1024] + make.tar({"a": b"1"})
        packed = b"".join(gzip.compress(data[at : at + 100]) for at in range(0, len(data), 100))
        assert look_into(packed).inside is Inside.ENTRIES


class TestWhatCouldNotBeTold:
    @pytest.mark.parametrize(
        ("blob", "why"),
        [
            (gzip.compress(bytes(1024))[:-4], "gzip ends too early"),
            (gzip.compress(bytes(1024))[:10] + b"\xff" * 20, "gzip is damaged"),
            (gzip.compress(bytes(1024)) + b"more", "gzip is damaged"),
            (bytes(1024) + b"more", "behind the end"),
            (gzip.compress(bytes(3 * 1024**2) + b"more"), "behind the end"),
            (b"no tar" * 200, "no tar"),
            (b"no tar", "ends too early"),
            (headers_only()[:600], "ends too early"),
            (headers_only(200), "global headers"),
            (gzip.compress(bytes(200 * 1024**2), 9), "more than 134,217,728 bytes"),
        ],
        ids=range(10),  # not the bytes: gzip writes the time of day into them
    )
    def test_says_why(self, blob: bytes, why: str) -> None:
        found = look_into(blob)
        assert found.inside is Inside.UNTOLD
        assert why in found.why

    def test_ten_gigabytes_of_zeros_take_neither_the_time_nor_the_memory(self) -> None:
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
        began = time.monotonic()
        tracemalloc.start()
        try:
            assert look_into(bomb * 100).inside is Inside.UNTOLD
            assert tracemalloc.get_traced_memory()[1] < 64 * 1024**2
        finally:
            tracemalloc.stop()
        assert time.monotonic() - began < 10

    @given(
        st.binary(max_size=3000), st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])
    )
    def test_any_bytes_get_an_answer(self, data: bytes, start: bytes) -> None:
        for blob in (start + data, gzip.compress(start + data), headers_only()[:1024] + data):
            found = look_into(blob)
            assert bool(found.why) is (found.inside is Inside.UNTOLD)

    @given(st.data())
    def test_a_header_with_other_bytes_gets_an_answer(self, data: st.DataObject) -> None:
        whole = bytearray(headers_only()[:1024] + make.tar({"a": b"1"}))
        for _ in range(data.draw(st.integers(1, 8))):
            whole[data.draw(st.integers(0, 1100))] = data.draw(st.integers(0, 255))
        assert look_into(bytes(whole)).inside in Inside
