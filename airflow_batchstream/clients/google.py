"""Google's Batch and Cloud Logging clients, one call a method; protocol buffers exist only here.

Every call has a deadline of its own and is made once: what to do about a failure is decided by the core, which sees it
as a :class:`~airflow_batchstream.core.jobs.model.Trouble`. Both clients belong to the event loop they were made in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import grpc.aio
from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import batch_v1
from google.cloud.batch_v1.services.batch_service.transports.grpc_asyncio import BatchServiceGrpcAsyncIOTransport
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient
from google.cloud.logging_v2.services.logging_service_v2.transports.grpc_asyncio import (
    LoggingServiceV2GrpcAsyncIOTransport,
)
from google.cloud.logging_v2.types import ListLogEntriesRequest, LogEntry
from google.protobuf import json_format

from airflow_batchstream.clients.tokens import of_credentials
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import Event, JobName, Line, Sight, Spec, State, TaskSight, Trouble

T = TypeVar("T")

CALL_SECONDS = 30.0
"""Deadline of one call: a forked task can hang in TLS for ever otherwise."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a page of 1,000 log entries may be 256 MB
    ("grpc.keepalive_time_ms", 60_000),  # notices a connection that a NAT has forgotten
)
_OUTPUT_FIELDS = ("name", "uid", "status", "createTime", "updateTime")


class CallFailed(Exception):
    """A call failed; :attr:`trouble` says how."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"{trouble.code}: {trouble.message}")
        self.trouble = trouble


class Page(NamedTuple):
    """One answer of ``entries.list``."""

    lines: list[Line]
    token: str


class GoogleClients:
    """The clients of one endpoint in one event loop.

    :param endpoint: Google's APIs, or a local Batch; to a local Batch no credentials are ever sent.
    :param credentials: whose calls these are; None with a local Batch.
    """

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None = None) -> None:
        self.endpoint = endpoint
        if endpoint.emulator:
            # A proxy for the world outside is none for a local Batch.
            direct = (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))
            self._channel = grpc.aio.insecure_channel(endpoint.emulator, options=direct)
            anonymous = AnonymousCredentials()
            self._batch = batch_v1.BatchServiceAsyncClient(
                credentials=None,
                transport=BatchServiceGrpcAsyncIOTransport(channel=self._channel, credentials=anonymous),
            )
            self._logging = LoggingServiceV2AsyncClient(
                credentials=None,
                transport=LoggingServiceV2GrpcAsyncIOTransport(channel=self._channel, credentials=anonymous),
            )
        else:
            self._batch = batch_v1.BatchServiceAsyncClient(credentials=credentials)
            self._logging = LoggingServiceV2AsyncClient(
                credentials=credentials,
                transport=lambda **kw: LoggingServiceV2GrpcAsyncIOTransport(
                    **kw,
                    channel=lambda *a, **c: LoggingServiceV2GrpcAsyncIOTransport.create_channel(
                        *a, **{**c, "options": _CHANNEL_OPTIONS}
                    ),
                ),
            )

    async def __aenter__(self) -> GoogleClients:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._batch.transport.close()
        await self._logging.transport.close()

    # -- Batch -----------------------------------------------------------------------------------------------------

    async def create_job(self, parent: str, job_id: str, spec: Spec, request_id: str) -> Sight:
        """Create a job; the answer is looked at like any job found.

        :param request_id: a UUID; Batch answers a repeat within an hour with the job it made the first time.
        """
        request = batch_v1.CreateJobRequest(
            parent=parent, job_id=job_id, job=_job_from_spec(spec), request_id=request_id
        )
        return _sight(await self._call(self._batch.create_job(request, retry=None, timeout=CALL_SECONDS)))

    async def get_job(self, name: JobName) -> Sight:
        """Look at a job."""
        request = batch_v1.GetJobRequest(name=str(name))
        return _sight(await self._call(self._batch.get_job(request, retry=None, timeout=CALL_SECONDS)))

    async def list_jobs(self, parent: str, wanted: str, limit: int = 100) -> list[Sight]:
        """The jobs that a filter finds, newest first as far as Batch sorts them.

        :param wanted: a filter of Batch, such as ``labels.batchstream-task="..."``.
        :param limit: so many at most.
        """
        request = batch_v1.ListJobsRequest(parent=parent, filter=wanted, page_size=min(limit, 100))
        pager = await self._call(self._batch.list_jobs(request, retry=None, timeout=CALL_SECONDS))
        return [_sight(job) for job in await self._collect(pager, limit)]

    async def list_tasks(self, name: JobName, limit: int = 10_000) -> tuple[TaskSight, ...]:
        """The tasks of the job's one task group."""
        request = batch_v1.ListTasksRequest(parent=f"{name}/taskGroups/group0", page_size=1000)
        pager = await self._call(self._batch.list_tasks(request, retry=None, timeout=CALL_SECONDS))
        return tuple(_task_sight(task) for task in await self._collect(pager, limit))

    async def cancel_job(self, name: JobName, request_id: str) -> None:
        """Ask for the job's end; it is CANCELLED some time later. The job stays readable, unlike a deleted one."""
        request = batch_v1.CancelJobRequest(name=str(name), request_id=request_id)
        await self._call(self._batch.cancel_job(request, retry=None, timeout=CALL_SECONDS))

    # -- Cloud Logging ---------------------------------------------------------------------------------------------

    async def list_entries(
        self,
        resource_names: Sequence[str],
        wanted: str,
        *,
        newest_first: bool = False,
        token: str = "",
        size: int = 1000,
    ) -> Page:
        """One page of log entries.

        :param resource_names: ``projects/P``, or the views that hold the log.
        :param wanted: the filter, with a floor for the timestamp.
        """
        request = ListLogEntriesRequest(
            resource_names=list(resource_names),
            filter=wanted,
            order_by="timestamp desc" if newest_first else "timestamp asc",
            page_size=size,
            page_token=token,
        )
        pager = await self._call(self._logging.list_log_entries(request, retry=None, timeout=CALL_SECONDS))
        page = await self._call(anext(pager.pages))
        return Page([_line(entry) for entry in page.entries], page.next_page_token)

    async def _call(self, answer: Awaitable[T]) -> T:
        try:
            return await _called(answer)
        except CallFailed as e:
            raise CallFailed(of_credentials(e.trouble, self.endpoint.gcp_conn_id)) from e

    async def _collect(self, pager: Any, limit: int) -> list[Any]:
        """What a pager yields, `limit` at most."""
        found: list[Any] = []
        pages = pager.pages
        while len(found) < limit:
            try:
                page = await self._call(anext(pages))
            except StopAsyncIteration:
                break
            found += page.jobs if hasattr(page, "jobs") else page.tasks
        return found[:limit]


async def _called(answer: Awaitable[T]) -> T:
    """Await a call; every way it can fail becomes a :class:`CallFailed`."""
    try:
        return await answer
    except api.GoogleAPICallError as e:
        raise CallFailed(_trouble(e)) from e
    except grpc.aio.AioRpcError as e:
        raise CallFailed(Trouble(e.code().name, e.details() or "")) from e
    except api.RetryError as e:
        raise CallFailed(Trouble("DEADLINE_EXCEEDED", str(e))) from e
    except Exception as e:
        # google.auth raises its own tree (RefreshError, TransportError) from inside the call.
        if type(e).__module__.startswith("google.auth"):
            code = "UNAVAILABLE" if getattr(e, "retryable", False) else "UNAUTHENTICATED"
            raise CallFailed(Trouble(code, str(e))) from e
        raise


def _trouble(error: api.GoogleAPICallError) -> Trouble:
    status = getattr(error, "grpc_status_code", None)
    code = status.name if status else {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED"}.get(error.code, "UNKNOWN")
    for detail in error.details or ():
        if hasattr(detail, "retry_delay"):
            return Trouble(code, error.message, detail.retry_delay.ToTimedelta().total_seconds())
    return Trouble(code, error.message)


def _job_from_spec(spec: Spec) -> batch_v1.Job:
    pb = batch_v1.Job.pb()()
    try:
        json_format.ParseDict(spec, pb)
    except json_format.ParseError as e:  # the schema let it through: the installed client is older than our table
        raise CallFailed(Trouble("INVALID_ARGUMENT", f"The installed google-cloud-batch cannot read it: {e}")) from e
    job: batch_v1.Job = batch_v1.Job.wrap(pb)
    return job


def _sight(job: batch_v1.Job) -> Sight:
    pb = batch_v1.Job.pb(job)
    plain: Spec = json_format.MessageToDict(pb)
    counts: dict[str, int] = {}
    for group in pb.status.task_groups.values():
        for state, count in group.counts.items():
            counts[state] = counts.get(state, 0) + int(count)
    return Sight(
        name=JobName.parse(pb.name),
        uid=pb.uid,
        state=State(batch_v1.JobStatus.State(pb.status.state).name),
        created=_seconds(pb.create_time),
        events=_events(pb.status.status_events),
        counts=counts,
        labels=dict(pb.labels),
        spec={k: v for k, v in plain.items() if k not in _OUTPUT_FIELDS},
    )


def _task_sight(task: batch_v1.Task) -> TaskSight:
    pb = batch_v1.Task.pb(task)
    return TaskSight(
        index=int(pb.name.rsplit("/", 1)[1]),
        state=batch_v1.TaskStatus.State(pb.status.state).name,
        events=_events(pb.status.status_events),
    )


def _events(events: Sequence[Any]) -> tuple[Event, ...]:
    read = [
        Event(
            at=_seconds(e.event_time),
            kind=e.type_,
            says=e.description,
            state=batch_v1.TaskStatus.State(e.task_state).name if e.task_state else "",
            exit_code=e.task_execution.exit_code if e.HasField("task_execution") else None,
        )
        for e in events
    ]
    return tuple(sorted(read, key=lambda e: e.at))


def _line(entry: LogEntry) -> Line:
    pb = LogEntry.pb(entry)
    labels: Mapping[str, str] = pb.labels
    return Line(
        uid=labels.get("job_uid", ""),
        log=pb.log_name.rsplit("/", 1)[-1],
        at_ns=pb.timestamp.ToNanoseconds(),
        received_ns=pb.receive_timestamp.ToNanoseconds(),
        insert_id=pb.insert_id,
        severity=_SEVERITIES.get(pb.severity, "DEFAULT"),
        task_id=labels.get("task_id", ""),
        text=_payload(pb),
    )


def _payload(pb: Any) -> str:
    kind = pb.WhichOneof("payload")
    if kind == "text_payload":
        return str(pb.text_payload)
    if kind == "json_payload":  # a container that prints JSON: Cloud Logging takes it apart
        plain = json_format.MessageToDict(pb.json_payload)
        message = plain.get("message") if set(plain) == {"message"} else None
        return message if isinstance(message, str) else json_format.MessageToJson(pb.json_payload, indent=None)
    return json_format.MessageToJson(pb.proto_payload, indent=None) if kind else ""


def _seconds(stamp: Any) -> float:
    return float(stamp.ToNanoseconds()) / 1e9


_SEVERITIES = {
    0: "DEFAULT",
    100: "DEBUG",
    200: "INFO",
    300: "NOTICE",
    400: "WARNING",
    500: "ERROR",
    600: "CRITICAL",
    700: "ALERT",
    800: "EMERGENCY",
}
