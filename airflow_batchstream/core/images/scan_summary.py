"""Many scans at a glance: a line for each image, the worst first, at the end of what a terminal or a task log shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from airflow_batchstream.core.findings import SEVEREST_FIRST, Finding, Verdict
from airflow_batchstream.core.images.scan_table import MARKS, wrapped

_COUNTED = {
    Verdict.BROKEN: ("does not stream", "do not stream"),
    Verdict.UNKNOWN: ("could not be told", "could not be told"),
    Verdict.WARNING: ("with a warning", "with a warning"),
    Verdict.HOLDS: ("may be streamed", "may be streamed"),
}
_LONGEST_NAME = 52
"""Of names that have their rules beside them; longer ones have them below."""


class Scanned(Protocol):
    """A scan of one image."""

    @property
    def asked(self) -> str:
        """The name as it was written."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What each rule said."""

    @property
    def verdict(self) -> Verdict:
        """The severest of them."""


def summary(scans: Sequence[Scanned]) -> list[str]:
    """Which images stream and which do not, with the rules that say so; nothing for a single one."""
    if len(scans) < 2:
        return []
    counts = Counter(one.verdict for one in scans)
    told = [f"{counts[said]} {_COUNTED[said][counts[said] > 1]}" for said in SEVEREST_FIRST if counts[said]]
    column = min(max(len(one.asked) for one in scans), _LONGEST_NAME) + 2
    in_order = sorted(scans, key=lambda one: SEVEREST_FIRST.index(one.verdict))
    lines = [line for one in in_order for line in _lines(one, column)]
    return [f"Summary   {len(scans)} images: {', '.join(told)}", "", *lines]


def _lines(one: Scanned, column: int) -> list[str]:
    """An image's name, and behind or below it the rules that made its verdict."""
    mark = f"  {MARKS[one.verdict]:<9}"
    name = wrapped(one.asked, mark)
    rules = dict.fromkeys(f.rule for f in one.findings if f.verdict is one.verdict and f.verdict is not Verdict.HOLDS)
    if not rules:
        return name
    if len(one.asked) + 2 <= column:
        return wrapped(", ".join(rules), f"{mark}{one.asked:<{column}}", len(mark) + column)
    return [*name, *wrapped(", ".join(rules), " " * (len(mark) + 2))]
