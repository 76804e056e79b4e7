"""A whole job looked at before it is submitted: what its own rules say, and a scan of each image that it streams.

The job's text -> the canonical spec -> the rules of jobs -> the scans of its images -> :class:`JobScan`. Templates may
be in it, as in a ``job_file``: what they stand for is passed over, and an image that is one could not be told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict, broken, severest
from airflow_batchstream.core.images.scan_summary import summary
from airflow_batchstream.core.images.scan_table import conclusion, finding_rows, row, table
from airflow_batchstream.core.images.scanned import Scan
from airflow_batchstream.core.jobs import prepare, rules, spec
from airflow_batchstream.core.jobs.boot_disk import boot_disk_room
from airflow_batchstream.core.jobs.machine_rules import allowed_regions
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.schema import templated
from airflow_batchstream.services.scan import MOST_SMALL_BLOBS, scan_all

_OF_NAMES = frozenset({"image-location", "image-in-artifact-registry", "image-name-complete"})
"""Rules of jobs that a scan of the image says again, in more words."""
_NOT_SCANNED = "The job was not scanned"


@dataclass(frozen=True, slots=True)
class JobScan:
    """What was found out about a job and its images.

    :param name: what the job is called: its file.
    :param region: that was given, or the only one in which the job allows its VMs; else empty.
    :param findings: about the job itself; rules that hold are not in it.
    :param scans: of each image that is to be streamed, once.
    """

    name: str
    region: str
    findings: tuple[Finding, ...]
    scans: tuple[Scan, ...]

    @property
    def all_findings(self) -> list[Finding]:
        """The job's and its images'."""
        return [*self.findings, *(finding for scan in self.scans for finding in scan.findings)]

    @property
    def verdict(self) -> Verdict:
        """The severest of all findings."""
        return severest(finding.verdict for finding in self.all_findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "job": self.name,
            "region": self.region,
            "verdict": str(self.verdict),
            "findings": [finding.as_dict() for finding in self.findings],
            "images": [scan.as_dict() for scan in self.scans],
        }


async def scan_job(
    text: str,
    *,
    name: str,
    region: str,
    endpoint: Endpoint,
    token: Callable[[], Awaitable[str]] | None = None,
    machine_type: str = "",
    most_small_blobs: int = MOST_SMALL_BLOBS,
) -> JobScan:
    """Look at a job and at every image that it would stream. A container that does not say is streamed, as the
    operator's are.

    :param text: JSON or YAML.
    :param name: what the job is called in findings.
    :param region: that it is to run in; empty for the region of its ``allowedLocations``, if that is one.
    :param machine_type: wins over the job's own; empty for that.
    :param most_small_blobs: small layers of one image that may be read to see whether they are empty.
    :raises InvalidInput: the text is no job.
    """
    try:
        job, found = spec.build(prepare.parsed(text, name), spec.Short(), path=name, templated_ok=True)
    except InvalidInput as error:
        raise InvalidInput(error.findings, lead=_NOT_SCANNED) from None
    if broken(found):
        raise InvalidInput(broken(found), lead=_NOT_SCANNED)
    region = region or _only_region(job)
    found += rules.check(
        job, project_id=None, region=region or None, job_id=None, streaming=True, templated_ok=True, path=name
    )
    images, asked = _images(job, name)
    found += asked
    refused = {f.path for f in broken(found) if f.rule not in _OF_NAMES}
    scans = await scan_all(
        list(dict.fromkeys(uri for path, uri in images if path not in refused)),
        region=region,
        endpoint=endpoint,
        token=token,
        machine_type=machine_type or _machine_type(job),
        tolerant=True,
        missing_too=True,
        most_small_blobs=most_small_blobs,
    )
    scanned = {path for path, _ in images}
    found = [f for f in found if not (f.rule in _OF_NAMES and f.path in scanned)]
    size = sum(scan.image.size for scan in scans if scan.image)
    found += [replace(f, path=name + f.path.removeprefix("job")) for f in boot_disk_room(job, size)]
    return JobScan(name, region, tuple(found), tuple(scans))


def job_table(job: JobScan) -> list[str]:
    """The job's findings and each scan's table, as lines of plain text."""
    many = "1 image" if len(job.scans) == 1 else f"{len(job.scans)} images"
    told = [replace(finding, says=str(replace(finding, remedy=""))) for finding in job.findings]
    head = [row("Job", job.name), row("Region", job.region or "not known"), row("Images", f"{many} to stream")]
    lines = [*head, *(["", *finding_rows(told)] if told else [])]
    for scan in job.scans:
        lines += ["", *table(scan)]
    if len(job.scans) > 1:
        lines += ["", *summary(job.scans)]
    lines += ["", row("Together", conclusion(job.all_findings))]
    return [line for part in lines for line in part.split("\n")]


def _images(job: Spec, name: str) -> tuple[list[tuple[str, str]], list[Finding]]:
    """``(path, image)`` of what is to be streamed, and what stands in the way of knowing that."""
    images: list[tuple[str, str]] = []
    found: list[Finding] = []
    for path, container in spec.containers(job, name):
        says_so, uri = container.get("enableImageStreaming", True), container.get("imageUri")
        if says_so is False:
            continue
        if templated(uri) or templated(says_so):
            words = "is a template: which image it will be is not known here."
            way = "Scan what it stands for, or leave the scan to the operator, which looks at the rendered job."
            found.append(Finding("image-known", Verdict.UNKNOWN, f"{path}.imageUri", uri, words, way))
        elif isinstance(uri, str) and uri:
            images.append((f"{path}.imageUri", uri))
    asked = [container.get("enableImageStreaming", True) for _, container in spec.containers(job)]
    if asked and not any(asked):
        words = "every container says enableImageStreaming: false, so nothing is streamed."
        found.append(Finding("streaming-asked", Verdict.BROKEN, name, False, words, "Leave it out, or write true."))
    elif not asked and not found:
        words = "no container is in it, or a template stands where they will be: nothing can be scanned."
        found.append(Finding("image-known", Verdict.UNKNOWN, name, None, words, "Scan the rendered job."))
    return images, found


def _only_region(job: Spec) -> str:
    regions = {region for _, region in allowed_regions(job)}
    return regions.pop() if len(regions) == 1 else ""


def _machine_type(job: Spec) -> str:
    try:
        found = spec.machine_type(job)
    except (AttributeError, KeyError):  # a template in a mapping's place
        return ""
    return "" if templated(found) else found
