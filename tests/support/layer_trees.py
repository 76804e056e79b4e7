"""Layers -> the file tree that a container sees, in memory: two ways that runtimes do it, written from their rules.

:func:`laid_over` unpacks each layer by itself and lays them over each other, as overlayfs and lazy pullers do.
:func:`unpacked_into` unpacks each layer into the tree of those below, as Docker's vfs and containerd's native
snapshotter do: there an entry may follow links of lower layers. Independent of the local Batch's own unpacking.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

OPAQUE, WHITEOUT = ".wh..wh..opq", ".wh."
XATTR = "SCHILY.xattr."


@dataclass(frozen=True)
class Entry:
    """An entry of a layer, to be written into a tar.

    :param kind: dir, file, symlink, hardlink, fifo, char, whiteout, opaque.
    :param data: of a file; the target of a link.
    """

    path: str
    kind: str
    data: str = ""
    mode: int = 0o644
    uid: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Node:
    """What stands at a path.

    :param inode: the same for the names of one file.
    :param implied: a folder that no entry made, only something inside of it.
    """

    kind: str
    data: bytes = b""
    mode: int = 0o755
    uid: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()
    inode: object = field(default_factory=object, compare=False)
    implied: bool = field(default=False, compare=False)


Tree = dict[str, Node]


class Refused(Exception):
    """No runtime that works this way unpacks such a layer."""


def tar_of(entries: Iterable[Entry]) -> bytes:
    """The entries as a tar, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            archive.addfile(*_member(entry))
    return out.getvalue()


def _member(entry: Entry) -> tuple[tarfile.TarInfo, io.BytesIO]:
    folder, name = posixpath.split(entry.path)
    if entry.kind == "whiteout":
        name = WHITEOUT + name
    path = posixpath.join(entry.path, OPAQUE) if entry.kind == "opaque" else posixpath.join(folder, name)
    info = tarfile.TarInfo(path)
    kinds = {
        "dir": tarfile.DIRTYPE,
        "symlink": tarfile.SYMTYPE,
        "hardlink": tarfile.LNKTYPE,
        "fifo": tarfile.FIFOTYPE,
        "char": tarfile.CHRTYPE,
    }
    info.type = kinds.get(entry.kind, tarfile.REGTYPE)
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.uid
    info.pax_headers = {XATTR + name: value for name, value in entry.xattrs}
    data = entry.data.encode() if entry.kind == "file" else b""
    info.size = len(data)
    if entry.kind in ("symlink", "hardlink"):
        info.linkname = entry.data
    return info, io.BytesIO(data)


def shown(tree: Mapping[str, Node]) -> dict[str, Any]:
    """A tree to be compared: for each path all that is known of it, and the other names of the same file."""
    names: dict[int, set[str]] = {}
    for path, node in tree.items():
        names.setdefault(id(node.inode), set()).add(path)
    return {
        path: (node.kind, node.data, oct(node.mode), node.uid, node.xattrs, sorted(names[id(node.inode)]))
        for path, node in tree.items()
    }


# ---- each layer by itself, then one over the other ----


def laid_over(layers: Sequence[bytes], *, implied: str = "own") -> Tree:
    """The tree of layers that are unpacked apart.

    :param implied: what a folder is that a layer has only because of what is in it: ``own`` as any new folder, or
        ``below`` as the folder under it, which newer runtimes copy.
    """
    tree: Tree = {}
    for layer in layers:
        _lay_over(tree, layer, implied)
    return tree


def _lay_over(tree: Tree, layer: bytes, implied: str) -> None:
    own, whiteouts, opaque = _apart(layer)
    for path in whiteouts:
        _remove(tree, path)
    for path in opaque:
        _remove(tree, path, itself=False)
    for path in sorted(own, key=lambda p: p.count("/")):
        node, below = own[path], tree.get(path)
        if below is None or below.kind != "dir" or node.kind != "dir":
            _remove(tree, path)
        elif node.implied and implied == "below":
            continue
        tree[path] = node


def _apart(layer: bytes) -> tuple[Tree, set[str], set[str]]:
    """A layer alone: its nodes, what it hides, and its opaque folders."""
    own: Tree = {}
    whiteouts, opaque = set(), set()
    for member, data in _members(layer):
        folder, name = posixpath.split(_clean(member.name))
        _imply(own, folder)
        if name == OPAQUE:
            opaque.add(folder)
        elif name.startswith(WHITEOUT):
            whiteouts.add(posixpath.join(folder, name.removeprefix(WHITEOUT)))
        else:
            _put(own, posixpath.join(folder, name), member, data)
    return own, whiteouts, opaque


def _imply(tree: Tree, folder: str) -> None:
    parts = folder.split("/") if folder else []
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        if path not in tree:
            tree[path] = Node("dir", implied=True)
        elif tree[path].kind != "dir":
            raise Refused(f"{path} is no folder")


def _put(tree: Tree, path: str, member: tarfile.TarInfo, data: bytes) -> None:
    node = _node(member, data)
    if member.islnk():
        target = _clean(member.linkname)
        if target not in tree or tree[target].kind == "dir":
            raise Refused(f"a hard link to {target}, which is no file here")
        node = tree[target]
    below = tree.get(path)
    if below is None or below.kind != "dir" or node.kind != "dir":
        _remove(tree, path)
    tree[path] = node


# ---- each layer into what is there ----


def unpacked_into(layers: Sequence[bytes]) -> Tree:
    """The tree of layers that are unpacked one into the other, each entry at its turn."""
    tree: Tree = {}
    for layer in layers:
        fresh: set[str] = set()
        for member, data in _members(layer):
            _unpack_into(tree, fresh, member, data)
    return tree


def _unpack_into(tree: Tree, fresh: set[str], member: tarfile.TarInfo, data: bytes) -> None:
    folder, name = posixpath.split(_clean(member.name))
    folder = _follow(tree, folder)
    if name == OPAQUE:
        _imply_into(tree, folder)
        for path in [p for p in tree if p.startswith(f"{folder}/") and p not in fresh]:
            _remove(tree, path, but=fresh)
    elif name.startswith(WHITEOUT):
        _imply_into(tree, folder)
        _remove(tree, posixpath.join(folder, name.removeprefix(WHITEOUT)))
    else:
        _imply_into(tree, folder)
        path = posixpath.join(folder, name)
        below = tree.get(path)
        if member.islnk():
            target = _follow(tree, _clean(member.linkname), last=False)
            if target not in tree or tree[target].kind == "dir":
                raise Refused(f"a hard link to {target}, which is no file")
            node = tree[target]
        else:
            node = _node(member, data)
        if node.kind == "dir" and below is not None and below.kind == "dir":
            tree[path] = replace(node, xattrs=_merged(below.xattrs, node.xattrs), inode=below.inode)
        else:
            _remove(tree, path)
            tree[path] = node
        fresh.add(path)


def _imply_into(tree: Tree, folder: str) -> None:
    parts = folder.split("/") if folder else []
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        if path in tree and tree[path].kind != "dir":
            _remove(tree, path)
        tree.setdefault(path, Node("dir"))


def _follow(tree: Tree, path: str, *, last: bool = True) -> str:
    """The path with the links in it resolved, as if the tree's root were the machine's."""
    todo, at, links = [part for part in path.split("/") if part], "", 0
    while todo:
        name = todo.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            at = posixpath.dirname(at)
            continue
        here = posixpath.join(at, name)
        node = tree.get(here)
        if node is not None and node.kind == "symlink" and (todo or last):
            links += 1
            if links > 40:
                raise Refused(f"{path} is a loop of links")
            target = node.data.decode()
            at = "" if target.startswith("/") else at
            todo = target.split("/") + todo
            continue
        at = here
    return at


def _merged(old: tuple[tuple[str, str], ...], new: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((dict(old) | dict(new)).items()))


# ---- both ----


def _members(layer: bytes) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    if not layer.strip(b"\0"):
        return
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isreg() else None
            yield member, source.read() if source else b""


def _node(member: tarfile.TarInfo, data: bytes) -> Node:
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char"}
    kind = kinds.get(member.type, "file")
    if kind == "symlink":
        data = member.linkname.encode()
    xattrs = tuple(sorted((k.removeprefix(XATTR), v) for k, v in member.pax_headers.items() if k.startswith(XATTR)))
    return Node(kind, data, member.mode, member.uid, xattrs)


def _remove(tree: Tree, path: str, *, itself: bool = True, but: Iterable[str] = ()) -> None:
    kept = set(but)
    for other in [p for p in tree if p not in kept and ((itself and p == path) or p.startswith(f"{path}/"))]:
        if not any(other == k or k.startswith(f"{other}/") for k in kept):
            del tree[other]


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path).strip("/")
