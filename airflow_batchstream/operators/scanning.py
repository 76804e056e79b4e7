"""A job's own look at its images, between the checked job and its submission; and what ``fail_on`` may be.

What it finds goes three ways: the digests into the job, the first image's digest and verdict into the job's labels, and
both, with its size, into the :class:`Subject` of the wait. A retry that adopts a job takes them from the labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_batchstream import connection
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.jobs import identity, spec
from airflow_batchstream.core.jobs.model import Sight, Spec
from airflow_batchstream.services.hub import Subject

if TYPE_CHECKING:
    from airflow_batchstream.services.scan import FailOn, Scan
    from airflow_batchstream.tasklog import TaskLog


async def scanned(
    job: Spec, *, region: str, endpoint: Endpoint, credentials: Any, fail_on: FailOn, log: TaskLog
) -> list[Scan]:
    """Look at each image that is to be streamed, and refuse those that ``fail_on`` forbids.

    :raises ImageRefused: for what it forbids, and for an image that does not exist.
    """
    from airflow_batchstream.services.scan import scan_all, table

    try:
        scans = await scan_all(
            spec.streamed_images(job),
            region=region,
            endpoint=endpoint,
            token=connection.token_source(credentials),
            machine_type=spec.machine_type(job),
            tolerant=True,
        )
        for one in scans:
            log.table(table(one))
        refuse_all(scans, fail_on)
    except ImageRefused as e:
        if e.findings or e.missing:  # the way out stands there; without the look Batch would find out, on a VM
            raise
        way_out = "scan_image=False submits the job without this look, and without pinning the tag."
        raise ImageRefused(f"{e}\n{way_out}", findings=e.findings, retryable=e.retryable) from None
    warn_of_unpinned(scans, log, "the job goes on with")
    return scans


def warn_of_unpinned(scans: Sequence[Scan], log: TaskLog, goes_on: str) -> None:
    """Say it loudly where a name goes on as it was written, since nobody could tell its digest."""
    for one in scans:
        if one.pinned is None:
            text = f"{one.asked} was not looked at as a whole: {goes_on} the name as it is written, without a digest"
            unsure = "" if one.reference.digest else ", and what its tag stands for may change until it runs"
            log.say(logging.WARNING, f"{text}{unsure}. fail_on='unknown' (a job's scan_fail_on) makes that an error.")


def refuse_all(scans: Sequence[Scan], fail_on: FailOn) -> None:
    """Refuse all images together that :func:`~airflow_batchstream.services.scan.refuse` refuses one by one."""
    from airflow_batchstream.services.scan import refuse

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


def subject_of(job: Spec, scans: Sequence[Scan], *, streaming: bool) -> Subject:
    """What is known of the job's first image before it is submitted.

    :param job: with the images' names as they were written.
    """
    image = next((uri for _, uri in spec.images(job)), "")
    one = next((scan for scan in scans if scan.asked == image), None)
    if one is None:
        return Subject(image, image.partition("@")[2], streaming)
    digest = (one.pinned or image).partition("@")[2]
    return Subject(image, digest, streaming, one.image.size if one.image else 0, one.verdict.name.lower())


def adopted_subject(subject: Subject, sight: Sight) -> Subject:
    """What is known of the first image of a job that an earlier try created: it may run another digest than the tag
    stands for now. Where its labels do not tell, the image's name in the job does.
    """
    runs = next((uri for _, uri in spec.images(sight.spec)), "")
    digest = identity.digest_of_label(sight.labels.get(identity.DIGEST_LABEL, "")) or runs.partition("@")[2]
    verdict = sight.labels.get(identity.SCAN_LABEL, "")
    size = subject.compressed_bytes if digest == subject.digest else 0
    return replace(subject, digest=digest, verdict=verdict, compressed_bytes=size)
