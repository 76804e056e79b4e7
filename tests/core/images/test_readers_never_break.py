"""From a stranger's bytes to the verdict of the rules: nothing comes out but a result or an error of ours.

What only one reader does with odd bytes is in that reader's own tests; here they are one behind the other, on documents
that are nearly right, so that they get far.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from typing import Any

import small_images as make
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import rules
from airflow_batchstream.core.images.documents import ManifestError
from airflow_batchstream.core.images.layer_rules import worth_a_look
from airflow_batchstream.core.images.layers import Inside, look_into
from airflow_batchstream.core.images.manifest import (
    LINUX_AMD64,
    LINUX_ARM64,
    Image,
    Index,
    digest_of,
    read_config,
    read_manifest,
)
from airflow_batchstream.core.images.reference import MAX_NAME, Reference, parse

REFERENCE = parse("us-docker.pkg.dev/acme/batch/train:1")
MANY = settings(max_examples=400, deadline=None)
LONGEST = 200_000
"""Characters of all findings together: they go into a log, and into XCom."""

# ---- names ----

PARTS = st.sampled_from(
    [
        "us-docker.pkg.dev", "europe-west4-docker.pkg.dev", "gcr.io", "eu.gcr.io", "example.com", "localhost", "[::1]",
        "acme", "a__b", "a--b", "A", "a..b", "-", "", "x" * 200, "é", "\u202e", "\x00", "127.0.0.1",
    ]
)  # fmt: skip
SIGNS = st.sampled_from(
    ["/", "/", "/", ":", "@", "//", ":80/", ":99999/", "@sha256:", " ", "\n", "${", "<", "{{", "%("]
)
ENDS = st.sampled_from(
    ["", ":1", ":latest", "@" + make.sha256(b"x"), ":1@" + make.sha256(b"x"), ":", "@", ":" + "t" * 129]
)
NAMES = st.builds(
    lambda parts, signs, end: "".join(part + sign for part, sign in zip(parts, [*signs, ""], strict=False)) + end,
    st.lists(PARTS, min_size=1, max_size=5),
    st.lists(SIGNS, min_size=5, max_size=5),
    ENDS,
)

# ---- documents ----

KINDS = st.sampled_from(
    [
        make.OCI_LAYER, "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar", make.OCI_LAYER + "+encrypted",
        "application/vnd.in-toto+json", "", "\x1b[31m", "x" * 500,
    ]
)  # fmt: skip
DIGESTS = st.sampled_from(
    [
        *(make.sha256(make.tar({name: b"1"})) for name in "ab"),
        make.sha256(bytes(1024)),
        make.sha256(b""),
        "sha512:" + "0" * 128,
    ]
)
SIZES = st.sampled_from([0, 1, 32, 34, 45, 1024, 60_000, 5_000_000_000, 2**63 - 1])
LAYER = st.fixed_dictionaries(
    {"mediaType": KINDS, "digest": DIGESTS, "size": SIZES},
    optional={
        "urls": st.lists(st.text(max_size=9), max_size=2),
        "annotations": st.dictionaries(
            st.sampled_from(["containerd.io/snapshot/stargz/toc.digest", "x-zstd-chunked", "\x1b"]), st.text(max_size=5)
        ),
    },
)
STEP = st.fixed_dictionaries(
    {},
    optional={
        "created_by": st.sampled_from(
            ["WORKDIR /a", "RUN |1 TOKEN=x /bin/sh -c y # buildkit", "\x1b]0;t\x07", "a" * 5000, "RUN |99 A=b", ""]
        ),
        "empty_layer": st.booleans(),
    },
)
PLATFORM = st.fixed_dictionaries(
    {},
    optional={
        "os": st.sampled_from(["linux", "windows", "unknown", "", "\n" * 50]),
        "architecture": st.sampled_from(["amd64", "x86_64", "arm64", "aarch64", "", "m" * 5000]),
        "variant": st.sampled_from(["", "v1", "v8", "v3"]),
    },
)
CONFIG = st.builds(
    lambda platform, diff_ids, history: platform | {"rootfs": {"diff_ids": diff_ids}, "history": history, "config": {}},
    PLATFORM,
    st.lists(DIGESTS, max_size=5),
    st.lists(STEP, max_size=7),
)
MANIFEST = st.builds(
    lambda kind, layers: {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"mediaType": make.OCI_CONFIG, "digest": make.sha256(b"c"), "size": 7},
        "layers": layers,
    },
    st.sampled_from([make.OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json", ""]),
    st.lists(LAYER, max_size=5),
)
INDEX = st.builds(
    lambda entries: {"schemaVersion": 2, "mediaType": make.OCI_INDEX, "manifests": entries},
    st.lists(
        st.builds(
            lambda digest, kind, platform: {"digest": digest, "size": 9, "mediaType": kind, "platform": platform},
            DIGESTS,
            st.sampled_from([make.OCI_MANIFEST, make.OCI_INDEX, "application/vnd.oci.empty.v1+json"]),
            st.none() | PLATFORM,
        ),
        max_size=6,
    ),
)
SCHEMA_1 = st.builds(
    lambda sums: {"schemaVersion": 1, "fsLayers": [{"blobSum": one} for one in sums], "signatures": [{}]},
    st.lists(DIGESTS, max_size=4),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800") | DIGESTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def spoiled(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> bytes:
    """A document with up to two places that are something else, gone or there twice, and perhaps bytes cut out."""
    document = json.loads(json.dumps(draw(valid)))
    for _ in range(draw(st.integers(0, 2))):
        here = document
        while here:
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
                here = here[key]
                continue
            change = draw(st.sampled_from(["other", "gone", "twice"]))
            if change == "other":
                here[key] = draw(JSON)
            elif change == "gone":
                del here[key]
            elif isinstance(here, list):
                here.append(here[key])
            break
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    cut = draw(st.none() | st.integers(0, len(body)))
    return body if cut is None else body[:cut] + body[cut + draw(st.integers(0, 3)) :]


def told(findings: list[Finding]) -> None:
    """Findings can be shown: they are JSON, on one line each, and short."""
    assert findings
    said = json.dumps([finding.as_dict() for finding in findings])
    assert len(said) < LONGEST
    for finding in findings:
        assert finding.verdict in Verdict
        for text in (finding.says, finding.remedy, str(finding.value)):
            assert text.isprintable()
            assert len(text) < 2100
            text.encode()


class TestAName:
    @MANY
    @given(NAMES | st.text(max_size=60))
    def test_becomes_a_reference_that_the_rules_judge_or_an_error_that_is_short(self, name: str) -> None:
        try:
            found = parse(name)
        except ValueError as error:
            assert type(error) is ValueError
            assert str(error).isprintable()
            assert len(str(error)) < 700
            return
        assert len(str(found)) <= MAX_NAME
        assert parse(str(found)) == found
        for region in ("us-central1", "", "nowhere"):
            told(rules.check_reference(found, region=region))
        again = found.pinned(make.sha256(b""))
        assert parse(str(again)) == again
        if found.migrated:
            assert isinstance(parse(found.migrated), Reference)


class TestAManifestAndItsConfig:
    @MANY
    @given(spoiled(MANIFEST | SCHEMA_1 | INDEX), spoiled(CONFIG), st.sampled_from([LINUX_AMD64, LINUX_ARM64]))
    def test_become_a_verdict_or_an_error_of_ours(self, manifest: bytes, config: bytes, wanted: Any) -> None:
        try:
            read = read_manifest("", manifest)
            described = None if isinstance(read, Index) else read_config(config)
        except ManifestError as error:
            assert str(error).isprintable()
            assert len(str(error)) < 700
            return
        if isinstance(read, Index):
            assert len(read.candidates(wanted)) <= len(read.entries)
            assert all(str(platform).encode() for platform in read.platforms if platform.os)
            return
        digest = digest_of(manifest)
        image = Image(REFERENCE, digest, digest, wanted, read, described if read.config else None)
        found = rules.check(image, region="us-central1")
        told(found)
        schemas = [finding.verdict for finding in found if finding.rule == "image-manifest-schema"]
        assert (Verdict.BROKEN in schemas) is (read.schema == 1)
        looks = {layer.blob.digest: look_into(b"") for layer in worth_a_look(image, 3)}
        assert len(looks) <= 3
        told(rules.check(replace(image, looks=looks), region="us-central1"))

    @MANY
    @given(spoiled(MANIFEST), spoiled(CONFIG))
    def test_a_digest_that_is_there_twice_is_always_told(self, manifest: bytes, config: bytes) -> None:
        try:
            read = read_manifest("", manifest)
            described = read_config(config)
        except ManifestError:
            return
        if isinstance(read, Index) or read.artifact or read.schema == 1:
            return
        digests = [layer.digest for layer in read.layers]
        image = Image(REFERENCE, make.sha256(b""), make.sha256(b""), LINUX_AMD64, read, described)
        broken = {f.rule for f in rules.check(image, region="us-central1") if f.verdict is Verdict.BROKEN}
        if len(set(digests)) < len(digests):
            assert "image-no-duplicate-layers" in broken
        if make.sha256(bytes(1024)) in digests:
            assert "image-no-empty-layers" in broken


PLAIN = st.sampled_from(
    [b"", bytes(1024), bytes(10240), make.tar({"a": b"1"}), make.tar({"a" * 120: b""}), make.tar({"a": b"1"})[:700]]
)
PACKED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        inner.map(lambda data: gzip.compress(data, mtime=0)),  # gzip inside of gzip too
        st.lists(inner, max_size=3).map(b"".join),
        inner.map(lambda data: data + bytes(512)),
        inner.map(lambda data: gzip.compress(b"", mtime=0) * 50 + data),  # members of nothing
    ),
    max_leaves=4,
)


class TestALayersBytes:
    @MANY
    @given(PACKED, st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=2)), max_size=2), st.integers(0, 4000))
    def test_get_an_answer_whatever_they_are(self, blob: bytes, changes: list[tuple[int, bytes]], length: int) -> None:
        for at, other in changes:
            blob = blob[:at] + other + blob[at + len(other) :]
        for data in (blob, blob[:length]):
            found = look_into(data, largest=100_000)
            assert (found.inside is Inside.UNTOLD) is bool(found.why)
            assert found.why.isprintable()
            assert len(found.why) < 300

    @MANY
    @given(st.integers(0, 300_000), st.integers(1, 4), st.integers(1, 9))
    def test_zeros_are_empty_however_many_and_however_packed(self, zeros: int, members: int, level: int) -> None:
        once = gzip.compress(bytes(zeros // 512 * 512), level, mtime=0)
        assert look_into(once * members + bytes(zeros % 700)).inside is Inside.EMPTY

    def test_thousands_of_members_of_nothing_are_empty(self) -> None:
        assert look_into(gzip.compress(b"", mtime=0) * 3000).inside is Inside.EMPTY

    def test_what_is_packed_twice_is_no_tar(self) -> None:
        inner = gzip.compress(make.tar({"a": b"1"}))
        assert look_into(gzip.compress(inner)).inside is Inside.UNTOLD

    def test_an_end_that_never_comes_is_not_waited_for(self) -> None:
        packer = zlib.compressobj(9, wbits=31)
        endless = b"".join(packer.compress(bytes(1 << 20)) for _ in range(40)) + packer.flush(zlib.Z_SYNC_FLUSH)
        found = look_into(endless)
        assert (found.inside, found.why) == (Inside.UNTOLD, "its gzip ends too early")
        assert "uncompressed" in look_into(endless, largest=1 << 22).why
