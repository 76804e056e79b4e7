"""The folder in which a container's own file system is made: what overlayfs needs, or a copy of the image.

::

    box/upper box/work    what the container writes; overlayfs' own
    box/0 box/1 ...       links to the layers, the highest first: short names, for a mount's options have 4 KiB in all
    box/root              the mount point, or the copy
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_batchstream.emulator.runtimes.base import Rootfs
from airflow_batchstream.emulator.runtimes.rootfs import merge, remove_tree

MOST_LAYERS = 400
"""Linux takes 500 (``OVL_MAX_STACK``)."""
OPTION_BYTES = 3500
"""What a mount's options may take for the layers' names: a page of 4 KiB in all."""


@dataclass(frozen=True, slots=True)
class Box:
    """A container's file system, ready to be mounted.

    :param layers: the names of the layers' links, the highest first; empty if ``root`` is a copy.
    """

    folder: Path
    layers: tuple[str, ...] = ()

    def remove(self) -> None:
        """Take it all away again."""
        remove_tree(self.folder)


@dataclass(slots=True)
class Boxes:
    """Makes boxes, and remembers on which disks overlayfs works.

    :param trial: really mounts a box with layers; whether that works.
    :param full_names: whether layers are mounted by their full paths instead of the short links.
    """

    trial: Callable[[Box], bool]
    full_names: bool = False
    _known: dict[tuple[int, int], bool] = field(default_factory=dict)

    def make(self, rootfs: Rootfs, scratch: Path) -> Box:
        """A box for one container: of shared layers where that works, else a copy."""
        folder = scratch / "box"
        folder.mkdir()
        if self._overlay_works(rootfs, scratch):
            return _stacked(rootfs, folder)
        merge(rootfs.layers, folder / "root", link=False)
        return Box(folder)

    def _overlay_works(self, rootfs: Rootfs, scratch: Path) -> bool:
        if not rootfs.overlay or len(rootfs.layers) > MOST_LAYERS or self._option_bytes(rootfs) > OPTION_BYTES:
            return False
        disks = (rootfs.layers[0].stat().st_dev, scratch.stat().st_dev)
        if disks not in self._known:
            tried = _stacked(rootfs, scratch / "trial")
            self._known[disks] = self.trial(tried)
            tried.remove()
        return self._known[disks]

    def _option_bytes(self, rootfs: Rootfs) -> int:
        if self.full_names:
            return sum(len(f"/oldroot{layer.resolve()}:".encode()) for layer in rootfs.layers)
        return sum(len(f"{number}:") for number in range(len(rootfs.layers)))


def _stacked(rootfs: Rootfs, folder: Path) -> Box:
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "upper").chmod(0o755)  # the container's root folder
    names = tuple(map(str, range(len(rootfs.layers))))
    for name, layer in zip(names, reversed(rootfs.layers), strict=True):
        (folder / name).symlink_to(layer.absolute())
    return Box(folder, names)
