"""Many scans at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchstream.core.findings import Finding, Verdict, severest
from airflow_batchstream.core.images.scan_summary import summary
from airflow_batchstream.core.images.scan_table import WIDTH

NAME = "us-docker.pkg.dev/acme/batch/train"


@dataclass(frozen=True)
class One:
    """A scan, as far as it is told here."""

    asked: str
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """As of a scan."""
        return severest(finding.verdict for finding in self.findings)


def said(verdict: Verdict, *rules: str) -> tuple[Finding, ...]:
    return tuple(Finding(rule, verdict, "image", None, "says") for rule in ("image-platform", *rules))


GOOD, UNSURE = One(f"{NAME}:1", said(Verdict.HOLDS)), One(f"{NAME}:2", said(Verdict.UNKNOWN))
BROKEN = One(f"{NAME}:3", (*said(Verdict.BROKEN, "image-no-empty-layers", "image-platform"), *said(Verdict.HOLDS, "x")))


class TestTheSummary:
    def test_counts_and_names_the_worst_first_each_with_the_rules_that_made_its_verdict(self) -> None:
        assert summary([GOOD, UNSURE, BROKEN, GOOD]) == [
            "Summary   4 images: 1 does not stream, 1 could not be told, 2 may be streamed",
            "",
            f"  BROKEN   {NAME}:3  image-platform, image-no-empty-layers",
            f"  not told {NAME}:2  image-platform",
            f"  holds    {NAME}:1",
            f"  holds    {NAME}:1",
        ]

    def test_is_not_made_of_one_image(self) -> None:
        assert summary([BROKEN]) == []

    def test_has_a_line_for_each_of_two_hundred_images(self) -> None:
        scans = [One(f"{NAME}-{n}:1.0", said(Verdict.BROKEN if n % 50 == 7 else Verdict.HOLDS)) for n in range(200)]
        lines = summary(scans)
        assert lines[0] == "Summary   200 images: 4 do not stream, 196 may be streamed"
        assert len(lines) == 202
        assert [line.split()[0] for line in lines[2:7]] == ["BROKEN"] * 4 + ["holds"]

    def test_fits_its_columns_whatever_the_names_are(self) -> None:
        names = [f"{NAME}@sha256:{'a' * 64}", "ü" * 300, "a-b/" * 60 + "c:1", f"{NAME}:1"]
        many = tuple(f"image-{'rule' * 5}-{n}" for n in range(12))
        lines = summary([One(name, said(Verdict.BROKEN, *many)) for name in names])
        assert max(map(len, lines)) <= WIDTH
        assert f"  BROKEN   {NAME}@sha256:{'a' * (WIDTH - 11 - len(NAME) - 8)}" in lines
