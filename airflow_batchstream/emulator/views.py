"""The local Batch's own records as Google's messages: what get and list answer."""

from __future__ import annotations

from typing import Any

from google.cloud import batch_v1
from google.cloud.batch_v1.types import task as task_types
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, timestamp_pb2

from airflow_batchstream.emulator.machine import GROUP, Job, StatusEvent, Task
from airflow_batchstream.emulator.store import JobSpec, Operation, Record

_Event: Any = task_types.StatusEvent.pb()
_Task: Any = batch_v1.Task.pb()
_OperationMetadata: Any = batch_v1.OperationMetadata.pb()
_CancelJobResponse: Any = batch_v1.CancelJobResponse.pb()
_JOB_STATES = batch_v1.JobStatus.State
_TASK_STATES = batch_v1.TaskStatus.State


def job_view(record: Record, now: int) -> Any:
    """The job as ``jobs.get`` shows it: spec, output fields, status."""
    job = record.job
    view = JobSpec()
    view.CopyFrom(record.spec)
    view.name, view.uid = job.name, job.uid
    view.create_time.FromNanoseconds(job.created)
    view.update_time.FromNanoseconds(job.updated)
    view.task_groups[0].name = f"{job.number_name}/taskGroups/{GROUP}"
    status = view.status
    status.state = _JOB_STATES[job.state].value
    status.status_events.extend(_event(e) for e in job.events)
    if job.started:
        status.run_duration.FromNanoseconds((job.ended or now) - job.started)
    else:
        status.run_duration.FromNanoseconds(0)
    if job.state != "QUEUED":
        _group_status(view, job)
    return view


def _group_status(view: Any, job: Job) -> None:
    group = view.status.task_groups[GROUP]
    for state, count in job.counts.items():
        group.counts[state] = count
    policies = view.allocation_policy.instances
    instance = group.instances.add()
    instance.machine_type = (policies[0].policy.machine_type if policies else "") or "e2-standard-4"
    instance.provisioning_model = (policies[0].policy.provisioning_model if policies else 0) or 1
    instance.task_pack = view.task_groups[0].task_count_per_node or 1
    disk = policies[0].policy.boot_disk if policies else None
    instance.boot_disk.type_ = (disk.type_ if disk else "") or "pd-balanced"
    instance.boot_disk.size_gb = (disk.size_gb if disk else 0) or 30


def task_name(job: Job, index: int) -> str:
    """The full name of a task."""
    return f"{job.name}/taskGroups/{GROUP}/tasks/{index}"


def task_view(job: Job, task: Task) -> Any:
    """The task as ``tasks.get`` shows it."""
    view = _Task(name=task_name(job, task.index))
    view.status.state = _TASK_STATES[task.state].value
    view.status.status_events.extend(_event(e) for e in task.events)
    return view


def _event(event: StatusEvent) -> Any:
    view = _Event(type_=event.type, description=event.description)
    view.event_time.FromNanoseconds(event.at)
    if event.task_state:
        view.task_state = _TASK_STATES[event.task_state].value
    if event.exit_code is not None:
        view.task_execution.exit_code = event.exit_code
    return view


def operation_view(operation: Operation) -> Any:
    """A long-running operation, done or not."""
    metadata = _OperationMetadata(target=operation.target, verb=operation.verb, api_version="v1")
    metadata.create_time.FromNanoseconds(operation.created)
    view = operations_pb2.Operation(name=operation.name, done=bool(operation.ended))
    if operation.ended:
        metadata.end_time.FromNanoseconds(operation.ended)
        view.response.CopyFrom(_answer(operation))
    view.metadata.Pack(metadata)
    return view


def _answer(operation: Operation) -> any_pb2.Any:
    answer = any_pb2.Any()
    if operation.verb == "cancel":
        answer.Pack(_CancelJobResponse())
    else:
        answer.type_url = "type.googleapis.com/google.protobuf.Empty"
    return answer


def timestamp(nanoseconds: int) -> timestamp_pb2.Timestamp:
    """A protobuf time."""
    value = timestamp_pb2.Timestamp()
    value.FromNanoseconds(nanoseconds)
    return value
