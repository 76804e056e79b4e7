"""A scan as a table: lines of plain text for the task log and the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from airflow_batchstream.core.findings import SEVEREST_FIRST, Finding, Verdict, severest
from airflow_batchstream.core.images.scanned import Scan, broken_rules
from airflow_batchstream.core.sizes import size

WIDTH = 100
"""Columns of the table."""

MARKS = {Verdict.HOLDS: "holds", Verdict.BROKEN: "BROKEN", Verdict.WARNING: "warning", Verdict.UNKNOWN: "not told"}
"""A verdict as tables have it."""


def table(scan: Scan) -> list[str]:
    """The scan as lines of plain text, at most :data:`WIDTH` columns, for the task log and the terminal."""
    lines = [row("Image", scan.asked)]
    if scan.image and scan.digest:
        layers = f"{len(scan.image.layers)} layers" if len(scan.image.layers) != 1 else "1 layer"
        lines += [row("Digest", scan.digest)]
        if scan.image.manifest_digest != scan.digest:
            lines += [row("Manifest", scan.image.manifest_digest)]
        lines += [row("Platform", f"{scan.platform}, {layers}, {size(scan.image.size)} compressed")]
    asked = "1 request" if scan.requests == 1 else f"{scan.requests} requests"
    small = len(scan.image.looks) if scan.image else 0
    looked = f"{small} small layer{'s' if small > 1 else ''} looked into, no other" if small else "no layer"
    read_so_far = f"{asked}, {size(scan.bytes_read)}; {looked} was downloaded"
    lines += [row("Read", read_so_far if scan.requests else "nothing: the name alone tells"), ""]
    lines += [*finding_rows(scan.findings), "", row("Verdict", conclusion(scan.findings))]
    return [line for part in lines for line in part.split("\n")]


def finding_rows(findings: Sequence[Finding]) -> list[str]:
    """Findings as lines of the table, the severest first; an empty line between paragraphs."""
    column = max((len(finding.rule) for finding in findings), default=0) + 2
    in_order = sorted(findings, key=lambda finding: SEVEREST_FIRST.index(finding.verdict))
    lines: list[str] = []
    for finding in in_order:
        lines += [*_finding_lines(finding, column), *([] if finding.verdict is Verdict.HOLDS else [""])]
    return lines if not lines or lines[-1] else lines[:-1]


def _finding_lines(finding: Finding, column: int) -> list[str]:
    """One line for a rule that holds; a paragraph for any other, with room for commands and names."""
    mark = f"  {MARKS[finding.verdict]:<9}"
    if finding.verdict is Verdict.HOLDS:
        return wrapped(finding.says, f"{mark}{finding.rule:<{column}}")
    indent = " " * len(mark)
    remedy = wrapped(finding.remedy, f"{indent}-> ") if finding.remedy else []
    return [f"{mark}{finding.rule}", *wrapped(finding.says, indent), *remedy]


def conclusion(findings: Sequence[Finding]) -> str:
    """What they come to, in a sentence."""
    verdict = severest(finding.verdict for finding in findings)
    if verdict is Verdict.BROKEN:
        return f"does not stream: {broken_rules(findings)}."
    if verdict is Verdict.UNKNOWN:
        return "could not be told: see above for what would tell."
    if verdict is Verdict.WARNING:
        return "no rule is broken, but see the warning above."
    return "may be streamed: every rule that can be checked beforehand holds."


def row(name: str, value: str) -> str:
    """A name and its value, in as many lines as it takes."""
    return "\n".join(wrapped(value, f"{name:<10}"))


def wrapped(text: str, head: str, indent: int | None = None) -> list[str]:
    """The text behind a head, in as many lines as it takes; names with dashes in them stay whole where they fit.

    :param indent: columns before each further line; those of the head if it is not given.
    """
    further = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=further, break_on_hyphens=False) or [head]
