"""A job's own look at its images, between the checked job and its submission: for a job that is created only.

What it finds goes three ways: the digests into the job, and the first image's digest, verdict and size into the job's
labels and into the :class:`Subject` of the wait. A retry that adopts a job takes them from the labels and looks at
nothing. Nor is an image read again that a task before this one has scanned and handed on, pinned: :mod:`.handed_on`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_batchstream import connection
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.jobs import identity, spec
from airflow_batchstream.core.jobs.boot_disk import boot_disk_room
from airflow_batchstream.core.jobs.model import Sight, Spec
from airflow_batchstream.services.hub import Subject

if TYPE_CHECKING:
    from airflow_batchstream.core.images.scanned import FailOn, Scan
    from airflow_batchstream.tasklog import TaskLog


SCAN_KEY = "image_scan"
"""XCom key of what a scan task found: a small dict, or a list of them."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one image of a job.

    :param pinned: the name to run; None where its digest could not be told.
    :param verdict: ``holds``, ``warning``, ``broken`` or ``unknown``.
    :param compressed_bytes: of all layers; 0 if that is not known.
    """

    asked: str
    pinned: str | None
    verdict: str
    compressed_bytes: int = 0


async def scanned(
    job: Spec,
    *,
    region: str,
    endpoint: Endpoint,
    credentials: Any,
    fail_on: FailOn,
    log: TaskLog,
    handed: Mapping[str, tuple[Known, str]],
) -> list[Known]:
    """Look at each image that is to be streamed, and refuse those that ``fail_on`` forbids.

    :param handed: images that need no look, each with the task that scanned it.
    :raises ImageRefused: for what it forbids, and for an image that does not exist.
    """
    from airflow_batchstream.core.images.scan_table import table
    from airflow_batchstream.services.scan import scan_all

    known = as_handed_on(handed, log)
    try:
        scans = await scan_all(
            [uri for uri in spec.streamed_images(job) if uri not in handed],
            region=region,
            endpoint=endpoint,
            token=connection.token_source(credentials),
            machine_type=spec.machine_type(job),
            tolerant=True,
        )
        for scan in scans:
            log.table(table(scan))
        refuse_all(scans, fail_on)
    except ImageRefused as e:
        if e.findings or e.missing:  # the way out stands there; without the look Batch would find out, on a VM
            raise
        way_out = "scan_image=False submits the job without this look, and without pinning the tag."
        raise ImageRefused(f"{e}\n{way_out}", findings=e.findings, retryable=e.retryable) from None
    warn_of_unpinned(scans, log, "the job goes on with")
    return [*known, *(_known(scan) for scan in scans)]


def as_handed_on(handed: Mapping[str, tuple[Known, str]], log: TaskLog) -> list[Known]:
    """What tasks before this one have found, and a word of it in the log."""
    for one, task in handed.values():
        log.say(logging.INFO, f"{one.asked} is as the task {task} scanned it ({one.verdict}): it is not read again.")
    return [one for one, _ in handed.values()]


def warn_of_small_disks(job: Spec, known: Sequence[Known], log: TaskLog) -> None:
    """Say where the images, unpacked, may not fit the boot disk."""
    for finding in boot_disk_room(job, sum(one.compressed_bytes for one in known)):
        log.say(logging.WARNING, str(finding))


def _known(scan: Scan) -> Known:
    return Known(scan.asked, scan.pinned, scan.verdict.name.lower(), scan.image.size if scan.image else 0)


def warn_of_unpinned(scans: Sequence[Scan], log: TaskLog, goes_on: str) -> None:
    """Say it loudly where a name goes on as it was written, since nobody could tell its digest."""
    for one in scans:
        if one.pinned is None:
            text = f"{one.asked} was not looked at as a whole: {goes_on} the name as it is written, without a digest"
            unsure = ", and what its tag stands for may change until it runs" if one.tag else ""
            log.say(logging.WARNING, f"{text}{unsure}. fail_on='unknown' (a job's scan_fail_on) makes that an error.")


def refuse_all(scans: Sequence[Scan], fail_on: FailOn) -> None:
    """Refuse all images together that :func:`~airflow_batchstream.core.images.scanned.refuse` refuses one by one."""
    from airflow_batchstream.core.images.scanned import refuse

    refused: list[ImageRefused] = []
    for one in scans:
        try:
            refuse(one, fail_on)
        except ImageRefused as e:
            refused.append(e)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        findings = [finding for e in refused for finding in e.findings]
        words, again = "\n".join(str(e) for e in refused), all(e.retryable for e in refused)
        raise ImageRefused(words, findings=findings, retryable=again)


def subject_of(job: Spec, known: Sequence[Known], *, streaming: bool) -> Subject:
    """What is known of the job's first image before it is submitted.

    :param job: with the images' names as they were written.
    """
    image = next((uri for _, uri in spec.images(job)), "")
    one = next((one for one in known if one.asked == image), None)
    if one is None:
        return Subject(image, image.partition("@")[2], streaming)
    digest = (one.pinned or image).partition("@")[2]
    return Subject(image, digest, streaming, one.compressed_bytes, one.verdict)


def adopted_subject(subject: Subject, sight: Sight) -> Subject:
    """What is known of the first image of a job that is there: one that an earlier try created may run another digest
    than the tag stands for now. Where its labels do not tell, the image's name in the job does.
    """
    runs = next((uri for _, uri in spec.images(sight.spec)), "")
    told = identity.scan_of_labels(sight.labels)
    digest = told.digest or runs.partition("@")[2]
    size = told.compressed_bytes or (subject.compressed_bytes if digest and digest == subject.digest else 0)
    return replace(subject, digest=digest, verdict=told.verdict, compressed_bytes=size)
