"""Layers of zstd over the wire: Google says nothing of them, an empty or a double one is that all the same."""

from __future__ import annotations

import asyncio
import random
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import small_images as make
from backports import zstd
from writable_registry import WritableRegistry

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.layers import Inside
from airflow_batchstream.services.repair import repair
from airflow_batchstream.services.scan import scan

NAME = "us-docker.pkg.dev/acme/batch/train"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
A, B = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000})
HEADERS_ONLY = tarfile.TarInfo().create_pax_global_header({"comment": "a commit"}) + bytes(1024)
LONG = bytes(60 * 1024**2)
CHECKED = {int(zstd.CompressionParameter.checksum_flag): 1}
EMPTY, TWICE, FORMAT = "image-no-empty-layers", "image-no-duplicate-layers", "image-layer-formats"

Verdicts = Callable[..., dict[str, Verdict]]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path) as one:
        yield one


@pytest.fixture
def verdicts(registry: WritableRegistry) -> Verdicts:
    """Scan an image: what did not hold, by rule."""

    def go(name: str = f"{NAME}:1") -> dict[str, Verdict]:
        found = asyncio.run(scan(name, region="us-central1", endpoint=Endpoint.local(registry.address)))
        return {one.rule: one.verdict for one in found.findings if one.verdict is not Verdict.HOLDS}

    return go


def image(layers: Sequence[bytes], packed: Sequence[bytes] = (), media_type: str = ZSTD) -> make.Made:
    return make.image(layers, compressed=packed or [zstd.compress(data) for data in layers], layer_type=media_type)


class TestAnImageOfZstdLayers:
    def test_could_not_be_told(self, registry: WritableRegistry, verdicts: Verdicts) -> None:
        registry.put(NAME, image([A, B]))
        assert verdicts() == {FORMAT: Verdict.UNKNOWN}

    @pytest.mark.parametrize("media_type", [ZSTD, make.OCI_LAYER], ids=["zstd", "wrong type"])
    @pytest.mark.parametrize("empty", [b"", bytes(1024), LONG, HEADERS_ONLY], ids=["0", "1024", "60 MiB", "headers"])
    def test_with_an_empty_one_does_not_stream(
        self, registry: WritableRegistry, verdicts: Verdicts, empty: bytes, media_type: str
    ) -> None:
        registry.put(NAME, image([A, empty, B], media_type=media_type))
        assert verdicts()[EMPTY] is Verdict.BROKEN

    def test_with_one_content_in_two_compressions_does_not_stream(
        self, registry: WritableRegistry, verdicts: Verdicts
    ) -> None:
        registry.put(NAME, image([B, A, B], [zstd.compress(B), zstd.compress(A), zstd.compress(B, options=CHECKED)]))
        assert verdicts()[TWICE] is Verdict.BROKEN
        registry.put(NAME, image([B, A, B], [zstd.compress(B), zstd.compress(A), make.gz(B)]))
        assert verdicts()[TWICE] is Verdict.BROKEN

    def test_with_one_that_asks_for_too_much_memory_could_not_be_told(
        self, registry: WritableRegistry, verdicts: Verdicts
    ) -> None:
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 31})
        registry.put(NAME, image([A, LONG], [zstd.compress(A), packer.compress(LONG) + packer.flush()]))
        assert verdicts() == {EMPTY: Verdict.UNKNOWN, FORMAT: Verdict.UNKNOWN}

    def test_beyond_the_layers_that_are_read_could_not_be_told(self, registry: WritableRegistry) -> None:
        noise = random.Random(1).randbytes
        registry.put(NAME, image([make.tar({f"file{i}": noise(300)}) for i in range(10)]))
        found = asyncio.run(scan(f"{NAME}:1", region="us-central1", endpoint=Endpoint.local(registry.address)))
        assert list(found.looked_into.values()) == [Inside.ENTRIES] * 8
        (finding,) = [one for one in found.findings if one.rule == EMPTY]
        assert (finding.verdict, finding.value) == (Verdict.UNKNOWN, 2)


class TestTheRepair:
    def test_leaves_empty_and_double_ones_out_and_the_others_as_they_are(
        self, registry: WritableRegistry, verdicts: Verdicts
    ) -> None:
        registry.put(NAME, image([A, LONG, HEADERS_ONLY, B, bytes(1024), A]))
        done = asyncio.run(repair(f"{NAME}:1", f"{NAME}:2", endpoint=Endpoint.local(registry.address)))
        assert [(one.layer.index, one.why) for one in done.parts[0].dropped] == [
            (0, "duplicate"), (1, "empty"), (2, "empty"), (4, "empty"),
        ]  # fmt: skip
        rows = registry.document(NAME, "2")["layers"]
        assert [(row["digest"], row["mediaType"]) for row in rows] == [
            (make.sha256(zstd.compress(data)), ZSTD) for data in (B, A)
        ]
        assert registry.config(NAME, "2")["rootfs"]["diff_ids"] == [make.sha256(data) for data in (B, A)]
        assert verdicts(f"{NAME}:2") == {FORMAT: Verdict.UNKNOWN}
