"""Is a layer empty? Told by the bytes of its blob, for small blobs: see :func:`look_into`. Nothing is fetched here.

The bytes come from a registry that may be broken or hostile: what they unpack to is bounded and not kept, the reading
ends with the first entry, and whatever they are, there is an answer.

Sources: RFC 1952 (gzip: members follow one another), RFC 8878 (zstd), POSIX.1-2001 "pax Interchange Format" for tar.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LARGEST_UNPACKED = 128 * 1024 * 1024
"""Bytes uncompressed at which a look ends. 64 KiB of gzip unpack to 66 MiB at most, of zstd to 2 GiB."""
ZSTD_WINDOW_LOG = 25
"""Binary logarithm of the bytes that zstd may look back over, all of which it keeps: 32 MiB. Go's encoder, by which
BuildKit, containerd, skopeo and buildah compress layers, never asks for more by itself; RFC 8878 recommends 8 MiB."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED = b"\x2a\x4d\x18"
"""Of a frame that carries no data, behind a byte of 0x50 to 0x5f."""
_ANY_GZIP = 31
"""zlib's number for a gzip stream with the largest window."""
_PIECE = 1 << 20
_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_MOST_HEADERS = 100
"""Global headers that are read; ``git archive`` writes one."""


class Inside(StrEnum):
    """What a look into a layer showed."""

    EMPTY = "empty"
    """A tar without entries."""
    ENTRIES = "entries"
    UNTOLD = "could not be told"


@dataclass(frozen=True, slots=True)
class Look:
    """The answer of a look into a layer.

    :param why: it could not be told, without a full stop; else empty.
    :param passing: the registry did not give the layer out, and may do so later.
    """

    inside: Inside
    why: str = ""
    passing: bool = False


class _Untold(Exception):
    """The bytes give no answer; the message says why."""


def look_into(blob: bytes, *, largest: int = LARGEST_UNPACKED) -> Look:
    """Whether a layer is empty: zeros of any length, or nothing but global headers of pax, compressed or not.

    How it is compressed is told by its first bytes, since media types are wrong at times.

    :param blob: all of the layer's bytes, as the registry keeps them.
    :param largest: bytes uncompressed at which the look ends without an answer.
    """
    try:
        return Look(_inside(_bounded(_unpacked(blob), largest)))
    except _Untold as error:
        return Look(Inside.UNTOLD, str(error))


def _inside(pieces: Iterator[bytes]) -> Inside:
    """Read a tar's headers up to the first that is an entry's."""
    rest, skipped, zeros, headers = b"", 0, False, 0
    for piece in pieces:
        if zeros:  # behind the end: quick, as there may be many
            if piece.strip(b"\0"):
                raise _Untold("there is something behind the end of its tar")
            continue
        rest += piece
        while len(rest) >= _BLOCK:
            gone = min(skipped, len(rest) // _BLOCK * _BLOCK)
            rest, skipped = rest[gone:], skipped - gone
            if skipped or len(rest) < _BLOCK:
                break
            header, rest = rest[:_BLOCK], rest[_BLOCK:]
            if header == _ZEROS:
                zeros = True
                if rest.strip(b"\0"):
                    raise _Untold("there is something behind the end of its tar")
                rest = b""
            elif header[156:157] != b"g":
                return _entry(header)
            else:
                headers += 1
                if headers > _MOST_HEADERS:
                    raise _Untold(f"it has more than {_MOST_HEADERS} global headers")
                skipped = -(-_size(header) // _BLOCK) * _BLOCK
    if skipped or rest.strip(b"\0"):
        raise _Untold("its tar ends too early")
    return Inside.EMPTY


def _entry(header: bytes) -> Inside:
    _size(header)
    return Inside.ENTRIES


def _size(header: bytes) -> int:
    """The bytes behind a header, if it is one."""
    try:
        summed = int(header[148:156].split(b"\0")[0].strip() or b"x", 8)
        blanked = header[:148] + b" " * 8 + header[156:]
        if summed not in (sum(blanked), sum(byte - 256 if byte > 127 else byte for byte in blanked)):
            raise ValueError
        size = header[124:136]
        if size[0] in (0x80, 0xFF):  # base 256, for what octal digits cannot say
            return int.from_bytes(size[1:], "big")
        found = int(size.split(b"\0")[0].strip() or b"0", 8)
        if found < 0:
            raise ValueError
        return found
    except ValueError:
        raise _Untold("it is no tar") from None


def _bounded(pieces: Iterator[bytes], largest: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > largest:
            raise _Untold(f"it has more than {largest:,} bytes uncompressed")
        yield piece


def _unpacked(blob: bytes) -> Iterator[bytes]:
    if blob.startswith(_GZIP):
        return _gunzipped(blob)
    if blob.startswith(_ZSTD) or (blob[1:4] == _ZSTD_SKIPPED and 0x50 <= blob[0] <= 0x5F):
        return _zstd(blob)
    return (blob[at : at + _PIECE] for at in range(0, len(blob), _PIECE))


def _gunzipped(blob: bytes) -> Iterator[bytes]:
    """All members, one behind the other; zeros behind the last are padding."""
    while blob.strip(b"\0"):
        member: Any = zlib.decompressobj(_ANY_GZIP)
        while not member.eof:
            try:
                piece = member.decompress(blob, _PIECE)
            except zlib.error as error:
                raise _Untold(f"its gzip is damaged ({error})") from None
            blob = member.unconsumed_tail
            if not (piece or blob or member.eof):
                raise _Untold("its gzip ends too early")
            yield piece
        blob = member.unused_data


def _zstd(blob: bytes) -> Iterator[bytes]:
    """All frames, one behind the other; some may be skipped."""
    from backports.zstd import DecompressionParameter, ZstdError, ZstdFile

    try:
        with ZstdFile(io.BytesIO(blob), options={DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}) as file:
            while piece := file.read(_PIECE):
                yield piece
    except EOFError:
        raise _Untold("its zstd ends too early") from None
    except ZstdError as error:  # damaged, or too large a window
        raise _Untold(f"its zstd cannot be unpacked ({str(error).rpartition(': ')[2]})") from None
