"""Schema 1 read, its layers measured, and written as schema 2."""

from __future__ import annotations

import gzip
import json
import random
from itertools import pairwise
from typing import Any

import pytest
import small_images as make
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images.manifest import ManifestError, read_config, read_manifest
from airflow_batchstream.core.images.model import Manifest
from airflow_batchstream.core.images.schema1 import Measured, Measuring, convert, platform, read_steps

A = make.tar({"a": b"1" * 5000})


def measure(blob: bytes, piece: int = 1 << 16, **more: Any) -> Measured:
    measuring = Measuring(make.sha256(blob), **more)
    for start in range(0, len(blob), piece):
        measuring.feed(blob[start : start + piece])
    return measuring.done()


class TestALayerMeasured:
    @given(
        data=st.binary(max_size=3000), piece=st.integers(1, 500), members=st.integers(1, 3), padding=st.integers(0, 9)
    )
    def test_is_what_gzip_unpacks_however_it_arrives(self, data: bytes, piece: int, members: int, padding: int) -> None:
        cuts = [len(data) * n // members for n in range(members + 1)]
        parts = [data[a:b] for a, b in pairwise(cuts)]
        blob = b"".join(gzip.compress(part, mtime=0) for part in parts) + bytes(padding)
        assert gzip.decompress(blob) == data
        assert measure(blob, piece) == Measured(len(blob), make.sha256(data), len(data), True)

    @given(data=st.binary(max_size=300).filter(lambda data: not data.startswith(b"\x1f\x8b")), piece=st.integers(1, 50))
    def test_that_is_not_compressed_is_itself(self, data: bytes, piece: int) -> None:
        assert measure(data, piece) == Measured(len(data), make.sha256(data), len(data), False)

    def test_may_be_gzip_that_looks_back_over_32_kib(self) -> None:
        far = random.Random(1).randbytes(32_000) * 2
        assert len(make.gz(far)) < 40_000
        assert measure(make.gz(far)).diff_id == make.sha256(far)

    def test_with_other_bytes_than_its_digest_is_refused(self) -> None:
        measuring = Measuring(make.sha256(b"other"))
        measuring.feed(make.gz(A))
        with pytest.raises(ManifestError, match="has other bytes than its digest"):
            measuring.done()

    def test_that_ends_too_early_is_refused(self) -> None:
        with pytest.raises(ManifestError, match="ends too early"):
            measure(make.gz(A)[:-20])

    def test_that_is_damaged_is_refused(self) -> None:
        with pytest.raises(ManifestError, match="is damaged"):
            measure(make.gz(A)[:30] + b"\xff" * 60)

    def test_that_explodes_is_left_at_the_bound(self) -> None:
        bomb = gzip.compress(bytes(50_000_000), mtime=0)
        measuring = Measuring(make.sha256(bomb), largest=1_000_000)
        with pytest.raises(ManifestError, match="more than 1,000,000 bytes uncompressed"):
            measuring.feed(bomb)
        assert measuring._unpacked < 3_000_000

    def test_that_never_unpacks_to_anything_is_left_at_the_bound(self) -> None:
        nothing = gzip.compress(b"", mtime=0) * 100
        with pytest.raises(ManifestError, match="more than 1,000 bytes uncompressed"):
            measure(nothing, 500, largest=1_000)

    def test_counts_what_the_layers_before_it_took(self) -> None:
        assert measure(make.gz(A), largest=20_000, before=20_000 - len(A)).unpacked == len(A)
        assert measure(make.gz(A), largest=len(A)).unpacked == len(A)
        with pytest.raises(ManifestError, match=r"more than 20,000 .*: build and push it again, or convert it"):
            measure(make.gz(A), largest=20_000, before=20_001 - len(A))


def schema_1(*steps: tuple[str, dict[str, Any]]) -> bytes:
    """A manifest of steps, the lowest first, as (blob's digest, v1Compatibility)."""
    rows = [{"v1Compatibility": json.dumps(document)} for _, document in reversed(steps)]
    layers = [{"blobSum": digest} for digest, _ in reversed(steps)]
    return make.as_json({"schemaVersion": 1, "architecture": "amd64", "fsLayers": layers, "history": rows})


OLD = {
    "id": "i",
    "parent": "p",
    "Size": 5,
    "created": "2016-01-01T00:00:00Z",
    "container_config": {"Cmd": ["sh", "-c", "x"]},
}
TOP = OLD | {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=1"], "Cmd": ["run"]}, "throwaway": True}


class TestAnImageConverted:
    def converted(self) -> tuple[Manifest, dict[str, Any], bytes]:
        digest = make.sha256(make.gz(A))
        steps = read_steps(schema_1((digest, OLD), (make.sha256(b"gone"), TOP)))
        body, config = convert(steps, {digest: measure(make.gz(A))})
        manifest = read_manifest("", body)
        assert isinstance(manifest, Manifest)
        assert read_config(config).diff_ids == (make.sha256(A),)
        return manifest, json.loads(config), body

    def test_has_the_layers_that_are_not_thrown_away(self) -> None:
        manifest, _, body = self.converted()
        assert (manifest.schema, manifest.artifact, json.loads(body)["schemaVersion"]) == (2, "", 2)
        assert manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
        assert [(layer.digest, layer.size) for layer in manifest.layers] == [(make.sha256(make.gz(A)), len(make.gz(A)))]

    def test_is_for_the_platform_of_its_highest_step(self) -> None:
        steps = read_steps(schema_1((make.sha256(b"1"), OLD | {"os": "plan9"}), (make.sha256(b"2"), TOP)))
        assert str(platform(steps)) == "linux/amd64"

    def test_runs_as_its_highest_step_said(self) -> None:
        _, config, _ = self.converted()
        assert (config["os"], config["architecture"]) == ("linux", "amd64")
        assert config["config"] == {"Env": ["A=1"], "Cmd": ["run"]}
        assert not config.keys() & {"id", "parent", "Size", "throwaway"}

    def test_tells_its_steps(self) -> None:
        _, config, _ = self.converted()
        step = {"created": "2016-01-01T00:00:00Z", "created_by": "sh -c x"}
        assert config["history"] == [step, step | {"empty_layer": True}]

    @pytest.mark.parametrize(
        "body",
        [
            make.as_json({"schemaVersion": 1}),
            make.as_json({"fsLayers": [{"blobSum": make.sha256(b"")}], "history": []}),
            schema_1(("sha256:0", OLD)),
            make.as_json({"fsLayers": [{"blobSum": make.sha256(b"")}], "history": [{"v1Compatibility": "[]"}]}),
        ],
    )
    def test_is_refused_where_it_cannot_be_read(self, body: bytes) -> None:
        with pytest.raises(ManifestError):
            read_steps(body)
