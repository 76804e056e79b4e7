"""What Batch checks before it takes a job, and what the local Batch cannot do.

:func:`accept` gives back the job as Batch would keep it: output fields dropped, defaults filled in. Errors are
Google's: INVALID_ARGUMENT for a job that Batch refuses, UNIMPLEMENTED (with what to do) for one that only the local
Batch refuses.
"""

from __future__ import annotations

import re
from typing import Any

from google.api_core import exceptions as gax

from airflow_batchstream.emulator.config import project_number
from airflow_batchstream.emulator.fields import FIELDS, Treatment, set_fields

JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
REGION = re.compile(r"[a-z]+-[a-z]+\d+")
PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z](?:[a-z0-9-]{0,28}[a-z0-9])?|\d+|-")
LABEL_KEY = re.compile(r"[a-z\u00df-\uffff][a-z0-9_\-\u00df-\uffff]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_\-\u00df-\uffff]{0,63}")
MAX_TASKS = 10_000
MAX_BYTES = 1_000_000
CLOUD_LOGGING, PATH = 1, 2
STANDARD = 1


def place(parent: str) -> tuple[str, str]:
    """Project and region of ``projects/P/locations/R``."""
    found = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)", parent)
    if not found:
        raise gax.InvalidArgument(f"Invalid parent {parent!r}: it must be projects/PROJECT/locations/LOCATION.")
    project, region = found.groups()
    if not PROJECT.fullmatch(project):
        raise gax.InvalidArgument(f"Invalid project {project!r} in {parent!r}.")
    if not REGION.fullmatch(region) and region != "-":
        raise gax.PermissionDenied(f"Location {region} is not found or access is unauthorized.")
    return project, region


def job_id(value: str) -> None:
    """Refuse an id that Batch refuses."""
    if not JOB_ID.fullmatch(value):
        raise gax.InvalidArgument(
            f"Invalid job_id {value!r}: it must be at most 63 characters long, start with a lowercase letter, contain"
            f" only lowercase letters, numbers and hyphens, and not end with a hyphen ({JOB_ID.pattern})."
        )


def request_id(value: str) -> None:
    """Refuse a request id that is not a UUID, or the zero one."""
    if value and (not re.fullmatch(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) or not value.strip("0-")):
        raise gax.InvalidArgument(f"Invalid request_id {value!r}: it must be a UUID, and not the zero UUID.")


def accept(job: Any, project: str, region: str, job_id: str) -> Any:
    """The job as Batch keeps it.

    :param job: a protobuf ``Job``; it is changed.
    """
    if job.ByteSize() > MAX_BYTES:
        raise gax.InvalidArgument(f"The job is {job.ByteSize()} bytes large; {MAX_BYTES} are allowed.")
    _drop_output(job)
    _shape(job)
    _labels(job.labels, "job.labels")
    _labels(job.allocation_policy.labels, "job.allocation_policy.labels")
    _location(job, region)
    if not 0 <= job.priority < 100:
        raise gax.InvalidArgument(f"job.priority is {job.priority}: it must be in [0, 100).")
    for i, runnable in enumerate(job.task_groups[0].task_spec.runnables):
        _runnable(runnable, f"job.task_groups[0].task_spec.runnables[{i}]")
    _group(job.task_groups[0])
    _supported(job)
    _fill(job, project, region, job_id)
    return job


def _drop_output(job: Any) -> None:
    for field in ("name", "uid", "status", "create_time", "update_time"):
        job.ClearField(field)
    for group in job.task_groups:
        group.ClearField("name")


def _shape(job: Any) -> None:
    if len(job.task_groups) != 1:
        raise gax.InvalidArgument(f"job.task_groups has {len(job.task_groups)} task groups: exactly one is supported.")
    if not job.task_groups[0].task_spec.runnables:
        raise gax.InvalidArgument("job.task_groups[0].task_spec.runnables is empty: at least one runnable is required.")


def _runnable(runnable: Any, where: str) -> None:
    kind = runnable.WhichOneof("executable")
    if not kind:
        raise gax.InvalidArgument(f"{where} has none of container, script, barrier: exactly one is required.")
    if kind == "container" and not runnable.container.image_uri.strip():
        raise gax.InvalidArgument(f"{where}.container.image_uri is empty.")
    if kind == "script" and not (runnable.script.text or runnable.script.path):
        raise gax.InvalidArgument(f"{where}.script has neither text nor path.")
    if runnable.timeout.ToNanoseconds() < 0:
        raise gax.InvalidArgument(f"{where}.timeout is negative.")
    for volume in runnable.container.volumes:
        source, _, target = volume.partition(":")
        if not source.startswith("/") or not target.startswith("/"):
            raise gax.InvalidArgument(f"{where}.container.volumes: {volume!r} must be /SOURCE:/TARGET[:OPTIONS].")


def _group(group: Any) -> None:
    where, spec = "job.task_groups[0]", group.task_spec
    environments = len(group.task_environments)
    if group.task_count == 0:
        group.task_count = environments or 1
    if not 1 <= group.task_count <= MAX_TASKS:
        raise gax.InvalidArgument(f"{where}.task_count is {group.task_count}: it must be in [1, {MAX_TASKS}].")
    if environments and environments != group.task_count:
        raise gax.InvalidArgument(
            f"{where}.task_environments has {environments} entries, task_count is {group.task_count}:"
            " they must be equal."
        )
    if group.parallelism < 0 or group.task_count_per_node < 0:
        raise gax.InvalidArgument(f"{where}.parallelism and task_count_per_node must not be negative.")
    group.parallelism = min(group.parallelism or group.task_count, group.task_count)
    if not 0 <= spec.max_retry_count <= 10:
        raise gax.InvalidArgument(
            f"{where}.task_spec.max_retry_count is {spec.max_retry_count}: it must be in [0, 10]."
        )
    if spec.max_run_duration.ToNanoseconds() < 0:
        raise gax.InvalidArgument(f"{where}.task_spec.max_run_duration is negative.")
    if len(spec.lifecycle_policies) > 1:
        raise gax.InvalidArgument(f"{where}.task_spec.lifecycle_policies: only one lifecycle policy is supported.")
    for policy in spec.lifecycle_policies:
        if not policy.action or not policy.action_condition.exit_codes:
            raise gax.InvalidArgument(f"{where}.task_spec.lifecycle_policies[0] needs an action and exit codes.")
    for i, volume in enumerate(spec.volumes):
        if not volume.mount_path.startswith("/"):
            raise gax.InvalidArgument(f"{where}.task_spec.volumes[{i}].mount_path must be an absolute path.")


def _fill(job: Any, project: str, region: str, job_id: str) -> None:
    """What Batch adds to a job that does not say it (as ``gcloud batch jobs describe`` shows it)."""
    resource, policy = job.task_groups[0].task_spec.compute_resource, job.allocation_policy
    resource.cpu_milli = resource.cpu_milli or 2000
    resource.memory_mib = resource.memory_mib or 2000
    policy.labels["batch-job-id"] = job_id
    if not policy.location.allowed_locations:
        policy.location.allowed_locations.append(f"regions/{region}")
    if not policy.service_account.email:
        policy.service_account.email = f"{project_number(project)}-compute@developer.gserviceaccount.com"
    for instance in policy.instances:
        if instance.WhichOneof("policy_template") == "policy" and not instance.policy.provisioning_model:
            instance.policy.provisioning_model = STANDARD


def _labels(labels: Any, where: str) -> None:
    if len(labels) > 64:
        raise gax.InvalidArgument(f"{where} has {len(labels)} labels: at most 64 are allowed.")
    for key, value in labels.items():
        if key.startswith(("goog-", "google-")):
            raise gax.InvalidArgument(f"{where}: label key {key!r} starts with a prefix that is reserved for Google.")
        if not LABEL_KEY.fullmatch(key) or key != key.lower():
            raise gax.InvalidArgument(
                f"{where}: invalid label key {key!r}: lowercase letters, numbers, _ and -, at most 63."
            )
        if not LABEL_VALUE.fullmatch(value) or value != value.lower():
            raise gax.InvalidArgument(
                f"{where}: invalid value {value!r} of label {key!r}: lowercase letters, numbers, _ and -, at most 63."
            )


def _location(job: Any, region: str) -> None:
    for location in job.allocation_policy.location.allowed_locations:
        found = re.fullmatch(r"regions/([a-z]+-[a-z]+\d+)|zones/([a-z]+-[a-z]+\d+)-[a-z]", location)
        if not found:
            raise gax.InvalidArgument(
                f"Invalid allowed location {location!r}: it must be regions/REGION or zones/ZONE."
            )
        if region not in found.groups():
            raise gax.InvalidArgument(f"Allowed location {location!r} is not in the job's region {region}.")


def _supported(job: Any) -> None:
    if job.logs_policy.destination == PATH:
        raise gax.MethodNotImplemented(
            "The local Batch writes no log files: job.logsPolicy.destination must be CLOUD_LOGGING."
        )
    streamed = [r.container.enable_image_streaming for r in job.task_groups[0].task_spec.runnables]
    for path, shown in set_fields(job):
        field = FIELDS.get(path)
        if field is None:
            raise gax.MethodNotImplemented(f"The local Batch does not know {shown}.")
        if field.treatment is not Treatment.REFUSED:
            continue
        index = re.search(r"runnables\[(\d+)\]\.container\.options", shown)
        if index and streamed[int(index[1])]:
            continue
        raise gax.MethodNotImplemented(f"The local Batch does not support {shown}. {field.says}")
