from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import small_images as make
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.images.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA_1,
    SCHEMA_1_SIGNED,
    Config,
    Image,
    Index,
    Manifest,
    ManifestError,
    Platform,
    digest_of,
    read_config,
    read_manifest,
    signed_part,
)
from airflow_batchstream.core.images.reference import parse

DIGEST = "sha256:" + "a" * 64
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


def manifest(body: dict[str, Any] | bytes, media_type: str = "") -> Manifest:
    found = read_manifest(media_type, body if isinstance(body, bytes) else make.as_json(body))
    assert isinstance(found, Manifest)
    return found


def index(body: bytes, media_type: str = "") -> Index:
    found = read_manifest(media_type, body)
    assert isinstance(found, Index)
    return found


def whole(made: make.Made) -> Image:
    """The image of a manifest and its config, as the client puts it together."""
    read = manifest(made.body)
    config = read_config(made.blobs[read.config.digest]) if read.config else None
    return Image(parse("us-docker.pkg.dev/p/r/i:1"), made.digest, made.digest, AMD64, read, config)


def descriptor(media_type: str, size: Any = 10, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": size} | more


def plain(layers: list[dict[str, Any]], config: str = make.OCI_CONFIG, **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "config": descriptor(config), "layers": layers} | more


class TestWhatADocumentIs:
    def test_an_oci_manifest(self) -> None:
        read = manifest(make.image().body, OCI_MANIFEST)
        assert (read.media_type, read.schema, read.artifact) == (OCI_MANIFEST, 2, "")

    def test_docker_schema_2_by_its_header(self) -> None:
        layer = descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")
        body = plain([layer], "application/vnd.docker.container.image.v1+json")
        assert manifest(body, DOCKER_MANIFEST + "; charset=utf-8").media_type == DOCKER_MANIFEST

    def test_an_index_and_a_manifest_list(self) -> None:
        body = make.index((make.image(), make.AMD64)).body
        assert index(body).media_type == OCI_INDEX
        assert index(make.as_json({"manifests": []}), DOCKER_LIST).media_type == DOCKER_LIST

    def test_a_wrong_header_does_not_hide_what_it_is(self) -> None:
        body = make.index((make.image(), make.AMD64)).body
        assert isinstance(read_manifest(OCI_MANIFEST, body), Index)
        assert isinstance(read_manifest("application/json", make.image().body), Manifest)

    def test_a_document_that_can_be_read_in_two_ways_is_refused(self) -> None:
        for more in (plain([]), {"layers": []}, {"config": descriptor(make.OCI_CONFIG)}):
            with pytest.raises(ManifestError, match="two ways"):
                read_manifest(OCI_MANIFEST, make.as_json(more | {"manifests": []}))

    def test_what_calls_itself_an_index_and_is_none_is_refused(self) -> None:
        with pytest.raises(ManifestError, match="calls itself an index"):
            read_manifest(OCI_INDEX, make.as_json(plain([])))

    def test_a_page_of_html_is_refused_with_its_beginning(self) -> None:
        with pytest.raises(ManifestError, match=r"not JSON.*<html>"):
            read_manifest("text/html", b"<html>login</html>")


class TestSchema1:
    BODY = {"schemaVersion": 1, "name": "p/i", "fsLayers": [{"blobSum": DIGEST}], "history": []}  # noqa: RUF012

    def test_by_content(self) -> None:
        read = manifest(self.BODY, "application/json")
        assert (read.schema, read.media_type, read.config) == (1, SCHEMA_1, None)

    def test_by_media_type(self) -> None:
        assert manifest({}, SCHEMA_1).schema == 1
        assert manifest({}, SCHEMA_1_SIGNED).schema == 1

    def test_by_its_version_alone(self) -> None:
        assert manifest({"schemaVersion": 1, "config": descriptor("x"), "layers": []}, OCI_MANIFEST).schema == 1

    def test_layers_are_turned_lowest_first(self) -> None:
        top, base = "sha256:" + "1" * 64, "sha256:" + "2" * 64
        read = manifest(self.BODY | {"fsLayers": [{"blobSum": top}, {"blobSum": base}]})
        assert [layer.digest for layer in read.layers] == [base, top]

    def test_a_signed_ones_digest_is_about_the_part_without_signatures(self) -> None:
        payload = json.dumps(self.BODY, indent=3).encode()
        length = len(payload) - 2  # up to the newline before the closing brace

        def unpadded(data: bytes) -> str:
            return base64.urlsafe_b64encode(data).decode().rstrip("=")

        protected = make.as_json({"formatLength": length, "formatTail": unpadded(payload[length:])})
        signatures = b',\n   "signatures": [{"protected": "' + unpadded(protected).encode() + b'"}]'
        signed = payload[:length] + signatures + payload[length:]
        assert manifest(signed).media_type == SCHEMA_1_SIGNED
        assert signed_part(signed) == payload
        assert digest_of(signed_part(signed)) == make.sha256(payload)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no json",
            b"[]",
            b'{"signatures": []}',
            b'{"signatures": [{"protected": "!"}]}',
            b'{"signatures": [1]}',
        ],
    )
    def test_anything_else_is_its_own_signed_part(self, body: bytes) -> None:
        assert signed_part(body) == body


class TestWhatIsNoImage:
    @pytest.mark.parametrize(
        ("body", "name"),
        [
            (plain([descriptor("application/vnd.in-toto+json")]), "an attestation (provenance or SBOM)"),
            (plain([], "application/vnd.cncf.helm.config.v1+json"), "a Helm chart"),
            (plain([descriptor("application/vnd.dev.cosign.simplesigning.v1+json")]), "a cosign signature"),
            (plain([descriptor("text/spdx+json")]), "an SBOM"),
            (plain([descriptor(make.OCI_LAYER)], "application/vnd.buildkit.cacheconfig.v0"), "a BuildKit cache"),
            (
                plain([], "application/vnd.oci.empty.v1+json", artifactType="application/vnd.acme.rocket"),
                "an OCI artifact of type application/vnd.acme.rocket",
            ),
            (
                plain([descriptor("application/x-tar"), descriptor("")]),
                "an OCI artifact (its layers[0] is of type application/x-tar, no file system)",
            ),
            (plain([descriptor("")]), "an OCI artifact (its layers[0] has no media type)"),
        ],
    )
    def test_is_named_as_what_it_is(self, body: dict[str, Any], name: str) -> None:
        assert manifest(body).artifact == name

    def test_an_oci_artifact_manifest(self) -> None:
        body = {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": "application/spdx+json"}
        assert manifest(body).artifact == "an SBOM"

    @pytest.mark.parametrize("config", ["application/octet-stream", "application/vnd.docker.container.image.v1+json"])
    def test_old_and_docker_configs_are_images(self, config: str) -> None:
        assert manifest(plain([descriptor(make.OCI_LAYER)], config)).artifact == ""


class TestChoosingAPlatform:
    def test_the_entry_of_the_platform(self) -> None:
        amd, arm = make.image(), make.image(architecture="arm64")
        read = index(make.index((arm, make.ARM64), (amd, make.AMD64)).body)
        assert [e.digest for e in read.candidates(AMD64)] == [amd.digest]
        assert [e.digest for e in read.candidates(ARM64)] == [arm.digest]
        assert [str(p) for p in read.platforms] == ["linux/arm64", "linux/amd64"]

    def test_attestations_are_no_platform(self) -> None:
        attestation = descriptor(OCI_MANIFEST, platform={"os": "unknown", "architecture": "unknown"})
        noted = descriptor(OCI_MANIFEST, annotations={"vnd.docker.reference.type": "attestation-manifest"})
        read = index(make.index((make.image(), make.AMD64), extra=[attestation, noted]).body)
        assert [str(p) for p in read.platforms] == ["linux/amd64"]
        assert read.candidates(ARM64) == ()

    def test_the_plainest_variant_comes_first(self) -> None:
        fast, usual = make.image(history=[]), make.image()
        read = index(make.index((fast, make.AMD64 | {"variant": "v3"}), (usual, make.AMD64)).body)
        assert [e.digest for e in read.candidates(AMD64)] == [usual.digest, fast.digest]

    def test_an_entry_that_does_not_say_is_taken_if_no_other_fits(self) -> None:
        silent, amd = make.image(history=[]), make.image()
        read = index(make.index((silent, None), (amd, make.AMD64)).body)
        assert [e.digest for e in read.candidates(AMD64)] == [amd.digest]
        assert [e.digest for e in read.candidates(ARM64)] == [silent.digest]

    @pytest.mark.parametrize(
        ("found", "wanted", "fits"),
        [
            (Platform.of("linux", "arm64", "v8"), ARM64, True),
            (Platform.of("linux", "aarch64"), ARM64, True),
            (Platform.of("linux", "x86_64", "v1"), AMD64, True),
            (Platform.of("windows", "amd64"), AMD64, False),
            (Platform.of("linux", "arm", "v7"), Platform("linux", "arm", "v6"), False),
            (Platform.of("linux", "arm", "v7"), Platform("linux", "arm", "v7"), True),
            (Platform.of("linux", "arm"), Platform("linux", "arm", "v7"), True),
            (Platform.of("linux", "arm", "v7"), Platform("linux", "arm"), True),
        ],
    )
    def test_names_of_one_thing_are_the_same(self, found: Platform, wanted: Platform, fits: bool) -> None:
        assert found.fits(wanted) is fits


class TestTheConfig:
    def test_what_a_container_starts_with(self) -> None:
        body = {
            "architecture": "arm64",
            "os": "linux",
            "variant": "v8",
            "config": {
                "Entrypoint": ["/run"],
                "Cmd": ["-v"],
                "Env": ["A=1\n2"],
                "WorkingDir": "/w",
                "User": "1000:1000",
                "Labels": {"k": "v"},
            },
            "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
            "history": [{"created_by": "COPY", "empty_layer": False}, {"created_by": "ENV", "empty_layer": True}],
        }
        read = read_config(make.as_json(body))
        assert (read.platform, read.diff_ids) == (ARM64, (DIGEST,))
        assert (read.entrypoint, read.cmd, read.env) == (("/run",), ("-v",), ("A=1\n2",))
        assert (read.working_dir, read.user, dict(read.labels)) == ("/w", "1000:1000", {"k": "v"})
        assert [(s.created_by, s.empty_layer) for s in read.history] == [("COPY", False), ("ENV", True)]

    def test_null_and_missing_are_nothing(self) -> None:
        nothing = {"config": {"Entrypoint": None, "Cmd": None, "Env": None, "Labels": None}, "history": None}
        assert read_config(make.as_json(nothing)) == read_config(b"{}") == Config(Platform("", ""), ())

    def test_steps_are_joined_to_layers_only_if_they_are_as_many(self) -> None:
        steps = [{"created_by": "FROM"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "COPY"}]
        two = [make.tar({"a": b"1"}), make.tar({"b": b"2"})]
        assert [layer.created_by for layer in whole(make.image(two, history=steps)).layers] == ["FROM", "COPY"]
        assert [layer.created_by for layer in whole(make.image(two, history=steps[:1])).layers] == ["", ""]

    def test_layers_know_their_diff_ids_and_the_image_its_size(self) -> None:
        two = [make.tar({"a": b"1"}), make.tar({"b": b"2"})]
        image = whole(make.image(two))
        assert [layer.diff_id for layer in image.layers] == [make.sha256(data) for data in two]
        assert image.size == sum(len(make.gz(data)) for data in two)


class TestMalformedDocuments:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "not JSON"),
            (b"\xff\xfe", "not UTF-8"),
            (b"[1]", "a list instead of an object"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"size": NaN}', "NaN is no JSON number"),
            (b'{"schemaVersion": ' + b"1" * 5000 + b"}", "not JSON"),
            (make.as_json({"schemaVersion": 2}), "neither"),
            (make.as_json({"schemaVersion": 2, "layers": []}), "neither"),
            (make.as_json({"schemaVersion": 2, "config": descriptor("x")}), "neither"),
            (make.as_json(plain([]) | {"layers": {}}), "`layers` has an object where a list belongs"),
            (make.as_json(plain([]) | {"config": [1]}), "`config` has a list where an object belongs"),
            (make.as_json(plain([descriptor("x", size=-1)])), r"layers\[0\].size is -1"),
            (make.as_json(plain([descriptor("x", size=True)])), "`size` has true or false"),
            (make.as_json(plain([descriptor("x", size=10**30)])), "a number of bytes belongs here"),
            (make.as_json(plain([descriptor("x", size=2**63)])), "a number of bytes belongs here"),
            (make.as_json(plain([descriptor("x", size=1.0)])), "`size` has a number where a whole number belongs"),
            (
                make.as_json(plain([descriptor("x", digest="sha256:../../etc/passwd")])),
                r"layers\[0\].digest: .*no digest",
            ),
            (make.as_json({"manifests": [1]}), "`manifests` has a number where an object belongs"),
        ],
    )
    def test_are_refused_with_the_place(self, body: bytes, words: str) -> None:
        with pytest.raises(ManifestError, match=words):
            read_manifest("", body)

    @pytest.mark.parametrize(
        ("config", "words"),
        [
            (b'{"config": {"Env": "A=1"}}', "`Env` has a text where a list belongs"),
            (b'{"config": {"Labels": {"a": 5}}}', "`a` has a number where a text belongs"),
            (b"[]", "the config is JSON, but a list instead of an object"),
        ],
    )
    def test_a_config_stays_as_it_is_so_the_way_out_is_a_build(self, config: bytes, words: str) -> None:
        with pytest.raises(ManifestError) as caught:
            read_config(config)
        assert str(caught.value) == f"{words}. Build and push it again."

    @pytest.mark.parametrize("size", [0, 2**63 - 1])
    def test_a_size_at_either_end_is_read(self, size: int) -> None:
        assert manifest(plain([descriptor(make.OCI_LAYER, size=size)])).layers[0].size == size

    def test_half_characters_are_made_printable(self) -> None:
        read = read_config(b'{"history": [{"created_by": "\\ud800"}]}')
        assert read.history[0].created_by == "?"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_SEEDS = [
    make.image([make.tar({"a": b"1"}), make.tar({})]).body,
    make.index((make.image(), make.AMD64), (make.image(architecture="arm64"), make.ARM64)).body,
    make.as_json(TestSchema1.BODY | {"signatures": [{"protected": "e30"}]}),
    next(iter(make.image().blobs.values())),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, inner in below for place in _places(inner, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good document with one value replaced by any JSON, or with bytes cut out and put in."""
    seed = draw(st.sampled_from(_SEEDS))
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(seed)))
        return seed[:cut] + draw(st.binary(max_size=6)) + seed[cut + draw(st.integers(0, 6)) :]
    document = json.loads(seed)
    *path, last = draw(st.sampled_from([place for place in _places(document) if place]))
    inner = document
    for key in path:
        inner = inner[key]
    inner[last] = draw(_JSON)
    return json.dumps(document).encode("utf-8", "surrogatepass")


class TestAnyBytes:
    @given(
        st.sampled_from(["", OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, SCHEMA_1]), mutated() | st.binary(max_size=40)
    )
    def test_give_a_manifest_an_index_or_an_error_of_ours(self, media_type: str, body: bytes) -> None:
        try:
            read = read_manifest(media_type, body)
        except ManifestError:
            return
        if isinstance(read, Index):
            read.candidates(AMD64), read.platforms
        else:
            image = Image(parse("us-docker.pkg.dev/p/r/i"), DIGEST, DIGEST, AMD64, read, None)
            assert len(image.layers) == len(read.layers)
            assert image.size >= 0

    @given(mutated() | st.binary(max_size=40))
    def test_give_a_config_or_an_error_of_ours(self, body: bytes) -> None:
        try:
            read = read_config(body)
        except ManifestError:
            return
        str(read).encode()

    @given(mutated() | st.binary(max_size=40))
    def test_have_a_signed_part(self, body: bytes) -> None:
        assert isinstance(signed_part(body), bytes)
