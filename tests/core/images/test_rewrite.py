"""The documents of a repaired image: what changes in them, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import small_images as make

from airflow_batchstream.core.images import rewrite
from airflow_batchstream.core.images.manifest import (
    DOCKER_MANIFEST,
    LINUX_AMD64,
    Config,
    Descriptor,
    Image,
    Layer,
    Manifest,
    ManifestError,
    Platform,
    digest_of,
)
from airflow_batchstream.core.images.reference import parse

A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2"}), make.tar({})
SOURCE = "sha256:" + "5" * 64


def layer(index: int, content: str, diff_id: str | None = None) -> Layer:
    blob = Descriptor(make.OCI_LAYER, make.sha256(content.encode()), 10)
    return Layer(index, blob, diff_id or make.sha256(f"plain {content}".encode()))


def plan(*contents: str, empty: tuple[int, ...] = ()) -> list[tuple[int, str, int | None]]:
    layers = [layer(index, content) for index, content in enumerate(contents)]
    return [(one.layer.index, one.why, one.kept) for one in rewrite.plan(layers, empty)]


class TestWhichLayersGo:
    def test_none_of_an_image_without_empty_and_duplicate_ones(self) -> None:
        assert plan("a", "b", "c") == []

    def test_all_but_the_last_of_each_content(self) -> None:
        assert plan("a", "b", "a", "b", "a") == [(0, "duplicate", 4), (1, "duplicate", 3), (2, "duplicate", 4)]

    def test_every_empty_one_also_where_they_are_duplicates_of_each_other(self) -> None:
        assert plan("e", "a", "e", empty=(0, 2)) == [(0, "empty", None), (2, "empty", None)]

    def test_duplicates_without_diff_ids_by_their_digest(self) -> None:
        blob = Descriptor(make.OCI_LAYER, SOURCE, 10)
        dropped = rewrite.plan([Layer(0, blob), Layer(1, blob)], ())
        assert [(one.layer.index, one.kept) for one in dropped] == [(0, 1)]


def repaired(made: make.Made, *gone: int) -> tuple[dict[str, Any], dict[str, Any], rewrite.Rewritten]:
    """Manifest and config without some layers."""
    config = next(blob for blob in made.blobs.values() if blob.startswith(b"{"))
    rows = json.loads(made.body)["layers"]
    dropped = [
        rewrite.Dropped(Layer(i, Descriptor("", rows[i]["digest"], rows[i]["size"])), rewrite.EMPTY) for i in gone
    ]
    new = rewrite.rewrite(made.media_type, made.body, config, dropped, source=SOURCE)
    return json.loads(new.manifest), json.loads(new.config), new


class TestTheManifest:
    def test_keeps_what_it_does_not_know_and_the_order_of_its_keys(self) -> None:
        extra = {"x": {"y": [1, None, "ü"]}, "annotations": {"own": "kept"}, "subject": {"digest": "d"}}
        made = make.image([A, EMPTY], extra=extra)
        manifest, _, _ = repaired(made, 1)
        assert list(manifest) == list(json.loads(made.body))
        assert (manifest["x"], manifest["subject"]) == (extra["x"], extra["subject"])
        assert manifest["annotations"]["own"] == "kept"

    def test_keeps_the_rows_of_its_layers_whole(self) -> None:
        made = make.image([A, EMPTY, B], annotations={"containerd.io/snapshot/stargz/toc.digest": "d"})
        manifest, _, _ = repaired(made, 1)
        rows = json.loads(made.body)["layers"]
        assert manifest["layers"] == [rows[0], rows[2]]

    def test_points_at_the_new_config_without_a_copy_of_the_old_one(self) -> None:
        made = make.image([A, EMPTY])
        document = json.loads(made.body)
        document["config"] |= {"data": "e30=", "annotations": {"own": "kept"}}
        manifest, _, new = repaired(make.Made(made.media_type, make.as_json(document), made.blobs), 1)
        assert manifest["config"] == {
            "mediaType": make.OCI_CONFIG,
            "digest": digest_of(new.config),
            "size": len(new.config),
            "annotations": {"own": "kept"},
        }

    def test_of_docker_gets_no_annotations_which_its_format_does_not_have(self) -> None:
        made = make.image([A, EMPTY])
        manifest, config, _ = repaired(make.Made(DOCKER_MANIFEST, made.body, made.blobs), 1)
        assert "annotations" not in manifest
        assert config["config"]["Labels"][rewrite.REPAIRED_FROM] == SOURCE


class TestTheConfig:
    def test_keeps_what_it_does_not_know_and_the_order_of_its_keys(self) -> None:
        made = make.image([A, EMPTY], config={"created": "1970-01-01T00:00:00Z", "x": {"z": 1, "a": 1.5}})
        _, config, _ = repaired(made, 1)
        old = json.loads(next(blob for blob in made.blobs.values() if blob.startswith(b"{")))
        assert list(config) == list(old)
        assert config["x"] == {"z": 1, "a": 1.5}
        assert config["created"] == "1970-01-01T00:00:00Z"

    def test_keeps_the_step_of_a_layer_that_goes_as_one_without_a_layer(self) -> None:
        steps = [{"created_by": "A"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "WORKDIR", "x": 1}]
        _, config, _ = repaired(make.image([A, EMPTY], history=steps), 1)
        assert config["history"] == [*steps[:2], {"created_by": "WORKDIR", "x": 1, "empty_layer": True}]

    @pytest.mark.parametrize("steps", [[], [{"created_by": "one"}, {"empty_layer": True}]])
    def test_leaves_a_history_that_does_not_fit_its_layers(self, steps: list[dict[str, Any]]) -> None:
        _, config, new = repaired(make.image([A, EMPTY], history=steps), 1)
        assert config["history"] == steps
        assert bool(new.notes) == bool(steps)

    def test_loses_the_inline_cache_which_numbers_the_layers(self) -> None:
        _, config, new = repaired(make.image([A, EMPTY], config={"moby.buildkit.cache.v0": "eyJ"}), 1)
        assert "moby.buildkit.cache.v0" not in config
        assert new.notes == ("moby.buildkit.cache.v0 is left out: it numbers the layers.",)

    @pytest.mark.parametrize("runs", [None, {}, {"Labels": None}])
    def test_gets_labels_where_it_has_none(self, runs: dict[str, Any] | None) -> None:
        _, config, _ = repaired(make.image([A, EMPTY], config={"config": runs}), 1)
        assert config["config"]["Labels"] == {
            rewrite.REPAIRED_FROM: SOURCE,
            rewrite.REPAIRED: "dropped 1 empty layer",
        }

    def test_with_a_number_that_cannot_be_written_again_is_refused(self) -> None:
        made = make.image([A, EMPTY])
        config = next(blob for blob in made.blobs.values() if blob.startswith(b"{"))
        huge = config.replace(b'"os":"linux"', b'"os":"linux","x":1e999')
        with pytest.raises(ManifestError, match="cannot be written again"):
            rewrite.rewrite(made.media_type, made.body, huge, [], source=SOURCE)


class TestWhatCannotBeRepaired:
    def image(self, *layers: Descriptor, diff_ids: tuple[str, ...] = (), artifact: str = "") -> Image:
        config = Config(Platform("linux", "amd64"), diff_ids)
        manifest = Manifest("", 2, None, layers, artifact)
        return Image(parse("a.example/i"), SOURCE, SOURCE, LINUX_AMD64, manifest, config)

    def test_is_said_of_layers_outside_the_registry(self) -> None:
        away = Descriptor(make.OCI_LAYER, SOURCE, 1, urls=("https://a.example/layer",))
        assert "layers[0] is kept outside" in rewrite.unrepairable(self.image(away, diff_ids=(SOURCE,)))

    def test_is_said_of_what_is_no_image(self) -> None:
        assert rewrite.unrepairable(self.image(artifact="an SBOM")).startswith("it is an SBOM")
        assert rewrite.unrepairable(replace(self.image(), config=None)).startswith("it has no config")

    def test_is_nothing_of_an_image(self) -> None:
        assert rewrite.unrepairable(self.image(Descriptor(make.OCI_LAYER, SOURCE, 1), diff_ids=(SOURCE,))) == ""
