"""A local Batch in a child process, and Google's own clients that talk to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import batch_v1
from google.cloud.batch_v1.services.batch_service import BatchServiceAsyncClient, BatchServiceClient
from google.cloud.batch_v1.services.batch_service.transports import (
    BatchServiceGrpcAsyncIOTransport,
    BatchServiceGrpcTransport,
    BatchServiceRestTransport,
)
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.cloud.logging_v2.services.logging_service_v2.transports import LoggingServiceV2GrpcTransport

from airflow_batchstream.emulator.testing import Local, running

PARENT = "projects/test-project/locations/europe-west4"
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One local Batch for all tests that leave no faults behind."""
    with running(tmp_path_factory.mktemp("local-batch"), "--grace", "1") as local:
        yield local


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Local]:
    """A local Batch of this test alone."""
    with running(tmp_path / "state", "--grace", "1") as local:
        yield local


class Client:
    """Batch's client over one transport, with calls that all three have in common."""

    def __init__(self, transport: str, address: str) -> None:
        self.transport = transport
        self._loop = asyncio.new_event_loop() if transport == "grpc_asyncio" else None
        self._client = self._loop.run_until_complete(self._make_async(address)) if self._loop else self._make(address)

    def _make(self, address: str) -> BatchServiceClient:
        if self.transport == "rest":
            rest = BatchServiceRestTransport(host=address, url_scheme="http", credentials=AnonymousCredentials())
            return BatchServiceClient(transport=rest)
        return BatchServiceClient(transport=BatchServiceGrpcTransport(channel=grpc.insecure_channel(address)))

    async def _make_async(self, address: str) -> BatchServiceAsyncClient:
        return BatchServiceAsyncClient(
            transport=BatchServiceGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(address))
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if self._loop is None:
            return method
        return lambda *args, **kwargs: self._loop.run_until_complete(_awaited(method(*args, **kwargs)))

    def listed(self, call: str, **kwargs: Any) -> list[Any]:
        """All items of a list call, over all its pages."""
        if self._loop is None:
            return list(getattr(self._client, call)(**kwargs))

        async def gather() -> list[Any]:
            return [item async for item in await getattr(self._client, call)(**kwargs)]

        return self._loop.run_until_complete(gather())

    def result(self, operation: Any) -> Any:
        """Wait for a long-running operation."""
        if self._loop is None:
            return operation.result(timeout=20)
        return self._loop.run_until_complete(operation.result(timeout=20))

    def run(self, job: Any, job_id: str = "", **kwargs: Any) -> batch_v1.Job:
        """Create a job and wait for its end."""
        created = self.create_job(request={"parent": PARENT, "job": job, "job_id": job_id or new_id(), **kwargs})
        return self.until(created.name, ENDED)

    def until(self, name: str, states: set[str], seconds: float = 30.0) -> batch_v1.Job:
        """Wait until a job is in one of these states."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.get_job(name=name)
            if job.status.state.name in states:
                return job
            assert time.monotonic() < deadline, f"{name} is {job.status.state.name}, not {states}: {job.status}"
            time.sleep(0.03)

    def tasks(self, job: batch_v1.Job) -> list[batch_v1.Task]:
        """All tasks of a job."""
        return self.listed("list_tasks", parent=f"{job.name}/taskGroups/group0")

    def close(self) -> None:
        """Let go of the connection."""
        if self._loop is not None:
            self._loop.run_until_complete(self._client.transport.close())
            self._loop.close()
        else:
            self._client.transport.close()


async def _awaited(value: Any) -> Any:
    return await value


_numbers = iter(range(1, 1_000_000))


def new_id() -> str:
    """A job id that no other test uses."""
    return f"job-{time.time_ns() // 10**6}-{next(_numbers)}"


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Makes clients; closes them after the test."""
    made: list[Client] = []

    def make(local: Local, transport: str = "grpc") -> Client:
        made.append(Client(transport, local.address))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture(params=["grpc", "grpc_asyncio", "rest"])
def client(request: pytest.FixtureRequest, emulator: Local, connect: Callable[..., Client]) -> Client:
    """Batch's client, once over each of its transports."""
    return connect(emulator, request.param)


@pytest.fixture
def batch(emulator: Local, connect: Callable[..., Client]) -> Client:
    """Batch's client over gRPC, where the transport does not matter."""
    return connect(emulator)


@pytest.fixture
def script() -> Callable[..., dict[str, Any]]:
    """Makes a job of one script; keyword arguments go into its task spec, ``group`` and ``job`` further out."""

    def make(text: str, *, group: Any = None, job: Any = None, runnable: Any = None, **task: Any) -> dict[str, Any]:
        spec = {"runnables": [{"script": {"text": text}, **(runnable or {})}], **task}
        return {
            "task_groups": [{"task_spec": spec, **(group or {})}],
            "logs_policy": {"destination": "CLOUD_LOGGING"},
            **(job or {}),
        }

    return make


class Logs:
    """Cloud Logging's client."""

    def __init__(self, address: str) -> None:
        self.client = LoggingServiceV2Client(
            transport=LoggingServiceV2GrpcTransport(channel=grpc.insecure_channel(address))
        )

    def entries(self, filter_: str, **kwargs: Any) -> list[Any]:
        """All entries of a filter, over all pages."""
        request = {
            "resource_names": ["projects/test-project"],
            "filter": filter_,
            "order_by": "timestamp asc",
            **kwargs,
        }
        return list(self.client.list_log_entries(request=request, retry=None))

    def page(self, filter_: str, **kwargs: Any) -> Any:
        """One page."""
        request = {"resource_names": ["projects/test-project"], "filter": filter_, **kwargs}
        pager = self.client.list_log_entries(request=request, retry=None)
        return next(iter(pager.pages))

    def lines(self, job: batch_v1.Job, log: str = "batch_task_logs") -> list[str]:
        """What a job's containers printed, or its agent said."""
        return [
            e.text_payload
            for e in self.entries(f'logName="projects/test-project/logs/{log}" AND labels.job_uid="{job.uid}"')
        ]


@pytest.fixture
def logs(emulator: Local) -> Logs:
    """The log entries of the shared local Batch."""
    return Logs(emulator.address)


@pytest.fixture
def logs_of() -> Callable[[Local], Logs]:
    """The log entries of another local Batch."""
    return lambda local: Logs(local.address)
