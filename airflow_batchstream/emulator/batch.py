"""Batch v1: jobs, tasks, operations and locations, as the handlers that :mod:`.api` calls.

They look at the store, check, and hand what is to happen to the runner. Nothing here waits for a job.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from google.api_core import exceptions as gax
from google.cloud import batch_v1
from google.cloud.location import locations_pb2
from google.longrunning import operations_pb2

from airflow_batchstream.emulator import machine, validate
from airflow_batchstream.emulator.listing import page
from airflow_batchstream.emulator.machine import GROUP, Job, RetryPolicy
from airflow_batchstream.emulator.runner import Runner
from airflow_batchstream.emulator.store import Operation, Record, Store
from airflow_batchstream.emulator.views import job_view, operation_view, task_view

_ListJobsResponse: Any = batch_v1.ListJobsResponse.pb()
_ListTasksResponse: Any = batch_v1.ListTasksResponse.pb()

REGIONS = (
    "asia-east1", "asia-northeast1", "asia-south1", "asia-southeast1", "australia-southeast1", "europe-north1",
    "europe-west1", "europe-west2", "europe-west3", "europe-west4", "europe-west6", "northamerica-northeast1",
    "southamerica-east1", "us-central1", "us-east1", "us-east4", "us-west1", "us-west2",
)  # fmt: skip
"""What ``locations.list`` shows. Any region may be used, so that a new one needs no new release."""


class BatchHandlers:
    """``google.cloud.batch.v1.BatchService``."""

    def __init__(self, store: Store, runner: Runner) -> None:
        self.store = store
        self.runner = runner

    async def create_job(self, request: Any) -> Any:
        now = time.time_ns()
        project, region = validate.place(request.parent)
        if "-" in (project, region):
            raise gax.InvalidArgument(f"Invalid parent {request.parent!r}: a job needs a project and a region.")
        job_id = request.job_id or f"job-{uuid.uuid4().hex[:12]}"
        validate.job_id(job_id)
        validate.request_id(request.request_id)
        key = f"create {request.parent} {request.request_id}" if request.request_id else ""
        if known := self.store.jobs.get(self.store.remembered(key, now)):
            return job_view(known, now)
        spec = validate.accept(request.job, project, region, job_id)
        name = f"{request.parent}/jobs/{job_id}"
        if name in self.store.jobs:
            raise gax.AlreadyExists(f"Resource '{name}' already exists")
        record = Record(spec, machine.new(name, _uid(job_id), spec.task_groups[0].task_count, _policy(spec), now))
        self.store.create(record, key, now)
        self.runner.start(record)
        return job_view(record, now)

    async def get_job(self, request: Any) -> Any:
        return job_view(self._record(request.name), time.time_ns())

    async def list_jobs(self, request: Any) -> Any:
        now = time.time_ns()
        validate.place(request.parent)
        project, region = request.parent.split("/")[1::2]
        records = [r for r in self.store.jobs.values() if _within(r.job.name, project, region)]
        jobs = sorted((job_view(r, now) for r in records), key=lambda j: (-j.create_time.ToNanoseconds(), j.name))
        shown, token = page(jobs, request)
        return _ListJobsResponse(jobs=shown, next_page_token=token)

    async def delete_job(self, request: Any) -> Any:
        return self._end(request, "delete")

    async def cancel_job(self, request: Any) -> Any:
        return self._end(request, "cancel")

    async def get_task(self, request: Any) -> Any:
        name, _, index = request.name.rpartition("/tasks/")
        job = self._group(name)
        if not index.isdecimal() or int(index) >= len(job.tasks) or job.state == "QUEUED":
            raise gax.NotFound(f"Resource '{request.name}' was not found")
        return task_view(job, job.tasks[int(index)])

    async def list_tasks(self, request: Any) -> Any:
        job = self._group(request.parent)
        if job.state == "QUEUED":  # tasks exist once the job is scheduled
            return _ListTasksResponse()
        shown, token = page([task_view(job, t) for t in job.tasks], request)
        return _ListTasksResponse(tasks=shown, next_page_token=token)

    def _record(self, name: str) -> Record:
        if record := self.store.jobs.get(name):
            return record
        if len(name.split("/")) != 6:
            raise gax.InvalidArgument(f"Invalid job name {name!r}: it must be projects/P/locations/L/jobs/JOB.")
        raise gax.NotFound(f"Resource '{name}' was not found")

    def _group(self, name: str) -> Job:
        job, slash, group = name.partition("/taskGroups/")
        if not slash or group != GROUP:
            raise gax.NotFound(f"Resource '{name}' was not found")
        return self._record(job).job

    def _end(self, request: Any, verb: str) -> Any:
        now = time.time_ns()
        validate.request_id(request.request_id)
        key = f"{verb} {request.name} {request.request_id}" if request.request_id else ""
        if known := self.store.operations.get(self.store.remembered(key, now)):
            return operation_view(known)
        record = self._record(request.name)
        state = record.job.state
        if verb == "cancel" and state not in machine.LIVE | {"CANCELLATION_IN_PROGRESS"}:
            raise gax.FailedPrecondition(f"Job {request.name} is in state {state} and cannot be cancelled.")
        parent = request.name.partition("/jobs/")[0]
        name = f"{parent}/operations/operation-{now // 10**6}-{uuid.uuid4().hex[:13]}"
        operation = Operation(name, request.name, verb, now)
        self.store.put_operation(operation, key, now)
        self.runner.end(record, verb)
        return operation_view(self.store.operations[name])


class OperationHandlers:
    """``google.longrunning.Operations``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def get_operation(self, request: Any) -> Any:
        return operation_view(self._operation(request.name))

    async def list_operations(self, request: Any) -> Any:
        below = f"{request.name.removesuffix('/operations')}/operations/"
        found = [operation_view(o) for o in self.store.operations.values() if o.name.startswith(below)]
        shown, token = page(found, request)
        return operations_pb2.ListOperationsResponse(operations=shown, next_page_token=token)

    async def delete_operation(self, request: Any) -> None:
        self.store.remove_operation(self._operation(request.name).name)

    async def cancel_operation(self, request: Any) -> None:
        operation = self._operation(request.name)
        if not operation.ended:
            raise gax.FailedPrecondition(f"Operation {operation.name} ({operation.verb}) cannot be cancelled.")

    def _operation(self, name: str) -> Operation:
        if operation := self.store.operations.get(name):
            return operation
        raise gax.NotFound(f"Resource '{name}' was not found")


class LocationHandlers:
    """``google.cloud.location.Locations``."""

    async def get_location(self, request: Any) -> Any:
        project, region = validate.place(request.name)
        return _location(project, region)

    async def list_locations(self, request: Any) -> Any:
        project = request.name.removeprefix("projects/")
        shown, token = page([_location(project, r) for r in REGIONS], request)
        return locations_pb2.ListLocationsResponse(locations=shown, next_page_token=token)


def _location(project: str, region: str) -> Any:
    return locations_pb2.Location(
        name=f"projects/{project}/locations/{region}",
        location_id=region,
        labels={"cloud.googleapis.com/region": region},
    )


def _uid(job_id: str) -> str:
    """As Batch makes it: the job's id, cut, and something random."""
    return f"{job_id[:44].rstrip('-')}-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:4]}-{uuid.uuid4().hex[:4]}0"


def _policy(spec: Any) -> RetryPolicy:
    task = spec.task_groups[0].task_spec
    for policy in task.lifecycle_policies:
        action = {1: "RETRY_TASK", 2: "FAIL_TASK"}.get(policy.action, "")
        return RetryPolicy(task.max_retry_count, action, frozenset(policy.action_condition.exit_codes))
    return RetryPolicy(task.max_retry_count)


def _within(name: str, project: str, region: str) -> bool:
    of_project, of_region = name.split("/")[1:4:2]
    return of_project == project and region in ("-", of_region)
