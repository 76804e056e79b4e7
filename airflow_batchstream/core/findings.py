"""One shape for everything that is checked: job specs, images, later gates and the doctor's visits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a rule says of a value."""

    HOLDS = "holds"
    BROKEN = "broken"
    WARNING = "warning"
    """Allowed, but probably not what was meant."""
    UNKNOWN = "could not be told"


SEVEREST_FIRST = (Verdict.BROKEN, Verdict.UNKNOWN, Verdict.WARNING, Verdict.HOLDS)


def severest(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a whole, from those on its parts; of nothing it holds."""
    return min(verdicts, key=SEVEREST_FIRST.index, default=Verdict.HOLDS)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of one value.

    :param rule: the rule's short, stable name (``image-in-artifact-registry``); people filter on it.
    :param verdict: whether the rule holds.
    :param path: where the value stands, as the user would find it: ``job.taskGroups[0].taskCount``, ``region``.
    :param value: the offending value, already safe to show (never an environment's value).
    :param says: the rule in one sentence, with what was found.
    :param remedy: the way out, in one sentence; empty where the rule holds.
    """

    rule: str
    verdict: Verdict
    path: str
    value: object
    says: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {self.says}"
        return f"{text} {self.remedy}" if self.remedy else text

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the value as text where JSON has no word for it."""
        plain = asdict(self) | {"verdict": str(self.verdict)}
        if not isinstance(self.value, str | int | float | bool | None):
            plain["value"] = repr(self.value)
        return plain


def broken(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid to go on."""
    return [f for f in findings if f.verdict is Verdict.BROKEN]
