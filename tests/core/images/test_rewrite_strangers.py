"""Documents by strangers, rewritten: a result or an error of ours, never another one."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import small_images as make
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images import rewrite, schema1
from airflow_batchstream.core.images.manifest import (
    LINUX_AMD64,
    Image,
    Index,
    ManifestError,
    digest_of,
    read_config,
    read_manifest,
)
from airflow_batchstream.core.images.reference import parse

DIGESTS = [make.sha256(b"a"), make.sha256(b"b"), "sha512:" + "0" * 128]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(DIGESTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ROW = st.fixed_dictionaries(
    {"mediaType": st.sampled_from([make.OCI_LAYER, make.OCI_MANIFEST]), "digest": st.sampled_from(DIGESTS)},
    optional={"size": st.integers(-1, 5), "annotations": VALUES, "urls": VALUES, "platform": VALUES, "data": VALUES},
)
MANIFEST = st.fixed_dictionaries(
    {"config": ROW, "layers": st.lists(ROW | VALUES, max_size=4) | VALUES},
    optional={"mediaType": st.sampled_from([make.OCI_MANIFEST, ""]), "annotations": VALUES, "x": VALUES},
)
DIFF_IDS = st.lists(st.sampled_from(DIGESTS), max_size=4)
CONFIG = st.fixed_dictionaries(
    {"rootfs": st.fixed_dictionaries({"diff_ids": DIFF_IDS}) | VALUES},
    optional={
        "config": st.fixed_dictionaries({"Labels": VALUES}) | VALUES,
        "history": st.lists(st.fixed_dictionaries({}, optional={"empty_layer": VALUES}), max_size=4) | VALUES,
    },
)
INDEX = st.fixed_dictionaries(
    {"manifests": st.lists(ROW | VALUES, max_size=4) | VALUES}, optional={"annotations": VALUES}
)
STEP = st.fixed_dictionaries({}, optional={"v1Compatibility": VALUES.map(json.dumps) | VALUES})
SCHEMA_1 = st.fixed_dictionaries(
    {
        "fsLayers": st.lists(st.fixed_dictionaries({"blobSum": st.sampled_from(DIGESTS)}) | VALUES, max_size=3),
        "history": st.lists(STEP | VALUES, max_size=3) | VALUES,
    }
)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(manifest=MANIFEST, config=CONFIG)
def test_manifest_and_config(manifest: Any, config: Any) -> None:
    with contextlib.suppress(ManifestError):
        read = read_manifest("", body(manifest))
        assert not isinstance(read, Index)
        image = Image(parse("a.example/i"), "", "", LINUX_AMD64, read, read_config(body(config)))
        dropped = rewrite.plan(image.layers, {0})
        if not rewrite.unrepairable(image) and dropped:
            new = rewrite.rewrite(read.media_type, body(manifest), body(config), dropped, source=DIGESTS[0])
            again = read_manifest(new.media_type, new.manifest)
            assert not isinstance(again, Index)
            assert again.config is not None
            assert again.config.digest == digest_of(new.config)
            assert len(again.layers) == len(read_config(new.config).diff_ids) == len(image.layers) - len(dropped)


@given(index=INDEX)
def test_an_index(index: Any) -> None:
    with contextlib.suppress(ManifestError):
        read_manifest("", body(index))
        new, _ = rewrite.rewrite_index("", body(index), {DIGESTS[0]: b"{}"}, [DIGESTS[1]], source=DIGESTS[0])
        assert isinstance(read_manifest("", new), Index)


@given(manifest=SCHEMA_1)
def test_schema_1(manifest: Any) -> None:
    with contextlib.suppress(ManifestError):
        steps = schema1.read_steps(body(manifest))
        measured = {digest: schema1.Measured(1, make.sha256(b""), 1, True) for digest in DIGESTS}
        new, config = schema1.convert(steps, measured)
        assert not isinstance(read_manifest("", new), Index)
        json.loads(config)
