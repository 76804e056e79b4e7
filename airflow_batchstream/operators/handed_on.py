"""What scan tasks before a job have left in XCom about its images: so much of a look that need not be taken again.

Only names with a digest count, since what a tag stands for may have changed. It is told as well to a job whose own look
is off: what a scan found is then known all the same, and nothing is refused for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.jobs import spec
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.operators.scanning import SCAN_KEY, Known

if TYPE_CHECKING:
    from airflow_batchstream.core.images.scanned import FailOn

MOST_ASKED = 20
"""Tasks before this one whose XComs are asked for, the nearest first: gates and branches may stand in between."""
_REFUSED_BY = {"broken": {"broken"}, "unknown": {"broken", "unknown"}, "never": set[str]()}
_WORDS = {str(verdict): verdict.name.lower() for verdict in Verdict}
"""A verdict as XCom has it -> as labels have it."""


def handed_on(context: Any, job: Spec, *, region: str, fail_on: FailOn | None) -> dict[str, tuple[Known, str]]:
    """The images of a job that a task before this one has scanned, for its region and kind of machine.

    Whatever goes wrong, the image is not among them. Of several scans the nearest task's counts.

    :param fail_on: a scan that it forbids does not count: the image is read anew, and refused for what that shows. None
        where nothing will be read: then a scan for no region counts too, which could not tell all.
    :return: image -> what is known of it, and the task's id.
    """
    from airflow_batchstream.core.images.platforms import BY_TEMPLATE, platform_of

    wanted = {uri for uri in spec.streamed_images(job) if "@" in uri}
    refused = _REFUSED_BY[fail_on] if fail_on else ()
    regions, machine_type = {region} if fail_on else {region, ""}, spec.machine_type(job)
    platform = None if machine_type == BY_TEMPLATE else str(platform_of(machine_type))  # the scan task was told it
    found: dict[str, tuple[Known, str]] = {}
    for task in _before(context["task"]) if wanted else ():
        for told in _pulled(context["ti"], task):
            uri, verdict = str(told.get("pinned")), _WORDS.get(str(told.get("verdict")))
            if uri not in wanted or uri in found or verdict is None or verdict in refused:
                continue
            if str(told.get("region")) in regions and platform in (None, told.get("platform")):
                size = told.get("compressed_bytes")
                found[uri] = Known(uri, uri, verdict, size if isinstance(size, int) else 0), task
        if wanted <= found.keys():
            break
    return found


def _before(task: Any) -> list[str]:
    """The ids of the tasks before a task: those directly before it, then those before these, each once."""
    level, found = set(getattr(task, "upstream_task_ids", ())), dict[str, None]()
    tasks = getattr(getattr(task, "dag", None), "task_dict", {})
    while level and len(found) < MOST_ASKED:
        found |= dict.fromkeys(sorted(level))
        level = {up for one in level if one in tasks for up in tasks[one].upstream_task_ids} - found.keys()
    return list(found)[:MOST_ASKED]


def _pulled(ti: Any, task: str) -> list[Mapping[str, Any]]:
    """The dicts that a task, or each of its mapped instances, left."""
    try:
        return list(_dicts(ti.xcom_pull(task_ids=task, key=SCAN_KEY)))
    except Exception:  # of Airflow, its API server or an XCom backend
        return []


def _dicts(value: Any, deepest: int = 2) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, Sequence) and not isinstance(value, str) and deepest:
        for one in value:
            yield from _dicts(one, deepest - 1)
