"""Errors name what the Dag author wrote: a place in the job that the short form filled is called by its argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.jobs.spec import Short

_CONTAINER = r"taskGroups\[0\]\.taskSpec\.runnables\[\d+\]\.container"
_PLACES = {
    "image_uri": rf"{_CONTAINER}\.imageUri",
    "commands": rf"{_CONTAINER}\.commands",
    "entrypoint": rf"{_CONTAINER}\.entrypoint",
    "volumes": rf"{_CONTAINER}\.volumes",
    "environment": r"taskGroups\[0\]\.taskSpec\.environment\.variables",
    "machine_type": r"allocationPolicy\.instances\[0\]\.policy\.machineType",
    "task_count": r"taskGroups\[0\]\.taskCount",
    "parallelism": r"taskGroups\[0\]\.parallelism",
    "max_run_duration": r"taskGroups\[0\]\.taskSpec\.maxRunDuration",
    "service_account": r"allocationPolicy\.serviceAccount\.email",
    "labels": r"labels",
}
"""Argument -> where :func:`~airflow_batchstream.core.jobs.spec.build` puts it."""


def as_written(finding: Finding, short: Short, path: str = "job") -> Finding:
    """The finding under the argument's name, where an argument put the value there.

    :param path: what the job is called in findings.
    """
    for name, place in _PLACES.items():
        given = getattr(short, name)
        found = re.fullmatch(rf"{re.escape(path)}\.{place}(?P<rest>|[.\[].*)", finding.path) if given else None
        # A mapping is merged into the job's: what stands under another key is the job's own.
        if found and (not isinstance(given, Mapping) or found["rest"][1:] in given):
            return replace(finding, path=name + found["rest"])
    return finding
