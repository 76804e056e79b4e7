"""One layer's tar -> a folder, as :mod:`airflow_batchstream.emulator.runtimes.rootfs` describes it.

The tar may come from anybody. No entry may write outside of the folder, whether it says so by ``..``, by a link of the
same layer, or by a hard link. Links are followed as in a container: an absolute one starts at the image's root.

Left out, and noted: device nodes (a container has its own ``/dev``), extended attributes (file capabilities),
set-user-id bits (no container here gains rights by them, and on this machine they would be a way for others).
"""

from __future__ import annotations

import errno
import io
import json
import os
import posixpath
import shutil
import stat
import tarfile
from collections import Counter
from pathlib import Path

from airflow_batchstream.emulator.runtimes.rootfs import LINKS, remove_tree

OPAQUE = ".wh..wh..opq"
WHITEOUT = ".wh."
AUFS = ".wh..wh."
"""Names that only an old storage driver understood."""
PIECE = 1 << 20
NO_ENTRIES = ("empty file", "end of file header")
"""What Python calls a tar without a byte, and one of nothing but a global header, as ``git archive`` begins one."""


class LayerError(ValueError):
    """The layer is damaged, or breaks a rule."""


class LayerWriter:
    """Fills an empty folder from one tar.

    :param folder: gets ``fs`` and ``hidden.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "fs"
        self.root.mkdir()
        self.root.chmod(0o755)
        self.keep_owners = os.geteuid() == 0
        self.notes: Counter[str] = Counter()
        self._hidden: set[str] = set()
        self._opaque: set[str] = set()
        self._folders: dict[str, tarfile.TarInfo] = {}
        self._parents: dict[str, str] = {}

    def fill(self, stream: io.RawIOBase) -> None:
        """Read a tar to its end.

        :raises LayerError: an entry is not allowed, or the tar is damaged.
        """
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=PIECE, errors="surrogateescape") as tar:
                while (member := tar.next()) is not None:
                    self._take(tar, member)
                    tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        except tarfile.ReadError as error:
            if str(error) not in NO_ENTRIES:
                raise LayerError(f"the layer is no tar, or is damaged: {error}") from None
        except tarfile.TarError as error:
            raise LayerError(f"the layer is no tar, or is damaged: {error}") from None
        self._finish()

    # ---- entries ----

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = self._parts(member.name, member.name)
        if any(key.startswith("SCHILY.xattr.") for key in member.pax_headers):
            self.notes["extended attributes are not kept"] += 1
        if not parts:
            if member.isdir():
                self._folders[""] = member
            return
        parent = self._parent(parts[:-1], member.name)
        name = parts[-1]
        if name.startswith(WHITEOUT):
            self._hide(parent, name, member.name)
            return
        path = posixpath.join(parent, name)
        if member.isdir():
            self._make_folder(path, member)
        elif member.isreg():
            self._make_file(tar, member, path)
        elif member.issym():
            self._clear(path)
            (self.root / path).symlink_to(member.linkname)
            self._own(path, member)
        elif member.islnk():
            self._make_link(member, path)
        elif member.isfifo():
            self._clear(path)
            os.mkfifo(self.root / path)
            self._own(path, member)
        elif member.ischr() or member.isblk():
            self.notes["device nodes are not made"] += 1
        else:
            raise LayerError(f"the entry {member.name!r} is of the unknown type {member.type!r}")

    def _make_folder(self, path: str, member: tarfile.TarInfo) -> None:
        place = self.root / path
        if place.is_symlink() or not place.is_dir():
            self._clear(path)
            place.mkdir(0o700)
        self._folders[path] = member

    def _make_file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        self._clear(path)
        source = tar.extractfile(member)
        assert source is not None
        with (self.root / path).open("xb") as file:
            shutil.copyfileobj(source, file, PIECE)
            if file.tell() != member.size:
                raise LayerError(f"the layer ends inside of {member.name!r}")
        self._own(path, member)

    def _make_link(self, member: tarfile.TarInfo, path: str) -> None:
        parts = self._parts(member.linkname, member.name)
        target = posixpath.join(self._parent(parts[:-1], member.name, make=False), parts[-1]) if parts else ""
        if not os.path.lexists(self.root / target) or (self.root / target).is_dir():
            raise LayerError(f"{member.name!r} is a hard link to {member.linkname!r}, which is no file of this layer")
        if target != path:
            self._clear(path)
            os.link(self.root / target, self.root / path, follow_symlinks=False)

    def _hide(self, parent: str, name: str, shown: str) -> None:
        if name == OPAQUE:
            self._opaque.add(parent)
            return
        if name.startswith(AUFS):
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise LayerError(f"the entry {shown!r} hides {hidden!r}, which is no name of a file")
        self._hidden.add(posixpath.join(parent, hidden))

    # ---- paths ----

    def _parts(self, path: str, shown: str) -> list[str]:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise LayerError(f"the entry {shown!r} leaves the image's root ({path!r} has a `..`)")
        return parts

    def _parent(self, parts: list[str], shown: str, *, make: bool = True) -> str:
        """The folder of an entry inside the layer, without links; made where it is missing."""
        asked = "/".join(parts)
        if asked in self._parents:
            return self._parents[asked]
        todo, at, links = list(parts), "", 0
        while todo:
            name = todo.pop(0)
            if name == "..":
                if not at:
                    raise LayerError(f"the entry {shown!r} leaves the image's root through a link")
                at = posixpath.dirname(at)
                continue
            here = posixpath.join(at, name)
            place = self.root / here
            if place.is_symlink():
                links += 1
                if links > LINKS:
                    raise LayerError(f"the entry {shown!r} lies behind a loop of links")
                target = str(place.readlink())
                at = "" if target.startswith("/") else at
                todo = [part for part in target.split("/") if part not in ("", ".")] + todo
                continue
            if not os.path.lexists(place) and make:
                place.mkdir(0o755)
                place.chmod(0o755)
            elif not place.is_dir():
                raise LayerError(f"the entry {shown!r} lies in {here!r}, which is no folder")
            at = here
        self._parents[asked] = at
        return at

    def _clear(self, path: str) -> None:
        """Make room: a later entry of a name replaces the earlier one."""
        place = self.root / path
        if place.is_dir() and not place.is_symlink():
            remove_tree(place)
            self._forget(path)
        elif os.path.lexists(place):
            place.unlink()
        else:
            return
        self._parents.clear()

    def _forget(self, path: str) -> None:
        """Nothing that was said of a folder, or of what is in it, is about what takes its place."""

        def inside(other: str) -> bool:
            return other == path or other.startswith(f"{path}/")

        self._folders = {other: member for other, member in self._folders.items() if not inside(other)}
        self._opaque = {other for other in self._opaque if not inside(other)}
        self._hidden = {other for other in self._hidden if not inside(other)}

    # ---- attributes ----

    def _own(self, path: str, member: tarfile.TarInfo) -> None:
        place = self.root / path
        if self.keep_owners:
            self._give(place, member)
        if not member.issym():
            place.chmod(self._mode(member))
        times = _nanoseconds(member.mtime)
        os.utime(place, ns=(times, times), follow_symlinks=False)

    def _give(self, place: Path, member: tarfile.TarInfo) -> None:
        try:
            os.chown(place, member.uid, member.gid, follow_symlinks=False)
        except OverflowError:
            raise LayerError(
                f"{member.name!r} belongs to {member.uid}:{member.gid}, which is no user of Linux"
            ) from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
            self.keep_owners = False  # root of a user namespace or a container: one that may not do this
            self.notes["owners are not kept"] += 1

    def _mode(self, member: tarfile.TarInfo) -> int:
        if member.isdir():
            # Without root the folder is ours, and has to be filled, read and removed by us.
            return member.mode & 0o3777 if self.keep_owners else member.mode & 0o3777 | 0o700
        if member.mode & (stat.S_ISUID | stat.S_ISGID):
            self.notes["set-user-id and set-group-id bits are not kept"] += 1
        return member.mode & 0o1777 if self.keep_owners else member.mode & 0o1777 | 0o600

    def _finish(self) -> None:
        marked = self._mark()
        for path, member in sorted(self._folders.items(), reverse=True):  # the deepest first: times are kept
            self._own(path, member)
        sidecar = {
            "whiteouts": sorted(self._hidden),
            "opaque": sorted(self._opaque),
            "overlay": marked,
            "notes": dict(self.notes),
        }
        (self.folder / "hidden.json").write_text(json.dumps(sidecar, indent=1))

    def _mark(self) -> bool:
        """Set overlayfs' own marks; False where this machine does not let us."""
        for path in sorted(self._hidden):
            if os.path.lexists(self.root / path):  # hidden below, and made anew here
                self._hidden.discard(path)
                if (self.root / path).is_dir() and not (self.root / path).is_symlink():
                    self._opaque.add(path)
        try:
            for path in self._hidden:
                os.mknod(self.root / path, stat.S_IFCHR, 0)  # Linux 5.8 allows this one to everybody
            for path in self._opaque:
                os.setxattr(self.root / path, "user.overlay.opaque", b"y", follow_symlinks=False)
        except OSError:
            return False
        return True


def _nanoseconds(seconds: float) -> int:
    """A tar's time, inside of what every file system takes (1970 to 2106)."""
    return int(min(max(seconds, 0), 2**32 - 1) * 1_000_000_000)
