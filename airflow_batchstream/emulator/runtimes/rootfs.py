"""The file tree of an unpacked image: looked into, made into one folder, cleared away.

A layer is a folder ``fs`` with a sidecar ``hidden.json`` beside it. The sidecar lists what the layer hides of those
below: ``whiteouts`` (paths that are gone) and ``opaque`` (folders of which only this layer's content counts). ``fs``
also holds overlayfs' own marks for them where this machine lets us make them. Paths in an image are followed as the
container would follow them: a link never leads out of the image.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import posixpath
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LINKS = 40
"""Symbolic links followed in one path before it counts as a loop; the kernel's own bound."""


class Layer:
    """One unpacked layer: its files, and what it hides."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _hidden(self) -> dict[str, list[str]]:
        sidecar = self.root.parent / "hidden.json"
        found: dict[str, list[str]] = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
        return found

    @cached_property
    def whiteouts(self) -> frozenset[str]:
        """Paths without a leading slash."""
        return frozenset(self._hidden.get("whiteouts", ()))

    @cached_property
    def opaque(self) -> frozenset[str]:
        """Paths without a leading slash."""
        return frozenset(self._hidden.get("opaque", ()))


@dataclass(frozen=True, slots=True)
class Found:
    """What a path of the image leads to.

    :param path: in the image, without links and without a leading slash.
    :param real: the file or folder of this machine that shows there.
    """

    path: str
    real: Path


class View:
    """The tree that a container would see, read from its layers without mounting anything.

    :param layers: folders, the lowest first.
    """

    def __init__(self, layers: Sequence[Path]) -> None:
        self._layers = [Layer(root) for root in reversed(layers)]

    def find(self, path: str) -> Found | None:
        """Follow a path to its end, links too; None if it leads nowhere."""
        todo, at, links = _parts(path), "", 0
        while todo:
            name = todo.pop(0)
            if name == "..":
                at = posixpath.dirname(at)
                continue
            here = posixpath.join(at, name)
            real = self._show(here)
            if real is None:
                return None
            if real.is_symlink():
                links += 1
                if links > LINKS:
                    return None
                target = str(real.readlink())
                if target.startswith("/"):
                    at = ""
                todo = _parts(target) + todo
                continue
            at = here
        shown = self._show(at) if at else self._layers[0].root
        return Found(at, shown) if shown is not None else None

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """The first bytes of a file; empty if there is no such file."""
        found = self.find(path)
        if found is None or not found.real.is_file():
            return b""
        with contextlib.suppress(OSError), found.real.open("rb") as file:
            return file.read(limit)
        return b""

    def _show(self, path: str) -> Path | None:
        """What shows at a path whose parents are folders in the view."""
        parts = _parts(path)
        parents = ["/".join(parts[:count]) for count in range(1, len(parts))]
        for layer in self._layers:
            if any(_hides(layer.root / parent) for parent in parents):
                return None
            real = layer.root / path
            if os.path.lexists(real):
                return None if _is_whiteout(real) else real
            if any(p in layer.whiteouts or p in layer.opaque for p in (*parents, path)):
                return None
        return None


def _hides(real: Path) -> bool:
    """Whether something stands here that is no folder: the same path in lower layers does not show."""
    try:
        return not stat.S_ISDIR(os.lstat(real).st_mode)
    except OSError:
        return False


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_whiteout(real: Path) -> bool:
    status = os.lstat(real)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def merge(layers: Sequence[Path], target: Path, *, link: bool) -> None:
    """Make one folder of all layers.

    :param layers: folders, the lowest first.
    :param target: is made; must not exist.
    :param link: share the files with the layers, so that nothing may be written to them; else copy them.
    :raises OSError: for a full disk and the like; the target is then incomplete.
    """
    target.mkdir()
    folders: list[tuple[Path, Path]] = []
    for root in layers:
        _lay_over(Layer(root), target, link, folders)
    for source, folder in reversed(folders):  # at last: a read-only folder could not be filled
        if folder.is_dir() and not folder.is_symlink():
            _like(source, folder)


def _lay_over(layer: Layer, target: Path, link: bool, folders: list[tuple[Path, Path]]) -> None:
    for path in sorted(layer.whiteouts):
        if _parents_are_folders(target, path):
            _remove(target / path)
    for path in sorted(layer.opaque):
        if _parents_are_folders(target, path) and (target / path).is_dir() and not (target / path).is_symlink():
            for child in (target / path).iterdir():
                _remove(child)
    twins: dict[tuple[int, int], Path] = {}
    for source, relative in _walk(layer.root, ""):
        place = target / relative
        status = os.lstat(source)
        if stat.S_ISDIR(status.st_mode):
            if place.is_symlink() or not place.is_dir():
                _remove(place)
                place.mkdir(0o700)
            folders.append((source, place))
            continue
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            continue
        _remove(place)
        twin = twins.get((status.st_dev, status.st_ino))
        if twin is not None:
            os.link(twin, place, follow_symlinks=False)
            continue
        _put(source, place, status, link)
        if status.st_nlink > 1:
            twins[status.st_dev, status.st_ino] = place
    folders.append((layer.root, target))


def _walk(root: Path, relative: str) -> Iterator[tuple[Path, str]]:
    """Everything below a folder, a folder before its content; links are not followed."""
    with os.scandir(root / relative) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        path = posixpath.join(relative, entry.name)
        yield root / path, path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)


def _put(source: Path, place: Path, status: os.stat_result, link: bool) -> None:
    mode = status.st_mode
    if link:
        try:
            os.link(source, place, follow_symlinks=False)
            return
        except OSError as error:  # another disk, or as many links as a file may have
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                raise
    if stat.S_ISLNK(mode):
        place.symlink_to(source.readlink())
        _own(place, status)
    elif stat.S_ISREG(mode):
        shutil.copyfile(source, place)
        _like(source, place)
    elif stat.S_ISFIFO(mode):
        os.mkfifo(place)
        _like(source, place)
    elif os.geteuid() == 0:
        os.mknod(place, mode, status.st_rdev)
        _own(place, status)


def _like(source: Path, place: Path) -> None:
    """Owner, mode and times of another file or folder."""
    status = os.lstat(source)
    _own(place, status)
    place.chmod(stat.S_IMODE(status.st_mode))
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def _own(place: Path, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(place, status.st_uid, status.st_gid, follow_symlinks=False)


def _parents_are_folders(target: Path, path: str) -> bool:
    at = target
    for part in _parts(path)[:-1]:
        at = at / part
        if at.is_symlink() or not at.is_dir():
            return False
    return True


def _remove(path: Path) -> None:
    """Whatever stands there, if anything."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, also where folders forbid it: an image's own modes, overlayfs' work folder.

    A missing folder is fine; what belongs to another user, and may not be removed, stays.
    """

    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)


def _open_up(path: Path) -> None:
    """Give ourselves all rights on a folder and those below it."""
    todo = [path]
    while todo:
        folder = todo.pop()
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
            with os.scandir(folder) as entries:
                todo += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
