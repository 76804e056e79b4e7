"""Images of schema 1 in the local Batch's registry, repaired into schema 2."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_images as make
from writable_registry import WritableRegistry

from airflow_batchstream.clients.registry_write import WritableRegistry as Client
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images import rewrite
from airflow_batchstream.core.images.documents import ManifestError
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.repaired import Repair, table
from airflow_batchstream.services.repair import repair
from airflow_batchstream.services.repair_plan import Plan, Planner
from airflow_batchstream.services.scan import scan

NAME, OTHER = "us-docker.pkg.dev/acme/batch/old", "us-docker.pkg.dev/acme/elsewhere/old"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000}), make.tar({})
TOP = {"architecture": "amd64", "os": "linux", "created": "2016-01-01T00:00:00Z", "config": {"Cmd": ["run"]}}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path) as one:
        yield one


def put(at: WritableRegistry, *layers: bytes, packed: list[bytes] | None = None) -> str:
    """An image of these layers, the lowest first; its digest."""
    blobs = packed or [make.gz(layer) for layer in layers]
    steps: list[dict[str, Any]] = [
        {"id": str(i), "container_config": {"Cmd": [f"step {i}"]}} for i in range(len(blobs))
    ]
    steps[-1] |= TOP
    body = make.as_json(
        {
            "schemaVersion": 1,
            "name": "acme/batch/old",
            "tag": "1",
            "architecture": "amd64",
            "fsLayers": [{"blobSum": make.sha256(blob)} for blob in reversed(blobs)],
            "history": [{"v1Compatibility": json.dumps(step)} for step in reversed(steps)],
        }
    )
    made = at.put(NAME, make.Made(SCHEMA_1, body, {make.sha256(blob): blob for blob in blobs}))
    return made.digest


class TestAnImageOfMoreLayersThanAnyHas:
    def test_is_refused_before_a_layer_is_asked_for(self, registry: WritableRegistry) -> None:
        put(registry, *(make.tar({str(i): b"1"}) for i in range(129)))
        registry.seen.clear()
        with pytest.raises(ImageRefused, match="it has 129 layers, and 128 are read at most"):
            mend(registry)
        assert len(registry.seen) < 5


def mend(at: WritableRegistry, target: str = f"{NAME}:2", **more: Any) -> Repair:
    return asyncio.run(repair(f"{NAME}:1", target, endpoint=Endpoint.local(at.address), **more))


class TestAnImageOfSchema1:
    def test_becomes_one_of_schema_2_that_may_be_streamed(self, registry: WritableRegistry) -> None:
        digest = put(registry, A, B)
        endpoint = Endpoint.local(registry.address)
        done = mend(registry)
        assert asyncio.run(scan(done.pinned, region="us-central1", endpoint=endpoint)).verdict is Verdict.HOLDS
        config = registry.config(NAME, "2")
        assert config["rootfs"]["diff_ids"] == [make.sha256(A), make.sha256(B)]
        assert config["config"]["Cmd"] == ["run"]
        assert config["config"]["Labels"] == {
            rewrite.REPAIRED_FROM: digest,
            rewrite.REPAIRED: "converted from schema 1",
        }

    def test_loses_its_empty_and_duplicate_layers_on_the_way(self, registry: WritableRegistry) -> None:
        put(registry, A, EMPTY, B, A)
        done = mend(registry)
        assert [layer["digest"] for layer in registry.document(NAME, "2")["layers"]] == [
            make.sha256(make.gz(B)),
            make.sha256(make.gz(A)),
        ]
        words = "converted from schema 1; dropped 1 empty layer and 1 duplicate layer"
        assert registry.config(NAME, "2")["config"]["Labels"][rewrite.REPAIRED] == words
        assert "4 layers, converted from schema 1, 1 empty layer and 1 duplicate layer dropped" in " ".join(
            " ".join(table(done)).split()
        )

    def test_says_before_how_much_it_reads(self, registry: WritableRegistry) -> None:
        put(registry, A, B, A)
        said: list[str] = []
        mend(registry, say=said.append)
        size = len(make.gz(A)) + len(make.gz(B))
        assert said == [
            f"{NAME}:1 is of schema 1, which does not tell what its layers are: reading 2 layers, {size:,} bytes."
        ]

    def test_for_another_platform_is_refused_before_anything_is_read(self, registry: WritableRegistry) -> None:
        put(registry, A)
        with pytest.raises(ImageRefused, match="not there for linux/arm64; it is for linux/amd64"):
            mend(registry, platforms=["linux/arm64"])
        assert not [told for told in registry.seen if "/blobs/" in told.path]

    @pytest.mark.parametrize("largest", [len(A + B), len(A + B) - 1])
    def test_has_a_bound_on_what_all_its_layers_are_uncompressed(
        self, registry: WritableRegistry, largest: int
    ) -> None:
        put(registry, A, B, A)

        async def plan() -> Plan:
            async with Client(Endpoint.local(registry.address).emulator, None) as client:
                return await Planner(client, parse(f"{NAME}:1"), (), lambda _: None, largest).plan()

        if largest == len(A + B):
            assert asyncio.run(plan()).parts[0].converted
        else:
            with pytest.raises(ManifestError, match=f"more than {largest:,} bytes uncompressed up to sha256:"):
                asyncio.run(plan())

    def test_has_its_layers_read_and_not_moved(self, registry: WritableRegistry) -> None:
        put(registry, A, B)
        done = mend(registry, f"{OTHER}:2")
        assert (done.mounted, done.copied) == (2, 0)

    def test_gives_the_same_digest_each_time(self, registry: WritableRegistry) -> None:
        put(registry, A, B)
        assert mend(registry).digest == mend(registry, f"{OTHER}:x").digest

    def test_with_a_layer_that_is_not_compressed(self, registry: WritableRegistry) -> None:
        put(registry, A, B, packed=[A, make.gz(B)])
        mend(registry)
        types = [layer["mediaType"].rpartition(".")[2] for layer in registry.document(NAME, "2")["layers"]]
        assert types == ["tar", "gzip"]

    def test_with_a_damaged_layer_is_refused(self, registry: WritableRegistry) -> None:
        put(registry, A, packed=[make.gz(A)[:-9]])
        with pytest.raises(ImageRefused, match=r"cannot be repaired: the layer sha256:\w+ (is damaged|ends too early)"):
            mend(registry)
        assert registry.writes == []

    def test_with_a_layer_that_is_gone_is_refused(self, registry: WritableRegistry) -> None:
        put(registry, A)
        registry.store.delete_blob(NAME, make.sha256(make.gz(A)))
        with pytest.raises(ImageRefused, match=r"does not have the layer sha256:\w+ \(HTTP 404\)"):
            mend(registry)
