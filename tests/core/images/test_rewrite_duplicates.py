"""Why all but the last of two layers with the same content may go, whatever stands between them: case by case.

Each case is a duplicate layer and what stands below, and between its two places. ``whole`` is the image as it was,
``last`` without the lower duplicate, ``first`` without the upper one.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from layer_trees import Entry, Refused, Tree, laid_over, shown, tar_of, unpacked_into


@dataclass(frozen=True)
class Case:
    below: tuple[Entry, ...]
    twin: tuple[Entry, ...]
    between: tuple[Entry, ...]

    @property
    def whole(self) -> list[bytes]:
        return [tar_of(part) for part in (self.below, self.twin, self.between, self.twin)]

    @property
    def last(self) -> list[bytes]:
        return [tar_of(part) for part in (self.below, self.between, self.twin)]

    @property
    def first(self) -> list[bytes]:
        return [tar_of(part) for part in (self.below, self.twin, self.between)]


def folder(path: str, mode: int = 0o755, **xattrs: str) -> Entry:
    return Entry(path, "dir", mode=mode, xattrs=tuple(sorted((f"user.{k}", v) for k, v in xattrs.items())))


def file(path: str, data: str = "x", mode: int = 0o644) -> Entry:
    return Entry(path, "file", data, mode)


def hidden(path: str) -> Entry:
    return Entry(path, "whiteout")


def opaque(path: str) -> Entry:
    return Entry(path, "opaque")


def link(path: str, to: str) -> Entry:
    return Entry(path, "symlink", to)


def hard(path: str, to: str) -> Entry:
    return Entry(path, "hardlink", to)


CASES = {
    "its file is overwritten in between": Case((), (file("f", "v1"),), (file("f", "v2"),)),
    "its file is hidden in between": Case((file("f", "v0"),), (file("f", "v1"),), (hidden("f"),)),
    "its folder is hidden in between": Case(
        (file("d/old"),), (folder("d", 0o700), file("d/f")), (hidden("d"), file("other"))
    ),
    "its folder is a file in between": Case((file("d/old"),), (folder("d"), file("d/f")), (file("d"),)),
    "its folder, which no entry makes, is a file in between": Case((file("d/old"),), (file("d/f"),), (file("d"),)),
    "its folder is a link in between": Case(
        (file("d/old"), folder("e")), (folder("d"), file("d/f")), (link("d", "e"),)
    ),
    "its file is a folder in between": Case((), (file("d"),), (folder("d"), file("d/f"))),
    "its folder is opaque in between": Case((file("d/old"),), (file("d/f"),), (opaque("d"), file("d/g"))),
    "its folder has another mode and xattr in between": Case(
        (folder("d", 0o711, z="0"),), (folder("d", 0o700, a="1"),), (folder("d", 0o755, a="2"),)
    ),
    "a folder that no entry of it makes has another mode in between": Case(
        (folder("d", 0o711),), (file("d/f"),), (folder("d", 0o700), file("d/g"))
    ),
    "it hides a file that is made anew in between": Case((file("f", "v0"),), (hidden("f"),), (file("f", "v1"),)),
    "it hides a folder that is filled anew in between": Case(
        (file("d/old"),), (hidden("d"),), (folder("d", 0o700), file("d/new"))
    ),
    "it is opaque in a folder that is filled in between": Case(
        (file("d/old"),), (opaque("d"), file("d/f")), (file("d/g"), file("d/f", "v2"))
    ),
    "it replaces a folder that is filled in between": Case((file("d/old"),), (file("d"),), (file("d/new"),)),
    "one name of its hard links is overwritten in between": Case((), (file("f"), hard("g", "f")), (file("f", "v2"),)),
    "one name of its hard links is hidden in between": Case((), (file("f"), hard("g", "f")), (hidden("g"),)),
    "hard links in between have the names of its own": Case(
        (), (file("f"), hard("g", "f")), (file("g", "v2"), hard("h", "g"))
    ),
    "its hard links are a folder in between": Case((), (file("f"), hard("g", "f")), (folder("g"), file("g/f"))),
    "its link is another link in between": Case((), (link("l", "a"),), (link("l", "b"),)),
    "its fifo and device are files in between": Case(
        (), (Entry("p", "fifo"), Entry("c", "char")), (file("p"), file("c"))
    ),
}


@pytest.mark.parametrize("name", CASES)
class TestTheLowerDuplicateSaysNothing:
    @pytest.mark.parametrize("implied", ["own", "below"])
    def test_where_layers_are_laid_over_each_other(self, name: str, implied: str) -> None:
        case = CASES[name]
        assert shown(laid_over(case.last, implied=implied)) == shown(laid_over(case.whole, implied=implied))

    def test_where_they_are_unpacked_into_each_other(self, name: str) -> None:
        case = CASES[name]
        assert shown(unpacked_into(case.last)) == shown(unpacked_into(case.whole))


class TestTheUpperDuplicate:
    def test_says_something_in_nearly_every_case(self) -> None:
        """So it is not the first that stays, and the cases above are such that could go wrong."""
        differ = [name for name, case in CASES.items() if shown(laid_over(case.first)) != shown(laid_over(case.whole))]
        assert len(differ) >= len(CASES) - 1


class TestALayerThatReachesIntoLowerOnes:
    """Where layers are unpacked into each other, there are two ways to see the lower duplicate."""

    linked_down = Case((file("f", "v0"),), (file("f", "v1"),), (hard("g", "f"),))
    behind_a_link = Case((folder("d"), folder("e")), (link("d", "e"),), (file("d/f"),))
    no_longer_a_link = Case((link("d", "e"), folder("e")), (folder("d"),), (file("d/f"),))

    def test_a_hard_link_to_a_file_of_a_lower_layer(self) -> None:
        with pytest.raises(Refused, match="no file here"):  # overlayfs runtimes do not unpack such a layer
            laid_over(self.linked_down.whole)
        before, after = unpacked_into(self.linked_down.whole), unpacked_into(self.linked_down.last)
        assert (before["g"].data, after["g"].data) == (b"v1", b"v0")

    @pytest.mark.parametrize("case", [behind_a_link, no_longer_a_link])
    def test_a_file_behind_a_link_of_a_lower_layer(self, case: Case) -> None:
        assert shown(laid_over(case.last)) == shown(laid_over(case.whole))
        assert self.files(unpacked_into(case.last)) != self.files(unpacked_into(case.whole))

    @staticmethod
    def files(tree: Tree) -> list[str]:
        return sorted(path for path, node in tree.items() if node.kind == "file")
