"""Generated images, repaired: the file tree is the same, whole, and the documents are what a runtime wants."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import small_images as make
from hypothesis import assume, given
from hypothesis import strategies as st
from layer_trees import Entry, Refused, Tree, laid_over, shown, tar_of, unpacked_into

from airflow_batchstream.core.images import rewrite
from airflow_batchstream.core.images.layer_rules import empty_diff_ids
from airflow_batchstream.core.images.manifest import LINUX_AMD64, Image, ManifestError, read_config, read_manifest
from airflow_batchstream.core.images.model import Manifest
from airflow_batchstream.core.images.reference import parse

PATHS = [*"ab", *(f"{x}/{y}" for x in "ab" for y in "ab"), "a/b/a", "a/b/b", "b/a/a"]
TYPES = {"gzip": make.OCI_LAYER, "plain": "application/vnd.oci.image.layer.v1.tar"}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip -1": lambda data: gzip.compress(data, 1, mtime=0),
    "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
    "gzip, two members": lambda data: gzip.compress(data[:512], mtime=0) + gzip.compress(data[512:], mtime=0),
    "plain": lambda data: data,
}


@dataclass(frozen=True)
class Generated:
    """An image's documents and blobs."""

    media_type: str
    manifest: bytes
    config: bytes
    blobs: dict[str, bytes]


@st.composite
def entries(draw: st.DrawFn, *, follows: bool) -> list[Entry]:
    """A layer. Nothing stands below something that is no folder.

    :param follows: links of folders too, which entries of other layers may lie behind.
    """
    found: list[Entry] = []
    for path in draw(st.lists(st.sampled_from(PATHS), unique=True, max_size=6)):
        if any(path.startswith(f"{e.path}/") and e.kind not in ("dir", "opaque", "whiteout") for e in found):
            continue
        kinds = ["dir", "file", "file", "whiteout", "opaque", "fifo", "char", "hardlink"]
        if not any(e.path.startswith(f"{path}/") for e in found):
            kinds += ["symlink"] if follows or path.count("/") == 2 else []
        else:
            kinds = ["dir", "whiteout", "opaque"]
        if not follows and path.count("/") == 2:  # its marker lies in the folder, which may be a link elsewhere
            kinds.remove("opaque")
        kind = draw(st.sampled_from(kinds))
        files = [e.path for e in found if e.kind == "file"]
        data = draw(st.sampled_from(["", "x", "y"]))
        if kind == "symlink":
            data = draw(st.sampled_from(["/b", "b", "a/b", "/nowhere", "../b"]))
        if kind == "hardlink":
            if not files:
                continue
            data = draw(st.sampled_from(files))
        mode, uid = draw(st.sampled_from([0o644, 0o700, 0o4755])), draw(st.sampled_from([0, 1000]))
        xattrs = draw(st.sampled_from([(), (("user.a", "1"),), (("user.a", "2"), ("security.capability", "z"))]))
        found.append(Entry(path, kind, data, mode, uid, xattrs))
    hides = [e for e in found if e.kind in ("whiteout", "opaque")]
    return [e for e in hides if e.kind == "whiteout"] + [e for e in found if e not in hides or e.kind == "opaque"]


@st.composite
def images(draw: st.DrawFn, *, follows: bool) -> Generated:
    """An image with layers that come back, as they are or compressed otherwise, and empty ones between them."""
    pool = [tar_of(draw(entries(follows=follows))) for _ in range(draw(st.integers(1, 4)))]
    empties = [bytes(512 * count) for count in (0, 2, 20, 33)]
    tars = draw(st.lists(st.one_of(st.sampled_from(pool), st.sampled_from(empties)), min_size=1, max_size=8))
    ways = [draw(st.sampled_from(sorted(PACK))) for _ in tars]
    packed = [PACK[way](data) for way, data in zip(ways, tars, strict=True)]
    steps: list[dict[str, Any]] = []
    for number in range(len(tars)):
        steps += [{"created_by": f"ENV {number}", "empty_layer": True}] * draw(st.integers(0, 1))
        steps.append({"created_by": f"step {number}"} | draw(st.sampled_from([{}, {"empty_layer": False}])))
    made = make.image(tars, compressed=packed, history=draw(st.sampled_from([steps, []])))
    manifest = json.loads(made.body)
    for row, way in zip(manifest["layers"], ways, strict=True):
        row["mediaType"] = TYPES["plain" if way == "plain" else "gzip"]
    return Generated(made.media_type, make.as_json(manifest), made.blobs[manifest["config"]["digest"]], made.blobs)


def read(image: Generated) -> Image:
    manifest = read_manifest(image.media_type, image.manifest)
    assert isinstance(manifest, Manifest)
    return Image(parse("a.example/i"), "", "", LINUX_AMD64, manifest, read_config(image.config))


def plan(image: Generated) -> list[rewrite.Dropped]:
    layers = read(image).layers
    return rewrite.plan(layers, {layer.index for layer in layers if layer.diff_id in empty_diff_ids()})


def repaired(image: Generated) -> Generated:
    """The image after the repair; itself if it needs none."""
    dropped = plan(image)
    if not dropped:
        return image
    assume(len(dropped) < len(read(image).layers))
    new = rewrite.rewrite(image.media_type, image.manifest, image.config, dropped, source="sha256:" + "0" * 64)
    return Generated(new.media_type, new.manifest, new.config, image.blobs | {new.config_digest: new.config})


def tars(image: Generated) -> list[bytes]:
    """The layers as the manifest names them, unpacked, each checked against the config's diff id."""
    found = []
    diff_ids = json.loads(image.config)["rootfs"]["diff_ids"]
    for row, diff_id in zip(json.loads(image.manifest)["layers"], diff_ids, strict=True):
        blob = image.blobs[row["digest"]]
        assert len(blob) == row["size"]
        data = gzip.decompress(blob) if row["mediaType"].endswith("gzip") else blob
        assert make.sha256(data) == diff_id
        found.append(data)
    return found


def same(apply: Callable[[Sequence[bytes]], Tree], image: Generated) -> None:
    try:
        before = shown(apply(tars(image)))
    except Refused:
        assume(False)
    assert shown(apply(tars(repaired(image)))) == before


class TestTheFileTreeStaysTheSame:
    @pytest.mark.parametrize("implied", ["own", "below"])
    @given(image=images(follows=True))
    def test_where_layers_are_laid_over_each_other(self, image: Generated, implied: str) -> None:
        same(partial(laid_over, implied=implied), image)

    @given(image=images(follows=False))
    def test_where_layers_are_unpacked_into_each_other_and_no_entry_lies_behind_a_link(self, image: Generated) -> None:
        same(unpacked_into, image)


class TestTheDocuments:
    @given(image=images(follows=True))
    def test_have_no_empty_and_no_duplicate_layer_left(self, image: Generated) -> None:
        new = repaired(image)
        layers = read(new).layers
        assert plan(new) == []
        assert len({layer.diff_id for layer in layers}) == len({layer.blob.digest for layer in layers}) == len(layers)
        assert not any(layer.diff_id in empty_diff_ids() for layer in layers)

    @given(image=images(follows=True))
    def test_are_the_same_bytes_each_time(self, image: Generated) -> None:
        assert repaired(image) == repaired(image)

    @given(image=images(follows=True))
    def test_tell_of_as_many_steps_with_a_layer_as_there_are_layers(self, image: Generated) -> None:
        old, new = json.loads(image.config)["history"], json.loads(repaired(image).config)["history"]
        assert [step["created_by"] for step in new] == [step["created_by"] for step in old]
        if new:
            assert sum(step.get("empty_layer") is not True for step in new) == len(read(repaired(image)).layers)

    @given(image=images(follows=True))
    def test_keep_the_step_of_each_layer_that_stays(self, image: Generated) -> None:
        gone = {dropped.layer.index for dropped in plan(image)}
        before = [layer.created_by for layer in read(image).layers if layer.index not in gone]
        assert [layer.created_by for layer in read(repaired(image)).layers] == before


def test_an_image_of_nothing_but_empty_layers_is_not_made_into_one_without_layers() -> None:
    made = make.image([make.tar({}), bytes(1024)])
    image = Generated(made.media_type, made.body, next(b for d, b in made.blobs.items() if d in made.body.decode()), {})
    with pytest.raises(ManifestError, match="all its layers are empty"):
        rewrite.rewrite(image.media_type, image.manifest, image.config, plan(image), source="sha256:" + "0" * 64)
