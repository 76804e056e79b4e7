"""Rules about where a job runs and what it is called: project, region, job id, labels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.images.locations import ZONE, no_region
from airflow_batchstream.core.jobs.identity import ID_LABEL, LONGEST_ID, OUR_LABELS, SPEC_LABEL, TASK_LABEL
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import Asked, mapping, refused, runnables
from airflow_batchstream.core.jobs.schema import templated
from airflow_batchstream.core.jobs.spec import MOST_LABELS

OURS = (ID_LABEL, TASK_LABEL, SPEC_LABEL)


def project(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """There is a project, and its id can be one."""
    given = asked.project_id
    if not given:
        if not asked.templated_ok:
            remedy = "Give project_id=, or set the project in the Google Cloud connection."
            yield refused("project", "project_id", given, "no project is given.", remedy)
    elif _later(given, asked):
        return
    elif not re.fullmatch(r"([a-z0-9.-]+:)?[a-z]([a-z0-9-]*[a-z0-9])?|[0-9]+", given):
        says = f"{given!r} is no project id: lower-case letters, digits and dashes, starting with a letter."
        yield refused(
            "project", "project_id", given, says, "Give the project's id (not its name), such as my-project-123."
        )


def region(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """There is a region, and it is one."""
    given = asked.region
    if not given:
        if not asked.templated_ok:
            says = "no region is given, and a Batch job runs in one."
            yield refused("region", "region", given, says, "Give region=, such as region='us-central1'.")
    elif not _later(given, asked) and (why := no_region(given)):
        says, remedy = why
        if ZONE.fullmatch(given):
            there = "set allocationPolicy.location.allowedLocations in the job."
            remedy = f"{remedy.rstrip('.')}; to keep the VMs in the zone, {there}"
        yield refused("region", "region", given, says, remedy)


def job_id(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """The id is one that Batch takes."""
    given = asked.job_id
    if not given or _later(given, asked) or re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", given):
        return
    if len(given) > LONGEST_ID:
        says = f"{given!r} has {len(given)} characters, and Batch takes {LONGEST_ID}."
    else:
        says = f"{given!r} is no job id: lower-case letters, digits and dashes, a letter first, no dash last."
    better = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")
    better = (better if better[:1].isalpha() else f"job-{better}")[:LONGEST_ID].strip("-")
    yield refused(
        "job-id", "job_id", given, says, f"Write {better!r}, or leave it out for an id that retries find again."
    )


def _later(given: str, asked: Asked) -> bool:
    return asked.templated_ok and (templated(given) or not isinstance(given, str))


def labels(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Labels of the job, of what it creates and of its runnables are ones that Google Cloud takes."""
    yield from _labels("job.labels", spec.get("labels"), MOST_LABELS - len(OURS))
    allocation = mapping(spec, "allocationPolicy")
    yield from _labels("job.allocationPolicy.labels", allocation.get("labels"), MOST_LABELS)
    for path, runnable in runnables(spec):
        yield from _labels(f"{path}.labels", runnable.get("labels"), MOST_LABELS)


def _labels(path: str, found: Any, most: int) -> Iterator[Finding]:
    if not isinstance(found, dict):
        return
    if len(found) > most:
        room = f", {MOST_LABELS - most} of them needed to find the job again" if most < MOST_LABELS else ""
        says = f"there are {len(found)} labels, and Google Cloud takes {MOST_LABELS}{room}."
        yield refused("labels", path, len(found), says, f"Leave out {len(found) - most}.")
    for key, value in found.items():
        yield from _label(f"{path}.{key}", key, value)


def _label(path: str, key: str, value: Any) -> Iterator[Finding]:
    if key.startswith(("goog-", "google-")):
        yield refused(
            "labels", path, key, f"{key!r} starts with goog- or google-, which Google reserves.", "Name it otherwise."
        )
    elif key.startswith(OUR_LABELS):
        says = f"{key!r} is how a retry finds its own job."
        yield refused("labels", path, key, says, "Leave it out; it is set for you.")
    elif not re.fullmatch(r"[^\W\d_][\w-]{0,62}", key) or key != key.lower():
        says = f"{key!r} is no label name: 1 to 63 lower-case letters, digits, _ and -, a letter first."
        better = re.sub(r"[^\w-]", "_", key.lower()).lstrip("0123456789_-")[:63]
        yield refused("labels", path, key, says, f"Write {better!r}." if better else "Name it otherwise.")
    if isinstance(value, str) and (not re.fullmatch(r"[\w-]{0,63}", value) or value != value.lower()):
        says = f"{value!r} is no label value: at most 63 lower-case letters, digits, _ and -."
        better = re.sub(r"[^\w-]", "_", value.lower())[:63]
        yield refused("labels", path, value, says, f"Write {better!r}.")
