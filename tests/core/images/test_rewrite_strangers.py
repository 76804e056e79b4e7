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
LAYER = {"mediaType": make.OCI_LAYER, "size": 3, "annotations": {"a": "b"}}


@st.composite
def spoiled(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> Any:
    """A document with up to two places in it that are something else, or gone."""
    document = json.loads(json.dumps(draw(valid)))
    for _ in range(draw(st.integers(0, 2))):
        here = document
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(here[key], dict | list) and draw(st.booleans()):
                here = here[key]
                continue
            if draw(st.booleans()) and isinstance(here, dict):
                del here[key]
            else:
                here[key] = draw(VALUES)
            break
    return document


CONTENTS = st.shared(st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=4), key="contents")
LAYERS = CONTENTS.map(lambda digests: [LAYER | {"digest": digest} for digest in digests])
MANIFEST = st.builds(
    lambda layers: {
        "mediaType": make.OCI_MANIFEST,
        "config": {"mediaType": make.OCI_CONFIG, "digest": DIGESTS[0], "size": 2, "data": "e30="},
        "layers": layers,
        "annotations": {"a": "b"},
    },
    LAYERS,
)
CONFIG = st.builds(
    lambda diff_ids, history: {
        "os": "linux",
        "config": {"Labels": {"a": "b"}},
        "rootfs": {"diff_ids": diff_ids},
        "history": history,
    },
    CONTENTS,
    st.lists(st.sampled_from([{"created_by": "x"}, {"empty_layer": True}]), max_size=4),
)
INDEX = st.builds(
    lambda layers: {"manifests": [row | {"mediaType": make.OCI_MANIFEST} for row in layers], "annotations": {}}, LAYERS
)
STEP = st.builds(
    lambda old: {"v1Compatibility": json.dumps(old)},
    spoiled(st.just({"id": "1", "created": "x", "container_config": {"Cmd": ["a"]}, "throwaway": False})),
)
SCHEMA_1 = st.builds(
    lambda steps: {"fsLayers": [{"blobSum": DIGESTS[0]} for _ in steps], "history": steps},
    st.lists(STEP, min_size=1, max_size=3),
)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(manifest=spoiled(MANIFEST), config=spoiled(CONFIG))
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


@given(index=spoiled(INDEX))
def test_an_index(index: Any) -> None:
    with contextlib.suppress(ManifestError):
        read_manifest("", body(index))
        new, _ = rewrite.rewrite_index("", body(index), {DIGESTS[0]: b"{}"}, [DIGESTS[1]], source=DIGESTS[0])
        assert isinstance(read_manifest("", new), Index)


@given(manifest=spoiled(SCHEMA_1))
def test_schema_1(manifest: Any) -> None:
    with contextlib.suppress(ManifestError):
        steps = schema1.read_steps(body(manifest))
        measured = {digest: schema1.Measured(1, make.sha256(b""), 1, True) for digest in DIGESTS}
        new, config = schema1.convert(steps, measured)
        assert not isinstance(read_manifest("", new), Index)
        json.loads(config)
