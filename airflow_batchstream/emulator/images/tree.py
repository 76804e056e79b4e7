"""A file tree in the making, and the tar of it, the same on every run: sorted, owned by root, from the year 1970."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class File:
    """A file of this machine, or some bytes."""

    content: Path | bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is there for itself; those that files need are made without asking."""

    mode: int = 0o755


Tree = dict[str, File | Link | Folder]
"""Paths without a leading slash."""


def folder(source: Path, at: str) -> Tree:
    """A file or a whole folder of this machine, to be at this path in the image.

    Who may execute a file is kept, its other modes are not, nor its owner: the digest shall not depend on them.

    :raises OSError: it cannot be read.
    """
    at = at.strip("/")
    if not source.is_dir():
        source.stat()  # raises for a missing one
        return {at: File(source, _mode(source))}
    tree: Tree = {at: Folder()} if at else {}
    for place, folders, names in os.walk(source):
        for name in (*folders, *names):
            path = Path(place) / name
            inside = f"{at}/{path.relative_to(source)}".lstrip("/")
            if path.is_symlink():
                tree[inside] = Link(str(path.readlink()))
            elif path.is_dir():
                tree[inside] = Folder()
            elif path.is_file():
                tree[inside] = File(path, _mode(path))
    return tree


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def write_tar(tree: Tree, file: IO[bytes]) -> None:
    """Write a layer."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in sorted((_parents(tree) | tree).items()):
            info = tarfile.TarInfo(path)
            if isinstance(entry, Folder):
                info.type, info.mode = tarfile.DIRTYPE, entry.mode
                tar.addfile(info)
            elif isinstance(entry, Link):
                info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
                tar.addfile(info)
            else:
                info.mode = entry.mode
                _add_file(tar, info, entry)


def _add_file(tar: tarfile.TarFile, info: tarfile.TarInfo, entry: File) -> None:
    if isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
        return
    with entry.content.open("rb") as source:
        info.size = os.fstat(source.fileno()).st_size
        tar.addfile(info, source)


def _parents(tree: Tree) -> Tree:
    """The folders that the entries lie in."""
    found: Tree = {}
    for path in tree:
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            found.setdefault("/".join(parts[:count]), Folder())
    return found
