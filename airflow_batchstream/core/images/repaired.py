"""What a repair did, or would do: :class:`Repair`, as the dict of XCom and ``--json``, and as a table."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from airflow_batchstream.core.images import steps
from airflow_batchstream.core.images.rewrite import EMPTY, Dropped, said
from airflow_batchstream.core.words import printable

WIDTH = 100
"""Columns of the table."""
_MOST = 20
"""Layers, and images of an index, that dict and table tell one by one."""


@dataclass(frozen=True, slots=True)
class Part:
    """One image: all there is, or one platform of an index.

    :param source: digest of its manifest before; ``digest`` after.
    :param layers: how many it had.
    :param converted: whether it was of schema 1.
    """

    platform: str
    source: str
    digest: str
    layers: int
    dropped: tuple[Dropped, ...] = ()
    converted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether it needed a repair."""
        return self.source != self.digest


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done.

    :param source: the image as it was asked for, and its digest in ``source_digest``.
    :param target: where the repaired one is, or would be.
    :param digest: of the repaired image or index; the source's where nothing is to be repaired.
    :param pinned: the name to run. The source's where nothing is to be repaired, or nothing was written.
    :param written: whether the target's tag was put by this run.
    :param mounted: blobs that the registry took over from the source without moving them.
    :param copied: bytes of layers that were read here and written there, which only a copy to another registry does.
    :param uploaded: bytes of configs and manifests.
    :param read: bytes that were read, schema 1's layers included.
    """

    source: str
    source_digest: str
    target: str
    digest: str
    pinned: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    written: bool = False
    mounted: int = 0
    copied: int = 0
    uploaded: int = 0
    requests: int = 0
    read: int = 0

    @property
    def needed(self) -> bool:
        """Whether there was anything to repair."""
        return self.digest != self.source_digest

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready and small: the XCom ``image_repair``."""
        return {
            "source": self.source,
            "source_digest": self.source_digest,
            "target": self.target,
            "digest": self.digest,
            "pinned": self.pinned,
            "needed": self.needed,
            "written": self.written,
            "dry_run": self.dry_run,
            "images": [_part(part) for part in self.parts[:_MOST]],
            "notes": list(self.notes),
            "blobs_mounted": self.mounted,
            "bytes_copied": self.copied,
            "bytes_uploaded": self.uploaded,
            "bytes_read": self.read,
            "requests": self.requests,
        }


def table(repair: Repair) -> list[str]:
    """The repair as lines of plain text, at most :data:`WIDTH` columns, for the task log and the terminal."""
    lines = [*_name("Source", repair.source)]
    lines += [] if repair.source.endswith(f"@{repair.source_digest}") else _row("Digest", repair.source_digest)
    lines += _name("Target", repair.target)
    for part in repair.parts[:_MOST]:
        lines += ["", *_part_lines(part)]
    if len(repair.parts) > _MOST:
        lines += _row("", f"and {len(repair.parts) - _MOST} further images")
    if repair.notes:
        lines += ["", *(line for note in repair.notes for line in _row("Note", note))]
    return [*lines, "", *_row("Moved", _moved(repair)), *_result(repair)]


def _part(part: Part) -> dict[str, Any]:
    return {
        "platform": part.platform,
        "source_digest": part.source,
        "digest": part.digest,
        "layers": part.layers,
        "converted": part.converted,
        "dropped": [dropped.as_dict() for dropped in part.dropped[:_MOST]],
        "dropped_count": len(part.dropped),
        "notes": list(part.notes),
    }


def _part_lines(part: Part) -> list[str]:
    """``linux/amd64: 7 layers, 2 dropped`` and a line for each that goes."""
    count = "1 layer" if part.layers == 1 else f"{part.layers} layers"
    if not part.changed:
        return _row("Image", f"{part.platform}: {count}, nothing to repair")
    schema = ", converted from schema 1" if part.converted else ""
    lines = _row("Image", f"{part.platform}: {count}{schema}, {said(part.dropped)} dropped")
    for dropped in part.dropped[:_MOST]:
        layer, step = dropped.layer, steps.shown(dropped.layer.created_by)
        why = "empty" if dropped.why == EMPTY else f"same content as layers[{dropped.kept}], which stays"
        size = "" if layer.blob.size is None else f", {layer.blob.size:,} bytes"
        made = f", made by `{step}`" if step else ""
        lines += _row("  drops", f"layers[{layer.index}] ({layer.blob.digest[:19]}{size}{made}): {why}")
    if len(part.dropped) > _MOST:
        lines += _row("", f"and {len(part.dropped) - _MOST} further layers")
    lines += _row("  becomes", part.digest)
    return lines + [line for note in part.notes for line in _row("  note", note)]


def _moved(repair: Repair) -> str:
    told = [f"{repair.copied:,} bytes of layers copied" if repair.copied else "no layer"]
    told += [f"{repair.mounted} blobs mounted" if repair.mounted != 1 else "1 blob mounted"] if repair.mounted else []
    told += [f"{repair.uploaded:,} bytes of config and manifest written"] if repair.uploaded else []
    return f"{', '.join(told)}; {repair.read:,} bytes read, {repair.requests} requests"


def _result(repair: Repair) -> list[str]:
    run = _name("Run", repair.pinned)
    if not repair.needed:
        return [*_row("Result", "needs no repair, nothing was written"), *run]
    if repair.dry_run:
        return [*_row("Result", "a dry run, nothing was written; it would be"), *_row("", repair.digest)]
    done = "repaired" if repair.written else "was repaired before: the target is that image already"
    return [*_row("Result", done), *run]


def _name(name: str, value: str) -> list[str]:
    """An image's name; a digest in a line of its own, as both together are often too long for one."""
    image, at, digest = value.partition("@")
    return [*_row(name, image), *(_row("", at + digest) if digest else [])]


def _row(name: str, value: str) -> list[str]:
    head = f"{name:<11}"
    indent = " " * len(head)
    return textwrap.wrap(
        printable(value), WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
    ) or [head.rstrip()]
