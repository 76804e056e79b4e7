"""What was found out about an image, as a whole: :class:`Scan`, its dict for XCom, and whether it stops a task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Finding, Verdict, broken, severest
from airflow_batchstream.core.images.layers import Inside
from airflow_batchstream.core.images.manifest import Image, Platform
from airflow_batchstream.core.images.reference import Reference

FailOn = Literal["broken", "unknown", "never"]
"""What of a scan stops a task: see :func:`refuse`."""
_MOST_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found out about an image.

    :param asked: the name as it was written in the job.
    :param reference: the name, read; None where it is none.
    :param digest: what the tag stood for; None where the image was not found or its name breaks a rule.
    :param pinned: the name to run: digest instead of tag. None as the digest.
    :param image: None as the digest.
    :param findings: what each rule said, those that hold included.
    :param requests: HTTP requests that it took.
    :param bytes_read: bytes of manifests, configs and small layers that were read for it.
    :param passing: the registry did not give the image out, and may do so later.
    """

    asked: str
    reference: Reference | None
    platform: Platform
    findings: tuple[Finding, ...]
    digest: str | None = None
    pinned: str | None = None
    image: Image | None = None
    requests: int = 0
    bytes_read: int = 0
    passing: bool = False

    @property
    def tag(self) -> str | None:
        """The tag that was resolved; None where a digest was given, or no name."""
        return None if self.reference is None or self.reference.digest else self.reference.target

    @property
    def looked_into(self) -> dict[int, Inside]:
        """What looks into small layers showed, by the layers' indexes."""
        if self.image is None:
            return {}
        looks = self.image.looks
        return {x.index: looks[x.blob.digest].inside for x in self.image.layers if x.blob.digest in looks}

    @property
    def verdict(self) -> Verdict:
        """The severest of all findings: broken, could not be told, warning, holds."""
        return severest(finding.verdict for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready and small: the XCom ``image_scan``. Rules that hold are left out."""
        return {
            "image": self.asked,
            "pinned": self.pinned,
            "tag": self.tag,
            "digest": self.digest,
            "manifest_digest": self.image.manifest_digest if self.image else None,
            "platform": str(self.platform),
            "verdict": str(self.verdict),
            "layers": len(self.image.layers) if self.image else None,
            "compressed_bytes": self.image.size if self.image else None,
            "findings": [f.as_dict() for f in self.findings if f.verdict is not Verdict.HOLDS][:_MOST_FINDINGS],
            "looked_into": {str(index): str(inside) for index, inside in self.looked_into.items()},
            "requests": self.requests,
            "bytes_read": self.bytes_read,
        }


def refuse(scan: Scan, fail_on: FailOn = "broken") -> None:
    """Raise :class:`ImageRefused`, with all rules that forbid to go on and their remedies, if there are any.

    :param fail_on: ``"broken"``: broken rules forbid it; ``"unknown"``: so do rules that could not be told;
        ``"never"``: nothing does.
    """
    found = [] if fail_on == "never" else broken(scan.findings)
    if fail_on == "unknown":
        found += [finding for finding in scan.findings if finding.verdict is Verdict.UNKNOWN]
    if not found:
        return
    lines = "\n".join(f"  - {f.says} {f.remedy}".rstrip() for f in found)
    if scan.verdict is Verdict.BROKEN:
        raise ImageRefused(f"{scan.asked} cannot be streamed, {broken_rules(found)}:\n{lines}", findings=found)
    words = f"Whether {scan.asked} can be streamed could not be told (fail_on is 'unknown')"
    raise ImageRefused(f"{words}:\n{lines}", findings=found, retryable=scan.passing)


def broken_rules(findings: Iterable[Finding]) -> str:
    """``1 rule is broken`` or ``2 rules are broken``: rules, not findings, as three empty layers break one rule."""
    count = len({finding.rule for finding in broken(findings)})
    return "1 rule is broken" if count == 1 else f"{count} rules are broken"
