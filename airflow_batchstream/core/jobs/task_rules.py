"""Rules about what a job runs: groups, runnables, counts, retries, volumes, logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.jobs.batch_v1 import table
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import (
    LATER,
    Asked,
    count,
    each,
    listed,
    mapping,
    number,
    refused,
    runnables,
    tasks,
    warned,
)
from airflow_batchstream.core.jobs.schema import duration

# Batch's page "Quotas and limits", read in a stored copy of 2025.
LARGEST = 1_000_000
MOST_TASKS = 100_000
MOST_PARALLEL = 5_000
LONGEST_RUN = 14 * 86400


def one_group(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A job has one task group, with something to run."""
    groups = spec.get("taskGroups", [])
    if isinstance(groups, list) and len(groups) != 1:
        says = f"there are {len(groups)} task groups, and Batch takes exactly one."
        remedy = "Write several jobs." if groups else 'Write "taskGroups": [{"taskSpec": {"runnables": [...]}}].'
        yield refused("task-groups", "job.taskGroups", len(groups), says, remedy)
    for path, group, task in tasks(spec):
        if group.get("taskSpec", {}) is not LATER and task.get("runnables", []) == []:
            remedy = 'Write [{"container": {"imageUri": "..."}}].'
            yield refused("runnables", f"{path}.taskSpec.runnables", None, "there is nothing to run.", remedy)
    for path, runnable in runnables(spec):
        if not runnable.keys() & {"container", "script", "barrier"}:
            says = "runs nothing: it has neither container nor script nor barrier."
            yield refused("runnables", path, ", ".join(runnable), says, 'Write {"container": {"imageUri": "..."}}.')
        script = runnable.get("script")
        if isinstance(script, dict) and not script.keys() & {"text", "path"}:
            yield refused("runnables", f"{path}.script", None, "has neither text nor path.", 'Write {"text": "..."}.')


def one_of(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Of fields that exclude each other only one is set."""
    yield from _one_of("Job", spec, "job")


def _one_of(message: str, value: dict[str, Any], path: str) -> Iterator[Finding]:
    for group in table().oneofs.get(message, ()):
        both = [name for name in group if name in value]
        if len(both) > 1:
            says = f"has {' and '.join(both)}, and Batch takes only one of them."
            yield refused("one-of", path, ", ".join(both), says, "Keep one.")
    for name, field in table().messages[message].items():
        if field.kind != "message" or field.mapped or name not in value:
            continue
        inner = each(value, name, path) if field.repeated else [(f"{path}.{name}", value[name])]
        for where, part in inner:
            if isinstance(part, dict):
                yield from _one_of(field.message, part, where)


def counts(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Numbers are in Batch's ranges, and agree with each other."""
    yield from _range("job.priority", spec.get("priority"), 0, 99)
    for path, group, task in tasks(spec):
        yield from _range(f"{path}.taskCount", group.get("taskCount"), 1, MOST_TASKS)
        yield from _range(f"{path}.parallelism", group.get("parallelism"), 1, MOST_PARALLEL)
        yield from _range(f"{path}.taskCountPerNode", group.get("taskCountPerNode"), 1, MOST_TASKS)
        yield from _range(f"{path}.taskSpec.maxRetryCount", task.get("maxRetryCount"), 0, 10)
        yield from _environments(path, group)
        parallel = number(group.get("parallelism"))
        if group.get("schedulingPolicy") == "IN_ORDER" and parallel not in (None, 1):
            says = f"is {parallel}, and tasks that run IN_ORDER run one at a time."
            yield refused(
                "parallelism", f"{path}.parallelism", parallel, says, "Write 1, or leave schedulingPolicy out."
            )


def _range(path: str, value: Any, least: int, most: int) -> Iterator[Finding]:
    found = number(value)
    if found is not None and not least <= found <= most:
        says = f"{found:,} is not within {least:,} and {most:,}, Batch's limits."
        yield refused(
            "range",
            path,
            found,
            says,
            f"Write {least if found < least else most} at {'least' if found < least else 'most'}.",
        )


def _environments(path: str, group: dict[str, Any]) -> Iterator[Finding]:
    """One task for each of ``taskEnvironments``: Batch then ignores ``taskCount``."""
    environments, asked_for = listed(group, "taskEnvironments"), number(group.get("taskCount"))
    if environments and asked_for is not None and asked_for != len(environments):
        says = (
            f"is {asked_for:,}, and taskEnvironments has {len(environments):,}: Batch would run "
            f"{count(len(environments), 'task')}, one for each environment."
        )
        yield refused(
            "task-count", f"{path}.taskCount", asked_for, says, "Leave it out, or write an environment for each task."
        )


def retries(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Retries of Batch and of Airflow multiply."""
    for path, _, task in tasks(spec):
        of_batch = number(task.get("maxRetryCount")) or 0
        if of_batch > 0 and asked.airflow_retries > 0:
            runs = (of_batch + 1) * (asked.airflow_retries + 1)
            says = (
                f"is {of_batch} and the Airflow task has retries={asked.airflow_retries}: "
                f"a Batch task that always fails runs {runs} times."
            )
            remedy = "Set one of the two to 0; Batch's retry keeps the other tasks' results."
            yield warned("retries", f"{path}.taskSpec.maxRetryCount", of_batch, says, remedy)
        for where, policy in each(task, "lifecyclePolicies", f"{path}.taskSpec"):
            if policy.get("action") == "RETRY_TASK" and "maxRetryCount" not in task:
                says = "asks for RETRY_TASK, and maxRetryCount is 0: nothing is retried."
                yield warned("retries", where, "RETRY_TASK", says, "Set taskSpec.maxRetryCount, 1 to 10.")


def run_times(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A task may run as long as a job may."""
    for path, _, task in tasks(spec):
        given = task.get("maxRunDuration")
        if isinstance(given, str) and duration(given) > LONGEST_RUN:
            says = f"{given} is longer than 14 days, after which Batch ends a job."
            yield warned(
                "run-time", f"{path}.taskSpec.maxRunDuration", given, says, "Split the work into shorter jobs."
            )


def volumes(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """What is mounted exists, and is written as Docker's ``--volume`` wants it."""
    for path, runnable in runnables(spec):
        container = mapping(runnable, "container")
        for index, volume in enumerate(listed(container, "volumes")):
            if isinstance(volume, str):
                yield from _container_volume(f"{path}.container.volumes[{index}]", volume)
    for path, _, task in tasks(spec):
        for where, volume in each(task, "volumes", f"{path}.taskSpec"):
            yield from _volume(where, volume, _devices(spec))


def _container_volume(path: str, volume: str) -> Iterator[Finding]:
    parts = volume.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts):
        says = f"{volume!r} is no container volume."
        yield refused(
            "volume", path, volume, says, "Write SOURCE:TARGET or SOURCE:TARGET:ro, such as /mnt/disks/data:/data:ro."
        )
    elif not parts[0].startswith("/") or not parts[1].startswith("/"):
        which = "source" if not parts[0].startswith("/") else "target"
        says = f"{volume!r}: the {which} is no absolute path."
        yield refused("volume", path, volume, says, "Both are paths that start with /, the first on the VM.")


def _devices(spec: Spec) -> set[str] | None:
    """Names of the disks that the job attaches; None if a template brings others, or may."""
    names: set[str] = set()
    for _, instance in each(mapping(spec, "allocationPolicy"), "instances", ""):
        if "instanceTemplate" in instance or LATER in (
            instance.get("policy"),
            mapping(instance, "policy").get("disks"),
        ):
            return None
        for _, disk in each(mapping(instance, "policy"), "disks", ""):
            if disk.get("deviceName") is LATER:
                return None
            names.add(str(disk.get("deviceName")))
    return names


def _volume(path: str, volume: dict[str, Any], devices: set[str] | None) -> Iterator[Finding]:
    if not volume.keys() & {"nfs", "gcs", "deviceName"}:
        remedy = 'Write "gcs": {"remotePath": "BUCKET"}, "nfs" or "deviceName".'
        yield refused("volume", path, ", ".join(volume), "says not what to mount.", remedy)
    where = volume.get("mountPath", "")
    if isinstance(where, str) and not where.startswith("/"):
        says = f"{where!r} is no absolute path." if where else "is missing."
        yield refused("volume", f"{path}.mountPath", where, says, "Write a path on the VM, such as /mnt/disks/data.")
    device, remote = volume.get("deviceName"), mapping(volume, "gcs").get("remotePath")
    if isinstance(device, str) and devices is not None and device not in devices:
        says = f"{device!r} is no disk of the job's VMs" + (f" ({', '.join(sorted(devices))})." if devices else ".")
        remedy = "Add it to allocationPolicy.instances[0].policy.disks, with this deviceName."
        yield refused("volume", f"{path}.deviceName", device, says, remedy)
    if isinstance(remote, str) and remote.startswith("gs://"):
        says = f"{remote!r} starts with gs://."
        yield refused("volume", f"{path}.gcs.remotePath", remote, says, f"Write {remote.removeprefix('gs://')!r}.")


def logs(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """What containers print goes to Cloud Logging, where it is read from."""
    policy = mapping(spec, "logsPolicy")
    if policy.get("destination") != "PATH":
        return
    if "logsPath" not in policy:
        says = "is missing, and logsPolicy.destination PATH needs it."
        yield refused(
            "logs", "job.logsPolicy.logsPath", None, says, "Write a path on the VM, or the destination CLOUD_LOGGING."
        )
    says = "is PATH: what the containers print goes to a file on the VM, and is not seen in the task log."
    yield warned("logs", "job.logsPolicy.destination", "PATH", says, "Write CLOUD_LOGGING, or leave logsPolicy out.")


def size(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Batch takes a job of 1 MB."""
    if asked.templated_ok:
        return
    length = len(json.dumps(spec, ensure_ascii=False).encode())
    if length > LARGEST:
        says = f"is {length:,} bytes of JSON, and Batch takes {LARGEST:,}."
        remedy = "Put large data into a file or a bucket, and let the tasks read it by BATCH_TASK_INDEX."
        yield refused("size", "job", length, says, remedy)
