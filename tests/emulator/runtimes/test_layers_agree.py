"""Whatever layers say, all ways to see them agree: overlayfs, a copy, a folder of hard links, a view without mounts."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from airflow_batchstream.emulator.images.layer import LayerError, LayerWriter
from airflow_batchstream.emulator.runtimes.base import Rootfs, Runtime
from airflow_batchstream.emulator.runtimes.rootfs import View, merge, remove_tree

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ENTRIES = st.one_of(
    st.tuples(st.just("file"), PATHS, st.sampled_from(["1", "2"])),
    st.tuples(st.just("folder"), PATHS, st.just("")),
    st.tuples(st.just("link"), PATHS, st.sampled_from(["a", "/t/b", "b/c", "."])),
    st.tuples(st.just("hide"), PATHS, st.just("")),
    st.tuples(st.just("opaque"), PATHS, st.just("")),
)
LAYERS = st.lists(st.lists(ENTRIES, max_size=6), min_size=1, max_size=3)


def layer(folder: Path, entries: list[tuple[str, str, str]]) -> Path:
    """Unpack one layer; all of it lies in ``/t``."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for kind, path, text in entries:
            info = tarfile.TarInfo(f"t/{path}")
            info.mode = 0o755
            if kind == "folder":
                info.type = tarfile.DIRTYPE
            elif kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, text
            elif kind == "hide":
                parent, _, name = path.rpartition("/")
                info.name = f"t/{parent}/.wh.{name}"
            elif kind == "opaque":
                info.name = f"t/{path}/.wh..wh..opq"
            content = text.encode() if kind == "file" else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    folder.mkdir()
    LayerWriter(folder).fill(file)  # type: ignore[arg-type]
    return folder / "fs"


def seen_in(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
    return found


@pytest.fixture(scope="module")
def folder() -> Any:
    made = Path(tempfile.mkdtemp(prefix="batchstream-layers-"))
    yield made
    remove_tree(made)


SLOW_BUT_FINE = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class TestAllWaysAgree:
    @SLOW_BUT_FINE
    @given(layers=LAYERS)
    def test_overlayfs_copy_links_and_view(
        self, layers: list[list[tuple[str, str, str]]], isolating: Runtime, run: Any, image: Rootfs, folder: Path
    ) -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            made = tuple(layer(place / str(i), entries) for i, entries in enumerate(layers))
        except LayerError:
            assume(False)
        for link in (True, False):
            merge(made, place / f"merged-{link}", link=link)
        copied = seen_in(place / "merged-False")
        assert seen_in(place / "merged-True") == copied
        view = View(made)
        for path, shown in copied.items():
            if not shown.startswith("->") and not any(copied[str(p)].startswith("->") for p in Path(path).parents[:-1]):
                found = view.find(path)
                assert found is not None, path
                assert found.path == path
        ran = run.sh(
            isolating,
            "cd /t 2>/dev/null && find . -mindepth 1 -printf '%P\\t%y\\t%l\\n'",
            rootfs=Rootfs((*image.layers, *made), place / "unused"),
        )
        mounted = {}
        for line in ran.text.splitlines():
            path, kind, target = line.split("\t")
            mounted[f"t/{path}"] = {"d": "folder", "l": f"-> {target}"}.get(kind, "file")
        expected = {
            path: shown if shown == "folder" or shown.startswith("->") else "file"
            for path, shown in copied.items()
            if path != "t"
        }
        assert mounted == expected
        shutil.rmtree(place)
