"""Which small layers are read, by what manifest and config say of them, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images import layer_rules, rules
from airflow_batchstream.core.images.layer_rules import LARGEST_LOOK, MOST_LOOKED, SMALL_BLOB, worth_a_look
from airflow_batchstream.core.images.layers import Inside, Look
from airflow_batchstream.core.images.manifest import LINUX_AMD64, OCI_MANIFEST, Config, Descriptor, Image, Manifest
from airflow_batchstream.core.images.reference import parse

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def image(
    sizes: Sequence[int | None], media_type: str = GZIP, *, told: bool = True, looks: dict[str, Look] | None = None
) -> Image:
    """An image of layers with these sizes.

    :param told: the config has their diff ids.
    """
    layers = tuple(Descriptor(media_type, digest(i), size) for i, size in enumerate(sizes))
    config = Config(LINUX_AMD64, tuple(digest(1000 + i) for i in range(len(sizes))) if told else ())
    manifest = Manifest(OCI_MANIFEST, 2, None, layers)
    name = parse("us-docker.pkg.dev/p/r/i:1")
    return Image(name, digest(9), digest(9), LINUX_AMD64, manifest, config, looks=looks or {})


def read(found: Image, most: int = 8) -> list[int]:
    return [layer.index for layer in worth_a_look(found, most)]


def verdict(found: Image) -> Verdict:
    (one,) = [one for one in rules.check(found, region="us-central1") if one.rule == "image-no-empty-layers"]
    return one.verdict


class TestTheSmallLayersThatAreRead:
    def test_are_at_most_64_kib(self) -> None:
        assert read(image([LARGEST_LOOK, LARGEST_LOOK + 1, 5_000_000_000])) == [0]

    def test_are_together_at_most_128_kib(self) -> None:
        assert MOST_LOOKED == 2 * LARGEST_LOOK
        assert read(image([LARGEST_LOOK] * 3)) == [0, 1]
        assert read(image([LARGEST_LOOK, LARGEST_LOOK, 1])) == [2, 0]

    def test_are_as_many_as_is_asked_for_the_smallest_first(self) -> None:
        assert read(image([30, 20, 10]), most=2) == [2, 1]
        assert read(image([30, 20, 10]), most=0) == []

    def test_begin_with_those_that_may_well_be_empty(self) -> None:
        long_zeros = layer_rules.LONGEST_EMPTY // 1032
        assert read(image([10, long_zeros, SMALL_BLOB, SMALL_BLOB + 1, long_zeros - 1]), most=3) == [1, 2, 0]

    def test_of_zstd_may_be_empty_when_they_are_smaller(self) -> None:
        assert read(image([100, 127, 128, SMALL_BLOB], ZSTD), most=2) == [2, 3]

    def test_may_be_empty_whatever_their_size_where_no_diff_id_is_told(self) -> None:
        assert read(image([SMALL_BLOB, SMALL_BLOB + 1, 10], told=False), most=2) == [2, 0]

    @pytest.mark.parametrize("media_type", [f"{GZIP}+encrypted", GZIP.replace("layer.", "layer.nondistributable.")])
    def test_are_not_foreign_or_encrypted(self, media_type: str) -> None:
        assert read(image([10], media_type)) == []

    def test_are_each_read_once(self) -> None:
        found = image([10, 10])
        twins = replace(found.manifest, layers=found.manifest.layers[:1] * 2)
        assert len(worth_a_look(replace(found, manifest=twins), 8)) == 1


class TestOneThatIsNotRead:
    @pytest.mark.parametrize(
        ("size", "media_type", "told", "expected"),
        [
            (4063, GZIP, True, Verdict.HOLDS),
            (4064, GZIP, True, Verdict.UNKNOWN),
            (SMALL_BLOB, GZIP, True, Verdict.UNKNOWN),
            (SMALL_BLOB + 1, GZIP, True, Verdict.HOLDS),
            (127, ZSTD, True, Verdict.HOLDS),
            (128, ZSTD, True, Verdict.UNKNOWN),
            (10, GZIP, False, Verdict.UNKNOWN),
            (SMALL_BLOB + 1, GZIP, False, Verdict.HOLDS),
        ],
    )
    def test_is_doubted_only_if_it_may_well_be_empty(
        self, size: int, media_type: str, told: bool, expected: Verdict
    ) -> None:
        assert verdict(image([size], media_type, told=told)) is expected

    @pytest.mark.parametrize(
        ("look", "expected"),
        [
            (Look(Inside.ENTRIES), Verdict.HOLDS),
            (Look(Inside.EMPTY), Verdict.BROKEN),
            (Look(Inside.UNTOLD, "it is no tar"), Verdict.UNKNOWN),
        ],
    )
    def test_is_not_doubted_once_it_was(self, look: Look, expected: Verdict) -> None:
        assert verdict(image([4064], looks={digest(0): look})) is expected

    def test_is_named_with_the_reason(self) -> None:
        (one,) = [one for one in rules.check(image([4064]), region="us-central1") if one.verdict is Verdict.UNKNOWN]
        assert "more than 4 MiB of zeros can be as small" in one.says

    def test_without_a_diff_id_has_a_reason_of_its_own(self) -> None:
        found = rules.check(image([10], told=False), region="us-central1")
        assert "the config does not tell what they are uncompressed" in " ".join(one.says for one in found)

    def test_of_no_media_type_has_an_unknown_one(self) -> None:
        found = rules.check(image([10], ""), region="us-central1")
        assert "of the unknown type (none)" in " ".join(one.says for one in found)
