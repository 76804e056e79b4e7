"""Layers from anybody: checked, unpacked, shared, and none of them leaves its root."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import tarfile
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from airflow_batchstream.core.images.manifest import LINUX_ARM64
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images.store import Store
from airflow_batchstream.emulator.images.unpack import Bundle, prepare
from airflow_batchstream.emulator.runtimes.rootfs import View, merge, remove_tree

AMD64 = os.uname().machine == "x86_64"
pytestmark = pytest.mark.skipif(not AMD64, reason="the images of these tests are for amd64")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def unpack(images: Any, store: Store, cache: Path) -> Any:
    """Unpacks an image of these layers."""

    def unpack(*tars: bytes, **more: Any) -> Bundle:
        return prepare(store, images.put(*tars, **more), cache)

    return unpack


def tree(bundle: Bundle, folder: Path) -> dict[str, str]:
    """The image in one folder: paths and what is there."""
    merge(bundle.rootfs.layers, folder, link=False)
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = path.read_text()
    return found


class TestChecks:
    def test_a_layer_that_was_changed_is_refused_and_nothing_stays(
        self, images: Any, store: Store, cache: Path, tars: Any
    ) -> None:
        layer = tars.tar(tars.entry("a", b"as it was"))
        reference = images.put(layer)
        store.blob(tars.sha(layer)).write_bytes(layer.replace(b"as it was", b"something"))
        with pytest.raises(ValueError, match="was changed on its way"):
            prepare(store, reference, cache)
        assert [path for path in (cache / "layers").iterdir() if path.is_dir()] == []

    def test_a_diff_id_that_is_not_the_tars_is_refused(self, unpack: Any, tars: Any) -> None:
        with pytest.raises(ValueError, match="layer's tar has the digest"):
            unpack(tars.tar(tars.entry("a", b"1")), diff_ids=[tars.sha(b"another")])

    def test_padding_behind_the_tar_counts(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        padded = tars.tar(tars.entry("a", b"1")) + bytes(1 << 20)
        assert tree(unpack(padded), tmp_path / "t") == {"a": "1"}

    def test_a_layer_that_is_cut_short_is_refused(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(tars.entry("a", b"1" * 100_000))
        with pytest.raises(ValueError, match=r"damaged|ends inside"):
            unpack(layer, blobs=[gzip.compress(layer)[:-30]])
        with pytest.raises(ValueError, match=r"damaged|ends inside"):
            unpack(layer[:60_000], tag="2")

    def test_what_is_no_tar_is_refused(self, unpack: Any) -> None:
        with pytest.raises(ValueError, match="no tar"):
            unpack(b"<html>not found</html>" * 100)

    @pytest.mark.parametrize("more", [b"", b"x" * 600])
    def test_a_header_that_is_cut_short_is_refused(self, unpack: Any, more: bytes) -> None:
        header = tarfile.TarInfo().create_pax_global_header({"comment": "a commit"})
        with pytest.raises(ValueError, match="no tar, or is damaged"):
            unpack((header + more)[:1100] if more else header[:700])

    def test_layers_and_diff_ids_must_be_as_many(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        with pytest.raises(ValueError, match="1 layers, but its config tells of 2"):
            unpack(layer, diff_ids=[tars.sha(layer)] * 2)

    def test_an_unknown_image_is_a_lookup_error(self, store: Store, cache: Path) -> None:
        with pytest.raises(LookupError, match="no repository us-docker"):
            prepare(store, parse("us-docker.pkg.dev/p/r/i:1"), cache)

    def test_an_image_without_layers_is_refused(self, unpack: Any) -> None:
        with pytest.raises(ValueError, match="no layers"):
            unpack()


class TestCompression:
    @pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
    def test_it_is_told_by_the_first_bytes(self, unpack: Any, tars: Any, tmp_path: Path, packed: Any) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        assert tree(unpack(layer, blobs=[packed(layer)]), tmp_path / "t") == {"a": "1"}

    def test_gzip_of_several_members(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        """As parallel gzips and eStargz write it."""
        layer = tars.tar(tars.entry("a", b"1"))
        packed = gzip.compress(layer[:700]) + gzip.compress(layer[700:])
        assert tree(unpack(layer, blobs=[packed]), tmp_path / "t") == {"a": "1"}

    @pytest.mark.parametrize("front", [b"", bytes.fromhex("502a4d1803000000") + b"abc"], ids=["", "skipped"])
    def test_zstd_of_several_frames(self, unpack: Any, tars: Any, tmp_path: Path, front: bytes) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        packed = front + zstd.compress(layer[:700]) + zstd.compress(layer[700:])
        assert tree(unpack(layer, blobs=[packed]), tmp_path / "t") == {"a": "1"}

    @pytest.mark.parametrize("log", [27, 28])
    def test_zstd_is_given_128_mib_to_look_back_over(self, unpack: Any, tars: Any, tmp_path: Path, log: int) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        packed = packer.compress(layer) + packer.flush()
        if log == 27:
            assert tree(unpack(layer, blobs=[packed]), tmp_path / "t") == {"a": "1"}
        else:
            with pytest.raises(ValueError, match="asks for more than 128 MiB at once"):
                unpack(layer, blobs=[packed])

    def test_damaged_zstd_is_refused(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(tars.entry("a", os.urandom(5000)))
        packed = zstd.compress(layer)
        for number, blob in enumerate((packed[:-30], packed[:-30] + bytes(30), packed + b"more")):
            with pytest.raises(ValueError, match="damaged"):
                unpack(layer, blobs=[blob], tag=str(number))

    def test_damaged_gzip_is_refused(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(tars.entry("a", os.urandom(5000)))
        packed = bytearray(zlib.compress(layer, wbits=31))
        packed[len(packed) // 2] ^= 0xFF
        with pytest.raises(ValueError, match=r"damaged|was changed"):
            unpack(layer, blobs=[bytes(packed)])


class TestLayersOverEachOther:
    def test_the_upper_one_wins(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        lower = tars.tar(tars.entry("a", b"1"), tars.folder("d"), tars.entry("d/x", b"x"), tars.symlink("l", "a"))
        upper = tars.tar(tars.entry("a", b"2"), tars.entry("d/y", b"y"), tars.entry("l", b"no link"))
        expected = {"a": "2", "d": "folder", "d/x": "x", "d/y": "y", "l": "no link"}
        assert tree(unpack(lower, upper), tmp_path / "t") == expected

    def test_whiteouts_hide_files_and_whole_folders(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        lower = tars.tar(
            tars.entry("a", b"1"), tars.entry("d/x", b"x"), tars.entry("d/e/y", b"y"), tars.entry("k", b"k")
        )
        upper = tars.tar(tars.entry(".wh.a"), tars.entry("d/.wh.e"))
        bundle = unpack(lower, upper)
        assert tree(bundle, tmp_path / "t") == {"d": "folder", "d/x": "x", "k": "k"}
        view = View(bundle.rootfs.layers)
        assert view.find("a") is None
        assert view.find("d/e/y") is None
        assert view.read("d/x") == b"x"

    def test_an_opaque_folder_hides_what_was_in_it(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        lower = tars.tar(tars.entry("d/x", b"x"), tars.entry("d/e/y", b"y"))
        upper = tars.tar(tars.entry("d/new", b"n"), tars.entry("d/.wh..wh..opq"))
        bundle = unpack(lower, upper)
        assert tree(bundle, tmp_path / "t") == {"d": "folder", "d/new": "n"}
        assert View(bundle.rootfs.layers).find("d/x") is None

    def test_a_folder_hidden_and_made_anew_holds_the_new_alone(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        lower = tars.tar(tars.entry("d/x", b"x"))
        upper = tars.tar(tars.entry(".wh.d"), tars.folder("d"), tars.entry("d/new", b"n"))
        assert tree(unpack(lower, upper), tmp_path / "t") == {"d": "folder", "d/new": "n"}

    def test_a_whiteout_of_something_that_never_was_is_fine(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        bundle = unpack(tars.tar(tars.entry("a", b"1")), tars.tar(tars.entry("no/.wh.such")))
        assert tree(bundle, tmp_path / "t") == {"a": "1", "no": "folder"}

    def test_a_link_replaced_by_a_folder_is_not_followed(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        lower = tars.tar(tars.symlink("d", str(tmp_path / "outside")))
        upper = tars.tar(tars.folder("d"), tars.entry("d/x", b"x"))
        assert tree(unpack(lower, upper), tmp_path / "t") == {"d": "folder", "d/x": "x"}
        assert list((tmp_path / "outside").iterdir()) == []

    def test_the_same_layer_twice_counts_once_and_last(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        one, two = tars.tar(tars.entry("a", b"1")), tars.tar(tars.entry("a", b"2"))
        bundle = unpack(one, two, one)
        assert len(bundle.rootfs.layers) == 2
        assert tree(bundle, tmp_path / "t") == {"a": "1"}

    def test_an_empty_layer_adds_nothing(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        header = tarfile.TarInfo().create_pax_global_header({"comment": "a commit"})
        for number, empty in enumerate((b"", bytes(1024), bytes(10240), header + bytes(1024))):
            bundle = unpack(tars.tar(tars.entry("a", b"1")), empty, tag=str(number))
            assert tree(bundle, tmp_path / str(number)) == {"a": "1"}

    def test_a_copy_and_a_folder_of_hard_links_are_alike(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        lower = tars.tar(tars.entry("a", b"1", mode=0o640), tars.hard_link("b", "a"), tars.folder("ro", mode=0o555))
        bundle = unpack(lower, tars.tar(tars.entry("ro/x", b"x"), tars.entry("c", b"c")))
        for link in (True, False):
            folder = tmp_path / f"link-{link}"
            merge(bundle.rootfs.layers, folder, link=link)
            assert (folder / "a").samefile(folder / "b")
            assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o640
            assert (folder / "ro/x").read_text() == "x"
            assert (folder / "a").samefile(bundle.rootfs.layers[0] / "a") is link
            remove_tree(folder)
            assert not folder.exists()


class TestLinks:
    def test_links_are_made_as_they_are(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        layer = tars.tar(
            tars.symlink("abs", "/etc/passwd"), tars.symlink("up", "../../../x"), tars.symlink("loop", "loop")
        )
        assert tree(unpack(layer), tmp_path / "t") == {
            "abs": "-> /etc/passwd",
            "up": "-> ../../../x",
            "loop": "-> loop",
        }

    def test_an_entry_behind_a_link_lands_where_it_leads_in_the_image(
        self, unpack: Any, tars: Any, tmp_path: Path
    ) -> None:
        layer = tars.tar(
            tars.folder("run"),
            tars.symlink("var/run", "/run"),
            tars.entry("var/run/x", b"x"),
            tars.symlink("lib", "usr/lib"),
            tars.folder("usr/lib"),
            tars.entry("lib/y", b"y"),
        )
        found = tree(unpack(layer), tmp_path / "t")
        assert (found["run/x"], found["usr/lib/y"], found["lib"]) == ("x", "y", "-> usr/lib")

    def test_a_view_follows_links_inside_the_image_alone(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(
            tars.entry("etc/passwd", b"of the image"),
            tars.symlink("a", "/etc"),
            tars.symlink("b", "../../../../etc/passwd"),
            tars.symlink("loop", "loop"),
        )
        view = View(unpack(layer).rootfs.layers)
        assert view.read("a/passwd") == b"of the image"
        assert view.read("b") == b"of the image"
        assert view.find("loop") is None
        assert view.find("etc/../a/passwd").path == "etc/passwd"  # type: ignore[union-attr]


class TestLeavingTheRoot:
    @pytest.mark.parametrize(
        "names",
        [
            ["../evil"],
            ["a/../../evil"],
            ["/../evil"],
            ["a/.."],
            [".wh..."],
            ["../.wh.evil"],
        ],
    )
    def test_a_name_with_two_dots_is_refused(self, unpack: Any, tars: Any, names: list[str], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"leaves the image's root|no name of a file"):
            unpack(tars.tar(*(tars.entry(name, b"x") for name in names)))
        assert not list(tmp_path.rglob("evil"))

    def test_a_leading_slash_means_the_images_root(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        assert tree(unpack(tars.tar(tars.entry("/etc/x", b"x"))), tmp_path / "t") == {"etc": "folder", "etc/x": "x"}

    @pytest.mark.parametrize("kind", ["file", "folder", "symlink", "hard link", "whiteout"])
    def test_an_entry_behind_a_link_that_leads_out_is_refused(
        self, unpack: Any, tars: Any, tmp_path: Path, kind: str
    ) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/victim").write_text("alive")
        out = tars.symlink("out", "../" * 12 + str(tmp_path / "outside").lstrip("/"))
        evil = {
            "file": tars.entry("out/victim", b"dead"),
            "folder": tars.folder("out/new"),
            "symlink": tars.symlink("out/new", "x"),
            "hard link": tars.hard_link("mine", "out/victim"),
            "whiteout": tars.entry("out/.wh.victim"),
        }[kind]
        with pytest.raises(ValueError, match="leaves the image's root through a link"):
            unpack(tars.tar(out, evil))
        assert [path.name for path in (tmp_path / "outside").iterdir()] == ["victim"]
        assert (tmp_path / "outside/victim").read_text() == "alive"

    @pytest.mark.parametrize("mark", ["d/.wh.new", "d/.wh..wh..opq"])
    def test_a_mark_in_a_folder_that_becomes_a_link_is_not_made_outside(
        self, unpack: Any, tars: Any, tmp_path: Path, mark: str
    ) -> None:
        """Marks are made at the end, when the link is there."""
        (tmp_path / "outside").mkdir()
        unpack(tars.tar(tars.entry(mark), tars.symlink("d", str(tmp_path / "outside"))))
        assert list((tmp_path / "outside").iterdir()) == []
        assert os.listxattr(tmp_path / "outside") == []

    def test_modes_of_a_folder_that_becomes_a_link_are_not_set_outside(
        self, unpack: Any, tars: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir(mode=0o755)
        unpack(tars.tar(tars.folder("d", mode=0o777, mtime=5), tars.symlink("d", str(tmp_path / "outside"))))
        assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o755
        assert (tmp_path / "outside").stat().st_mtime > 5

    def test_an_absolute_link_stays_inside(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        (tmp_path / "outside").mkdir()
        layer = tars.tar(tars.symlink("out", str(tmp_path / "outside")), tars.entry("out/x", b"x"))
        bundle = unpack(layer)
        assert list((tmp_path / "outside").iterdir()) == []
        assert View(bundle.rootfs.layers).read(str(tmp_path / "outside/x")) == b"x"

    def test_a_file_written_over_a_link_replaces_the_link(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("alive")
        layer = tars.tar(tars.symlink("x", str(tmp_path / "victim")), tars.entry("x", b"dead"))
        assert tree(unpack(layer), tmp_path / "t") == {"x": "dead"}
        assert (tmp_path / "victim").read_text() == "alive"

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "missing", "d", ""])
    def test_a_hard_link_to_what_the_layer_does_not_hold_is_refused(self, unpack: Any, tars: Any, target: str) -> None:
        with pytest.raises(ValueError, match=r"hard link|leaves the image's root|no folder"):
            unpack(tars.tar(tars.folder("d"), tars.hard_link("x", target)))

    def test_a_hard_link_to_a_link_is_one_to_the_link_itself(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("alive")
        layer = tars.tar(
            tars.symlink("l", str(tmp_path / "victim")), tars.hard_link("h", "l"), tars.entry("h", b"dead")
        )
        assert tree(unpack(layer), tmp_path / "t")["h"] == "dead"
        assert (tmp_path / "victim").read_text() == "alive"

    def test_an_entry_behind_a_loop_or_a_file_is_refused(self, unpack: Any, tars: Any) -> None:
        with pytest.raises(ValueError, match="loop of links"):
            unpack(tars.tar(tars.symlink("l", "l"), tars.entry("l/x", b"x")))
        with pytest.raises(ValueError, match="is no folder"):
            unpack(tars.tar(tars.entry("f", b"x"), tars.entry("f/x", b"x")), tag="2")

    def test_a_refused_layer_leaves_nothing(self, unpack: Any, tars: Any, cache: Path) -> None:
        with pytest.raises(ValueError, match="leaves"):
            unpack(tars.tar(tars.entry("good", b"x"), tars.entry("../evil", b"x")))
        assert not list(cache.rglob("good"))


class TestAttributes:
    def test_modes_and_times(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(
            tars.entry("tool", b"x", mode=0o755, mtime=1_000_000_000),
            tars.folder("d", mode=0o1777, mtime=1_000_000_000),
            tars.entry("d/x", b"x", mtime=-5),
        )
        root = unpack(layer).rootfs.layers[0]
        assert stat.S_IMODE((root / "tool").stat().st_mode) == 0o755
        assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777
        assert (root / "tool").stat().st_mtime == (root / "d").stat().st_mtime == 1_000_000_000
        assert (root / "d/x").stat().st_mtime == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
    def test_owners_are_kept_as_root(self, unpack: Any, tars: Any) -> None:
        layer = tars.tar(tars.entry("x", b"x", uid=4711, gid=815), tars.folder("d", uid=1000, gid=1000))
        root = unpack(layer).rootfs.layers[0]
        assert ((root / "x").stat().st_uid, (root / "x").stat().st_gid, (root / "d").stat().st_uid) == (4711, 815, 1000)

    def test_a_root_that_may_not_give_files_away_keeps_them_and_says_so(
        self, unpack: Any, tars: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As root of a user namespace that maps no other user."""

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "chown", refuse)
        bundle = unpack(tars.tar(tars.entry("x", b"x", uid=1000, mode=0), tars.entry("y", b"y", uid=1001, mode=0)))
        assert bundle.notes == ("owners are not kept (1 entries)",)
        assert (bundle.rootfs.layers[0] / "y").read_text() == "y"

    def test_set_user_id_bits_devices_and_extended_attributes_are_left_out_and_noted(
        self, unpack: Any, tars: Any
    ) -> None:
        capable = tars.entry("ping", b"x", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": "x"})
        layer = tars.tar(
            tars.entry("su", b"x", mode=0o6755),
            tars.entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
            tars.entry("disk", type=tarfile.BLKTYPE, devmajor=8),
            tars.entry("pipe", type=tarfile.FIFOTYPE),
            capable,
        )
        bundle = unpack(layer)
        root = bundle.rootfs.layers[0]
        assert stat.S_IMODE((root / "su").stat().st_mode) == 0o755
        assert sorted(path.name for path in root.iterdir()) == ["ping", "pipe", "su"]
        assert bundle.notes == (
            "device nodes are not made (2 entries)",
            "extended attributes are not kept (1 entries)",
            "set-user-id and set-group-id bits are not kept (1 entries)",
        )

    def test_names_that_are_no_text(self, unpack: Any, tars: Any) -> None:
        name = os.fsdecode(b"caf\xe9")
        root = unpack(tars.tar(tars.entry(name, b"x"))).rootfs.layers[0]
        assert os.listdir(os.fsencode(root)) == [b"caf\xe9"]  # noqa: PTH208  (bytes are wanted)

    def test_long_names_and_links(self, unpack: Any, tars: Any, tmp_path: Path) -> None:
        name = "/".join(["d" * 60] * 5)
        bundle = unpack(tars.tar(tars.entry(f"{name}/x", b"x"), tars.symlink("l", name)))
        assert View(bundle.rootfs.layers).read("l/x") == b"x"


class TestCache:
    def test_images_share_their_layers(self, unpack: Any, tars: Any, cache: Path) -> None:
        base = tars.tar(tars.entry("base", b"x"))
        one = unpack(base, tars.tar(tars.entry("a", b"1")), tag="1")
        two = unpack(base, tars.tar(tars.entry("b", b"2")), tag="2")
        assert one.rootfs.layers[0] == two.rootfs.layers[0]
        assert one.rootfs.merged != two.rootfs.merged
        assert len([path for path in (cache / "layers").iterdir() if path.is_dir()]) == 3

    def test_the_second_time_nothing_is_read(self, unpack: Any, tars: Any, store: Store) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        first = unpack(layer)
        store.blob(tars.sha(layer)).write_bytes(b"unreadable")
        assert unpack(layer, blobs=[layer]).rootfs == first.rootfs

    def test_many_at_once_unpack_once(self, images: Any, store: Store, cache: Path, tars: Any) -> None:
        reference = images.put(tars.tar(*(tars.entry(f"f{i}", b"x" * 1000) for i in range(300))))
        found: list[Bundle] = []
        threads = [threading.Thread(target=lambda: found.append(prepare(store, reference, cache))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({bundle.rootfs.layers for bundle in found}) == 1
        assert len(list(found[0].rootfs.layers[0].iterdir())) == 300

    def test_what_a_crash_left_is_no_hindrance(self, unpack: Any, tars: Any, cache: Path) -> None:
        layer = tars.tar(tars.entry("a", b"1"))
        part = cache / "layers" / (tars.sha(layer).replace(":", "-") + ".part")
        (part / "fs").mkdir(parents=True)
        (part / "fs/half").touch()
        (part / "fs").chmod(0)
        assert [path.name for path in unpack(layer).rootfs.layers[0].iterdir()] == ["a"]


class TestIndexes:
    @pytest.fixture
    def index(self, images: Any, store: Store, tars: Any) -> str:
        entries = []
        for architecture in ("arm64", "amd64"):
            reference = images.put(
                tars.tar(tars.entry(architecture, b"x")), tag=architecture, architecture=architecture
            )
            found = store.manifest(reference.name, architecture)
            entries.append(
                {
                    "mediaType": found.media_type,
                    "digest": found.digest,
                    "size": len(found.content),
                    "platform": {"os": "linux", "architecture": architecture},
                }
            )
        kind = "application/vnd.oci.image.index.v1+json"
        content = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        store.put_manifest(images.name, "both", kind, content)
        return f"{images.name}:both"

    def test_this_machines_image_is_taken(self, index: str, store: Store, cache: Path, images: Any) -> None:
        bundle = prepare(store, parse(index), cache)
        assert [path.name for path in bundle.rootfs.layers[0].iterdir()] == ["amd64"]
        assert bundle.digest == store.manifest(images.name, "amd64").digest

    def test_another_platform_can_be_asked_for(self, index: str, store: Store, cache: Path) -> None:
        bundle = prepare(store, parse(index), cache, LINUX_ARM64)
        assert [path.name for path in bundle.rootfs.layers[0].iterdir()] == ["arm64"]

    def test_what_is_missing_is_named_with_what_is_there(self, index: str, store: Store, cache: Path) -> None:
        from airflow_batchstream.core.images.manifest import Platform

        with pytest.raises(ValueError, match=r"no image for linux/riscv64, only for: linux/amd64, linux/arm64"):
            prepare(store, parse(index), cache, Platform("linux", "riscv64"))


class TestConfig:
    def test_it_is_the_images_own(self, images: Any, store: Store, cache: Path, tars: Any) -> None:
        images.config = {"Cmd": ["a", "b"], "Env": ["A=1"], "User": "1000", "WorkingDir": "/w"}
        bundle = prepare(store, images.put(tars.tar(tars.entry("a", b"1"))), cache)
        assert bundle.config == images.config
