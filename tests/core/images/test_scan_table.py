"""The table of a scan: paragraphs for what is wrong, a line for what is right, on 100 columns."""

from __future__ import annotations

import pytest

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images.platforms import platform_of
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.scan_table import WIDTH, finding_rows, table
from airflow_batchstream.core.images.scanned import Scan

NAME = "us-docker.pkg.dev/acme/batch/train:1.5"


def finding(verdict: Verdict, rule: str = "image-rule", says: str = "It says so.", remedy: str = "Do this.") -> Finding:
    return Finding(rule, verdict, "image", None, says, "" if verdict is Verdict.HOLDS else remedy)


class TestTheRows:
    def test_are_paragraphs_for_two_broken_rules_and_then_a_line_for_each_that_holds(self) -> None:
        holds = [finding(Verdict.HOLDS, "image-a"), finding(Verdict.HOLDS, "image-longer")]
        assert finding_rows([*holds, finding(Verdict.BROKEN, "image-b"), finding(Verdict.BROKEN, "image-c")]) == [
            "  BROKEN   image-b",
            "           It says so.",
            "           -> Do this.",
            "",
            "  BROKEN   image-c",
            "           It says so.",
            "           -> Do this.",
            "",
            "  holds    image-a       It says so.",
            "  holds    image-longer  It says so.",
        ]

    def test_end_without_an_empty_line(self) -> None:
        assert finding_rows([finding(Verdict.UNKNOWN)])[-1] == "           -> Do this."
        assert finding_rows([]) == []

    @pytest.mark.parametrize("verdict", list(Verdict))
    @pytest.mark.parametrize("text", [f"sha256:{'a' * 64} " * 9, "x" * 300, "ü" * 300, "long-word-" * 40])
    def test_fit_their_columns_whatever_is_said(self, verdict: Verdict, text: str) -> None:
        assert max(map(len, finding_rows([finding(verdict, says=text, remedy=text)]))) <= WIDTH


class TestTheTable:
    def test_has_one_empty_line_between_its_parts(self) -> None:
        found = (finding(Verdict.BROKEN), finding(Verdict.WARNING))
        lines = table(Scan(NAME, parse(NAME), platform_of(""), found))
        assert lines[0] == f"Image     {NAME}"
        assert lines[-2:] == ["", "Verdict   does not stream: 1 rule is broken."]
        assert "\n\n\n" not in "\n".join(lines)

    def test_fits_its_columns_whatever_the_name_is(self) -> None:
        long = f"us-docker.pkg.dev/acme/{'deep/' * 40}train@sha256:{'a' * 64}"
        assert max(map(len, table(Scan(long, parse(long), platform_of(""), (finding(Verdict.HOLDS),))))) <= WIDTH
