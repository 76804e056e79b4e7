from __future__ import annotations

import gzip
import io
import random
import resource
import tarfile
import time
import tracemalloc
import zlib

import pytest
import small_images as make
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images import layer_rules
from airflow_batchstream.core.images.layers import ZSTD_WINDOW_LOG, Inside, Look, look_into

ZSTD_OF_1024_ZEROS = bytes.fromhex("28b52ffd60000303200000")
"""One frame: magic, descriptor, content size (1,024 less 256), one last block that repeats a zero 1,024 times."""
SKIPPED = bytes.fromhex("502a4d1803000000") + b"abc"
"""A frame that carries no data, as zstd:chunked and Go's padding write them."""


def headers_only(count: int = 1, comment: str = "a commit") -> bytes:
    """A tar of global headers, as ``git archive`` begins one."""
    header = tarfile.TarInfo().create_pax_global_header({"comment": comment})
    return header * count + bytes(1024)


def header(at: int, field: bytes, *, signed: bool = False, of: bytes | None = None) -> bytes:
    """A tar's header with other bytes in a field, and a checksum that is right.

    :param signed: the checksum is of signed bytes, as some old programs make it.
    :param of: the header; without, an entry's.
    """
    whole = bytearray(of or make.tar({"a": b""})[:512])
    whole[at : at + len(field)] = field
    whole[148:156] = b" " * 8
    summed = sum(byte - 256 if signed and byte > 127 else byte for byte in whole)
    whole[148:156] = b"%06o\0 " % summed
    return bytes(whole)


def resident() -> int:
    """The most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def zstd_window(log: int, zeros: int = 1024) -> bytes:
    """A frame of zeros whose reader is asked to keep ``2**log`` bytes: blocks of 128 KiB in four bytes each."""
    whole, rest = divmod(zeros, 1 << 17)
    blocks = [(1 << 17) << 3 | 2] * whole + [rest << 3 | 3]  # its size, the kind "one byte again and again", the last
    return zstd_frame(log) + b"".join(block.to_bytes(3, "little") + b"\0" for block in blocks)


def zstd_frame(log: int) -> bytes:
    """The beginning of a frame that asks for a window and does not tell its size."""
    return bytes.fromhex("28b52ffd00") + bytes([(log - 10) << 3])


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

    def test_may_have_as_many_headers_as_are_read(self) -> None:
        assert look_into(headers_only(100)).inside is Inside.EMPTY

    def test_may_tell_the_size_of_a_header_in_binary(self) -> None:
        first, rest = headers_only()[:512], headers_only()[512:]
        size = int(first[124:135], 8)
        assert look_into(header(124, b"\x80" + size.to_bytes(11, "big"), of=first) + rest) == Look(Inside.EMPTY)

    @pytest.mark.parametrize("zeros", [0, 1024, 10_240, 5 * 1024**2, 60 * 1024**2])
    def test_may_be_compressed_with_zstd(self, zeros: int) -> None:
        assert look_into(zstd.compress(bytes(zeros))) == Look(Inside.EMPTY)

    def test_may_come_in_several_frames_of_zstd_some_of_them_to_be_skipped(self) -> None:
        headers = zstd.compress(headers_only())
        for blob in (ZSTD_OF_1024_ZEROS * 3, SKIPPED + ZSTD_OF_1024_ZEROS, headers + SKIPPED, SKIPPED * 2):
            assert look_into(blob) == Look(Inside.EMPTY)

    def test_may_ask_zstd_for_as_much_memory_as_go_does(self) -> None:
        assert look_into(zstd_window(ZSTD_WINDOW_LOG)) == Look(Inside.EMPTY)


class TestALayerWithEntries:
    @pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    @pytest.mark.parametrize("name", ["a", "n" * 90, "ä.txt"])
    def test_is_told_by_the_first(self, format: int, name: str) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=format, pax_headers={"comment": "x"}) as archive:
            archive.addfile(tarfile.TarInfo(name))
        assert look_into(gzip.compress(out.getvalue())) == Look(Inside.ENTRIES)
        assert look_into(out.getvalue()) == Look(Inside.ENTRIES)

    def test_may_have_fields_without_an_end_and_a_checksum_of_signed_bytes(self) -> None:
        for odd in (header(136, b"7" * 12), header(0, b"\xe4\xff", signed=True), header(0, b"\xe4\xff")):
            assert look_into(odd + bytes(1024)) == Look(Inside.ENTRIES)

    def test_may_come_behind_gzip_that_looks_back_over_32_kib(self) -> None:
        far = random.Random(1).randbytes(16_000).hex() * 2
        blob = gzip.compress(headers_only(1, far)[:-1024] + make.tar({"a": b"1"}))
        assert look_into(blob) == Look(Inside.ENTRIES)

    def test_in_a_later_member_is_not_empty(self) -> None:
        data = headers_only()[:-1024] + make.tar({"a": b"1"})
        for compress in (gzip.compress, zstd.compress):
            packed = b"".join(compress(data[at : at + 100]) for at in range(0, len(data), 100))
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
            (headers_only(101), "more than 100 global headers"),
            (gzip.compress(bytes(200 * 1024**2), 9), "more than 134,217,728 bytes"),
            (ZSTD_OF_1024_ZEROS[:-1], "zstd ends too early"),
            (ZSTD_OF_1024_ZEROS + SKIPPED[:-1], "zstd ends too early"),
            (ZSTD_OF_1024_ZEROS[:7] + b"\xff" * 20, "zstd cannot be unpacked"),
            (ZSTD_OF_1024_ZEROS + b"more", "zstd cannot be unpacked (Unknown frame descriptor)"),
            (ZSTD_OF_1024_ZEROS + bytes(8), "zstd cannot be unpacked"),
            (zstd.compress(bytes(3 * 1024**2) + b"more"), "behind the end"),
            (zstd_window(23, 200 * 1024**2), "more than 134,217,728 bytes"),
            (zstd_window(ZSTD_WINDOW_LOG + 1), "zstd cannot be unpacked (Frame requires too much memory"),
        ],
        ids=range(18),  # not the bytes: gzip writes the time of day into them
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

    def test_two_gigabytes_of_zstd_take_neither_the_time_nor_the_memory(self) -> None:
        bomb = zstd_window(ZSTD_WINDOW_LOG, 2 * 1024**3 - 1024**2)
        assert len(bomb) < layer_rules.LARGEST_LOOK + 100
        began, before = time.monotonic(), resident()
        assert look_into(bomb).inside is Inside.UNTOLD
        assert resident() - before < 80 * 1024**2
        assert time.monotonic() - began < 5

    def test_a_frame_that_asks_for_two_gigabytes_is_refused_and_not_given_them(self) -> None:
        before = resident()
        for blob in (zstd_window(31), bytes.fromhex("28b52ffda000000080") + bytes(100)):  # a window; one segment
            assert "requires too much memory" in look_into(blob).why
        assert resident() - before < 8 * 1024**2

    def test_thousands_of_frames_are_read_quickly(self) -> None:
        began = time.monotonic()
        assert look_into(zstd.compress(b"") * 7_000) == Look(Inside.EMPTY)
        assert time.monotonic() - began < 5

    @given(
        st.binary(max_size=3000), st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])
    )
    def test_any_bytes_get_an_answer(self, data: bytes, start: bytes) -> None:
        for blob in (start + data, gzip.compress(start + data), zstd.compress(data), headers_only()[:1024] + data):
            found = look_into(blob)
            assert bool(found.why) is (found.inside is Inside.UNTOLD)

    @given(st.data())
    def test_a_header_with_other_bytes_gets_an_answer(self, data: st.DataObject) -> None:
        whole = bytearray(headers_only()[:1024] + make.tar({"a": b"1"}))
        for _ in range(data.draw(st.integers(1, 8))):
            whole[data.draw(st.integers(0, 1100))] = data.draw(st.integers(0, 255))
        assert look_into(bytes(whole)).inside in Inside
