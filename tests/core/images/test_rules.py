from __future__ import annotations

import gzip
import hashlib

import pytest
import small_images as make

from airflow_batchstream.core.findings import Finding, Verdict, broken
from airflow_batchstream.core.images import layer_rules, rules
from airflow_batchstream.core.images.locations import AS_OF
from airflow_batchstream.core.images.manifest import LINUX_AMD64, Image, Manifest, read_config, read_manifest
from airflow_batchstream.core.images.reference import parse

NAME = "us-docker.pkg.dev/p/r/i:1"
REGION = "us-central1"
A, B = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000})
EMPTY = make.tar({})


def image_of(made: make.Made, *, name: str = NAME) -> Image:
    read = read_manifest(made.media_type, made.body)
    assert isinstance(read, Manifest)
    config = read_config(made.blobs[read.config.digest]) if read.config and not read.artifact else None
    return Image(parse(name), made.digest, made.digest, LINUX_AMD64, read, config)


def said(found: Image | str, rule: str, region: str = REGION) -> list[Finding]:
    """What one rule says of an image, or of a name."""
    if isinstance(found, str):
        findings = rules.check_reference(parse(found), region=region)
    else:
        findings = rules.check(found, region=region)
    return [finding for finding in findings if finding.rule == rule]


def only(found: Image | str, rule: str, region: str = REGION) -> Finding:
    (finding,) = said(found, rule, region)
    return finding


class TestAGoodImage:
    def test_every_rule_holds_and_none_is_silent(self) -> None:
        findings = rules.check(image_of(make.image([A, B])), region=REGION)
        assert {f.rule: f.verdict for f in findings} == dict.fromkeys(
            [
                "image-in-artifact-registry",
                "image-location",
                "image-is-an-image",
                "image-manifest-schema",
                "image-platform",
                "image-no-empty-layers",
                "image-no-duplicate-layers",
                "image-layer-formats",
            ],
            Verdict.HOLDS,
        )
        assert not any(finding.remedy for finding in findings)


class TestArtifactRegistryOnly:
    def test_another_registry_is_refused_with_the_line_that_makes_it_a_plain_job(self) -> None:
        finding = only("quay.io/a/b:1", "image-in-artifact-registry")
        assert finding.verdict is Verdict.BROKEN
        assert "on quay.io" in finding.says
        assert said("quay.io/a/b:1", "image-name-complete") == []  # one fault is told once
        assert "us-central1-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE" in finding.remedy
        assert "enable_image_streaming=False" in finding.remedy

    def test_a_name_without_a_host_is_told_that_it_is_docker_hubs(self) -> None:
        assert "a name without a host is Docker Hub's" in only("python:3.12", "image-in-artifact-registry").says

    def test_container_registry_is_refused_with_the_way_to_migrate(self) -> None:
        finding = only("eu.gcr.io/acme/tool:1", "image-in-artifact-registry")
        assert finding.verdict is Verdict.BROKEN
        assert "gcloud artifacts docker upgrade migrate --projects=acme" in finding.remedy
        assert "write europe-docker.pkg.dev/acme/eu.gcr.io/tool:1," in finding.remedy

    def test_a_regional_endpoint_is_told_the_usual_name(self) -> None:
        finding = only("docker.us-central1.rep.pkg.dev/p/r/i:1", "image-in-artifact-registry")
        assert finding.verdict is Verdict.BROKEN
        assert finding.remedy.startswith("Write us-central1-docker.pkg.dev/p/r/i:1, which is the same image, or ")

    @pytest.mark.parametrize("name", ["us-docker.pkg.dev/p/r", "us-docker.pkg.dev/example.com/p/r"])
    def test_a_name_that_stops_at_the_repository_is_refused(self, name: str) -> None:
        finding = only(name, "image-name-complete")
        assert finding.verdict is Verdict.BROKEN
        assert "us-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE" in finding.remedy


class TestTheLocationContainsTheRegion:
    def test_elsewhere_is_refused_with_the_places_where_it_may_be(self) -> None:
        finding = only(NAME, "image-location", "europe-west4")
        assert finding.verdict is Verdict.BROKEN
        assert "in us, which does not contain the job's region europe-west4" in finding.says
        assert "europe-west4-docker.pkg.dev or europe-docker.pkg.dev" in finding.remedy

    def test_london_is_refused_for_an_image_in_europe(self) -> None:
        assert only("europe-docker.pkg.dev/p/r/i", "image-location", "europe-west2").verdict is Verdict.BROKEN

    def test_a_region_of_later_than_the_table_could_not_be_told_and_says_as_of_when_the_table_is(self) -> None:
        finding = only(NAME, "image-location", "us-north9")
        assert finding.verdict is Verdict.UNKNOWN
        assert f"us-north9 is not in the list of us's regions, which is as of {AS_OF}." in finding.says
        assert "A run would tell" in finding.remedy
        assert "copy the image to us-north9-docker.pkg.dev, run the job in" in finding.remedy

    def test_a_multi_region_of_later_than_the_table_is_named_as_such(self) -> None:
        finding = only("africa-docker.pkg.dev/p/r/i", "image-location", "africa-south1")
        assert finding.verdict is Verdict.UNKNOWN
        assert f"nor one of the multi-regions known as of {AS_OF} (us, europe, asia)." in finding.says

    def test_without_a_region_it_could_not_be_told(self) -> None:
        assert only(NAME, "image-location", "").verdict is Verdict.UNKNOWN


class TestWhatKindOfThingItIs:
    def test_schema_1_is_refused_and_nothing_else_is_said_of_its_layers(self) -> None:
        body = make.as_json({"schemaVersion": 1, "fsLayers": [{"blobSum": make.sha256(b"x")}] * 2})
        image = image_of(make.Made("application/json", body))
        finding = only(image, "image-manifest-schema")
        assert finding.verdict is Verdict.BROKEN
        assert "schema 1" in finding.says
        assert "skopeo copy --format v2s2" in finding.remedy
        assert not said(image, "image-no-duplicate-layers")

    def test_a_chart_is_refused_by_its_name(self) -> None:
        config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": make.sha256(b""), "size": 0}
        finding = only(image_of(make.image(extra={"config": config})), "image-is-an-image")
        assert finding.verdict is Verdict.BROKEN
        assert "is a Helm chart, not a container image" in finding.says

    def test_the_registrys_words_cannot_write_to_the_terminal(self) -> None:
        config = {"mediaType": "application/\x1b[31mred\nline", "digest": make.sha256(b""), "size": 0}
        finding = only(image_of(make.image(extra={"config": config})), "image-is-an-image")
        assert "?[31mred?line" in finding.says
        assert str(finding).isprintable()
        assert str(finding.value).isprintable()


class TestThePlatform:
    def test_another_architecture_is_refused(self) -> None:
        finding = only(image_of(make.image(architecture="arm64")), "image-platform")
        assert finding.verdict is Verdict.BROKEN
        assert "for linux/arm64, the job's machines are linux/amd64" in finding.says

    def test_windows_is_refused(self) -> None:
        assert only(image_of(make.image(os="windows")), "image-platform").verdict is Verdict.BROKEN

    def test_an_image_that_does_not_say_could_not_be_told(self) -> None:
        for silent in (make.image(architecture=""), make.image(os="")):
            assert only(image_of(silent), "image-platform").verdict is Verdict.UNKNOWN


class TestNoEmptyLayers:
    @pytest.mark.parametrize("zeros", [0, 512, 1024, 1536, 10_240, 20_480, 1024 * 1024, layer_rules.LONGEST_EMPTY])
    def test_an_empty_layer_is_found_whatever_its_length(self, zeros: int) -> None:
        finding = only(image_of(make.image([A, bytes(zeros), B])), "image-no-empty-layers")
        assert (finding.verdict, finding.path) == (Verdict.BROKEN, "image.layers[1]")

    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_whatever_its_compression(self, level: int) -> None:
        packed = [make.gz(A), make.gz(EMPTY[:5120], level) + make.gz(EMPTY[5120:], level)]
        assert (
            only(image_of(make.image([A, EMPTY], compressed=packed)), "image-no-empty-layers").path == "image.layers[1]"
        )

    def test_the_report_names_layer_digest_size_and_step(self) -> None:
        history = [{"created_by": "COPY a"}, {"created_by": "/bin/sh -c #(nop) WORKDIR /app"}]
        finding = only(image_of(make.image([A, EMPTY], history=history)), "image-no-empty-layers")
        digest = make.sha256(make.gz(EMPTY))
        assert finding.value == digest
        assert (
            f"layers[1] ({digest[:19]}, {len(make.gz(EMPTY))} bytes, made by `WORKDIR /app`) is empty" in finding.says
        )
        assert "BuildKit: WORKDIR on an existing path" in finding.remedy

    def test_a_history_that_claims_an_empty_layer_proves_nothing(self) -> None:
        history = [{"created_by": "COPY a"}, {"created_by": "RUN true", "empty_layer": True}]
        assert only(image_of(make.image([A], history=history)), "image-no-empty-layers").verdict is Verdict.HOLDS

    @pytest.mark.parametrize("files", [{"a": b""}, {"a": bytes(100_000)}])
    def test_a_layer_with_an_entry_is_not_empty(self, files: dict[str, bytes]) -> None:
        assert only(image_of(make.image([make.tar(files)])), "image-no-empty-layers").verdict is Verdict.HOLDS

    def test_dockers_and_buildkits_own_are_known_by_their_blobs(self) -> None:
        # Both are gzip of 1,024 zero bytes, made by Go's deflate; they differ in the header only.
        deflated = bytes.fromhex("621805a360148c5800080000ffff2eafb5ef00040000")
        blobs = [bytes.fromhex("1f8b080000096e8800ff") + deflated, bytes.fromhex("1f8b08000000000000ff") + deflated]
        assert [gzip.decompress(blob) for blob in blobs] == [bytes(1024)] * 2
        assert {make.sha256(blob) for blob in blobs} == layer_rules.EMPTY_BLOBS

    def test_without_diff_ids_small_layers_could_not_be_told(self) -> None:
        noise = b"".join(hashlib.sha256(bytes([i, j])).digest() for i in range(256) for j in range(2))
        made = make.image([A, make.tar({"noise": noise})], config={"rootfs": {"type": "layers", "diff_ids": []}})
        finding = only(image_of(made), "image-no-empty-layers")
        assert (finding.verdict, finding.value) == (Verdict.UNKNOWN, 1)
        assert "layers[0]" in finding.says
        assert "layers[1]" not in finding.says

    def test_the_table_knows_the_digests_that_are_documented(self) -> None:
        known = layer_rules.empty_diff_ids()
        assert "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef" in known
        assert "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652" in known
        assert len(known) == layer_rules.LONGEST_EMPTY // 512 + 1


class TestNoDuplicateLayers:
    def test_one_digest_twice(self) -> None:
        finding = only(image_of(make.image([A, B, A])), "image-no-duplicate-layers")
        assert (finding.verdict, finding.path) == (Verdict.BROKEN, "image.layers[2]")
        assert "layers[0]" in finding.says
        assert "layers[2]" in finding.says
        assert "are one blob" in finding.says

    def test_one_diff_id_under_two_digests(self) -> None:
        packed = [make.gz(B, 1), make.gz(A), make.gz(B, 9)]
        assert packed[0] != packed[2]
        finding = only(image_of(make.image([B, A, B], compressed=packed)), "image-no-duplicate-layers")
        assert "compressed differently (one diff id)" in finding.says

    def test_both_ways_at_once_are_told_once_each(self) -> None:
        packed = [make.gz(B, 1), make.gz(B, 9), make.gz(A), make.gz(A)]
        assert len(said(image_of(make.image([B, B, A, A], compressed=packed)), "image-no-duplicate-layers")) == 2

    def test_forty_alike_make_one_short_report(self) -> None:
        finding = only(image_of(make.image([A] * 40)), "image-no-duplicate-layers")
        assert "and 36 more" in finding.says


class TestFormatsThatGoogleDoesNotMention:
    @pytest.mark.parametrize(
        ("layer_type", "annotations", "words"),
        [
            ("application/vnd.oci.image.layer.v1.tar+zstd", None, "compressed with zstd"),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None, "encrypted"),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None, "foreign"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None, "foreign"),
            (make.OCI_LAYER, {"containerd.io/snapshot/stargz/toc.digest": "sha256:x"}, "eStargz"),
            (make.OCI_LAYER, {"io.github.containers.zstd-chunked.manifest-checksum": "x"}, "zstd:chunked"),
            ("application/vnd.oci.image.layer.v2.cpio", None, "unknown type application/vnd.oci.image.layer.v2.cpio"),
        ],
    )
    def test_could_not_be_told(self, layer_type: str, annotations: dict[str, str] | None, words: str) -> None:
        made = make.image([A, B], layer_type=layer_type, annotations=annotations)
        finding = only(image_of(made), "image-layer-formats")
        assert finding.verdict is Verdict.UNKNOWN
        assert words in finding.says
        assert finding.remedy

    @pytest.mark.parametrize(
        "layer_type",
        [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
        ],
    )
    def test_plain_and_docker_layers_are_usual(self, layer_type: str) -> None:
        assert only(image_of(make.image([A], layer_type=layer_type)), "image-layer-formats").verdict is Verdict.HOLDS


class TestLayersAndConfigAgree:
    def test_another_number_of_diff_ids_is_refused(self) -> None:
        made = make.image([A, B], config={"rootfs": {"diff_ids": [make.sha256(A)]}})
        finding = only(image_of(made), "image-layers-agree")
        assert finding.verdict is Verdict.BROKEN
        assert "has 2 layers, the config 1 diff ids" in finding.says

    def test_an_image_without_layers_is_refused(self) -> None:
        found = only(image_of(make.image([])), "image-layers-agree")
        assert found.verdict is Verdict.BROKEN
        assert "no file in it" in found.says


class TestThousandsOfFaults:
    def test_make_a_report_of_one_page(self) -> None:
        pairs = [make.tar({f"f{number}": b"x"}) for number in range(40)]
        found = rules.check(image_of(make.image([*[make.tar({})] * 3000, *pairs, *pairs])), region=REGION)
        assert len(found) < 20
        assert sum(len(str(one)) for one in found) < 10_000
        empty = [one.says for one in found if one.rule == "image-no-empty-layers"]
        assert "layers[0] (" in empty[0]
        assert "and 2996 more are empty" in empty[0]
        doubled = [one.says for one in found if one.rule == "image-no-duplicate-layers"]
        assert doubled[-1] == "37 more sets of layers are duplicates."


class TestSeveralFaultsAtOnce:
    def test_each_is_told(self) -> None:
        image = image_of(make.image([A, EMPTY, A], architecture="arm64"), name="europe-docker.pkg.dev/p/r/i:1")
        assert [finding.rule for finding in broken(rules.check(image, region=REGION))] == [
            "image-location",
            "image-platform",
            "image-no-empty-layers",
            "image-no-duplicate-layers",
        ]
