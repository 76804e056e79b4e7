"""The services against a local Batch in a child process, through Google's own clients."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from submitting import Told
from writable_registry import WritableRegistry

from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import Owner
from airflow_batchstream.emulator.testing import Local, running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One local Batch for all tests of services; faults name the job they are for."""
    with running(tmp_path_factory.mktemp("services"), "--grace", "1") as one:
        yield one


@pytest.fixture(scope="module")
def writable_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    """One registry for all tests of a module; each has it to itself, as ``registry``."""
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture
def registry(writable_server: WritableRegistry, tmp_path: Path) -> WritableRegistry:
    """A registry that takes what is written, with nothing in it yet."""
    writable_server.reset(tmp_path)
    return writable_server


@pytest.fixture
def in_loop(local: Local) -> Callable[[Callable[[GoogleClients], Awaitable[Any]]], Any]:
    """Run a coroutine function with clients of the local Batch."""

    def run(work: Callable[[GoogleClients], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with GoogleClients(Endpoint.local(local.address)) as clients:
                return await asyncio.wait_for(work(clients), 60)

        return asyncio.run(main())

    return run


@pytest.fixture
def owner() -> Owner:
    """The attempt of a task that no other test knows."""
    return Owner(f"dag{next(_numbers)}", "run", "task", -1, 0, "2026-01-01T00:00:00.000001+00:00")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def every_fault_happens(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fault that matches nothing proves nothing."""
    if "local" not in request.fixturenames:
        yield
        return
    local: Local = request.getfixturevalue("local")
    before = {fault["id"] for fault in local.faults()}
    yield
    assert all(fault["happened"] for fault in local.faults() if fault["id"] not in before)
